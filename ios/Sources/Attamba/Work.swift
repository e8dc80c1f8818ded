import Foundation

/// A call of the library, from before it begins: shared by the thread that makes it and the one that
/// cancels it.
final class Work: @unchecked Sendable {
    private let handle: Handle
    private let lock = NSLock()
    private var cancelled = false
    private var ended = false

    init(_ handle: Handle) {
        self.handle = handle
    }

    var isCancelled: Bool { locked { cancelled } }

    func cancel() {
        locked {
            if !ended {
                cancelled = true
                handle.cancel()
            }
        }
    }

    /// From here on it is not cancelled, and no cancel is left for the session's next call.
    func end() {
        locked {
            ended = true
            if cancelled {
                handle.clearCancel()
            }
        }
    }

    private func locked<T>(_ body: () -> T) -> T {
        lock.lock()
        defer { lock.unlock() }
        return body()
    }
}
