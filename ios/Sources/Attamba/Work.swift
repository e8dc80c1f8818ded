import Foundation

/// A call of the library, from before it begins: shared by the thread that makes it, the one that cancels
/// it, and those that wait for its end.
final class Work: @unchecked Sendable {
    private let handle: Handle
    private let lock = NSLock()
    private var cancelled = false
    private var running = false
    private var ended = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    init(_ handle: Handle) {
        self.handle = handle
    }

    /// Makes the call on this thread, unless it has been cancelled: then it throws `CancellationError`.
    func run<T>(_ call: (OpaquePointer?) throws -> T) throws -> T {
        handle.add(self)
        defer { end() }
        try locked {
            if cancelled {
                throw CancellationError()
            }
            running = true
        }
        return try call(handle.pointer)
    }

    func cancel() {
        locked {
            cancelled = true
            if running {
                handle.cancel()
            }
        }
    }

    /// Waits for the end of a call that was cancelled; not for one that goes on.
    func settled() async {
        await withCheckedContinuation { continuation in
            let done = locked {
                if cancelled && !ended {
                    waiting.append(continuation)
                    return false
                }
                return true
            }
            if done {
                continuation.resume()
            }
        }
    }

    /// From here on it is not cancelled, and no cancel is left for the session's next call.
    private func end() {
        let waiting = locked {
            if running && cancelled {
                handle.clearCancel()
            }
            running = false
            ended = true
            defer { self.waiting = [] }
            return self.waiting
        }
        handle.remove(self)
        waiting.forEach { $0.resume() }
    }

    private func locked<T>(_ body: () throws -> T) rethrows -> T {
        lock.lock()
        defer { lock.unlock() }
        return try body()
    }
}

/// Runs a blocking call on a thread of its own, because the threads of Swift's pool must not block.
func blocking<T: Sendable>(_ call: @escaping @Sendable () throws -> T) async throws -> T {
    try await withCheckedThrowingContinuation { continuation in
        DispatchQueue.global(qos: .userInitiated).async {
            continuation.resume(with: Result { try call() })
        }
    }
}
