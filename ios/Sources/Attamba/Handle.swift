import CAttamba
import Dispatch

/// The library's handle for a session, with the operations that are allowed from any thread.
///
/// The library refuses closed handles, so a call that comes too late does no harm.
final class Handle: Sendable {
    private let number: UInt
    private let last = Last()

    var pointer: OpaquePointer? { OpaquePointer(bitPattern: number) }

    init(number: UInt) {
        self.number = number
    }

    deinit {
        _ = attamba_session_close(pointer)
    }

    /// Why the last text ended.
    var finish: Session.Finish? {
        get { last.finish }
        set { last.finish = newValue }
    }

    func cancel() {
        _ = attamba_session_cancel(pointer)
    }

    func clearCancel() {
        _ = attamba_session_clear_cancel(pointer)
    }

    /// Runs a blocking call on a thread of its own, because the threads of Swift's pool must not
    /// block. It is cancelled with its task.
    func work<T: Sendable>(_ call: @escaping @Sendable (OpaquePointer?) throws -> T) async throws -> T {
        let work = Work(self)
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                DispatchQueue.global(qos: .userInitiated).async {
                    let result = Result {
                        try work.begin()
                        defer { work.end() }
                        return try call(self.pointer)
                    }
                    continuation.resume(with: result)
                }
            }
        } onCancel: {
            work.cancel()
        }
    }
}
