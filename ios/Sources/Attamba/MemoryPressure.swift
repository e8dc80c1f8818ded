#if canImport(Darwin)
import Dispatch

/// Shrinks a session when the system warns about low memory, before it kills the app.
///
/// The session keeps half of the state that it had at first after a warning, and a quarter when memory is
/// critical, never less than `least` bytes, also while it is paused. Evicted context does not come back.
/// It watches for as long as the object lives.
public final class MemoryPressure: @unchecked Sendable {
    private let source: any DispatchSourceMemoryPressure

    public init(session: Session, least: UInt64 = 1 << 20) {
        let source = DispatchSource.makeMemoryPressureSource(
            eventMask: [.warning, .critical],
            queue: .global(qos: .userInitiated)
        )
        let opened = (try? session.memory().state) ?? 0
        source.setEventHandler { [weak session, weak source] in
            guard let session, let source else { return }
            let part: UInt64 = source.data.contains(.critical) ? 4 : 2
            // The smallest session may be larger: nothing to free then.
            try? session.shrink(to: max(opened / part, least))
        }
        source.activate()
        self.source = source
    }

    deinit {
        source.cancel()
    }
}
#endif
