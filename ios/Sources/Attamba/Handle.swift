import CAttamba
import Dispatch

/// The library's handle for a session, with the operations that are allowed from any thread.
///
/// The library refuses closed handles, so a call that comes too late does no harm.
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

    /// Runs a blocking call on a thread of its own, because the threads of Swift's pool must not
    /// block. It is cancelled with its task.
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
            // A call that is only just starting has nothing to cancel yet, hence the repetition.
            DispatchQueue.global(qos: .userInitiated).async {
                while !ended.isEnded {
                    self.cancel()
                    waitBriefly()
                }
            }
        }
    }
}
