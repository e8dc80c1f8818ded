#if canImport(Darwin)
import Dispatch

/// Makes a session smaller when the system warns of little memory, before it ends the app.
///
/// The session keeps a half of its state at a warning and a quarter when it is critical, never less
/// than `least` bytes. What it has forgotten does not come back. It watches as long as it lives.
public final class MemoryPressure: @unchecked Sendable {
    private let source: any DispatchSourceMemoryPressure

    public init(session: Session, least: UInt64 = 1 << 20) {
        let source = DispatchSource.makeMemoryPressureSource(
            eventMask: [.warning, .critical],
            queue: .global(qos: .userInitiated)
        )
        source.setEventHandler { [weak session, weak source] in
            guard let session, let source else { return }
            let part: UInt64 = source.data.contains(.critical) ? 4 : 2
            // The smallest session may be larger, or it may be paused: nothing to give back then.
            guard let held = try? session.memory().state else { return }
            try? session.shrink(to: max(held / part, least))
        }
        source.activate()
        self.source = source
    }

    deinit {
        source.cancel()
    }
}
#endif
