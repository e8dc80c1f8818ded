import CAttamba
import Dispatch

/// The number that the library knows a session by, with what may be done from any thread.
///
/// The library refuses a number that is closed, so a call that comes too late does no harm.
final class Handle: Sendable {
    private let number: UInt

    var pointer: OpaquePointer? { OpaquePointer(bitPattern: number) }

    init(number: UInt) {
        self.number = number
    }

    deinit {
        _ = attamba_session_close(pointer)
    }

    func cancel() {
        _ = attamba_session_cancel(pointer)
    }

    /// Runs a call that takes its time on a thread of its own: the threads of Swift's own pool must
    /// not wait. It is cancelled with its task.
    func work<T: Sendable>(_ call: @escaping @Sendable (OpaquePointer?) throws -> T) async throws -> T {
        let ended = Flag()
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                DispatchQueue.global(qos: .userInitiated).async {
                    let result = Result {
                        if ended.isCancelled {
                            throw CancellationError()
                        }
                        return try call(self.pointer)
                    }
                    ended.end()
                    continuation.resume(with: result)
                }
            }
        } onCancel: {
            ended.cancel()
            // A call that is only just beginning has nothing to cancel yet, hence again.
            DispatchQueue.global(qos: .userInitiated).async {
                while !ended.isEnded {
                    self.cancel()
                    waitBriefly()
                }
            }
        }
    }
}
