import Foundation

/// A call of the library, from before it begins: shared by the thread that makes it and the one that
/// cancels it.
final class Work: @unchecked Sendable {
    private let handle: Handle
    private let lock = NSLock()
    private var cancelled = false
    private var running = false

    init(_ handle: Handle) {
        self.handle = handle
    }

    /// From here on the session's next call is this one. Throws if it has been cancelled.
    func begin() throws {
        try locked {
            if cancelled {
                throw CancellationError()
            }
            running = true
        }
    }

    func cancel() {
        locked {
            cancelled = true
            if running {
                handle.cancel()
            }
        }
    }

    /// From here on it is not cancelled, and no cancel is left for the session's next call.
    func end() {
        locked {
            if running && cancelled {
                handle.clearCancel()
            }
            running = false
        }
    }

    private func locked<T>(_ body: () throws -> T) rethrows -> T {
        lock.lock()
        defer { lock.unlock() }
        return try body()
    }
}
