import Foundation

/// The state of a call, shared by the thread that makes it and the one that cancels it.
final class Flag: @unchecked Sendable {
    private let lock = NSLock()
    private var cancelled = false
    private var ended = false

    var isCancelled: Bool { read { cancelled } }

    var isEnded: Bool { read { ended } }

    func cancel() {
        read { cancelled = true }
    }

    func end() {
        read { ended = true }
    }

    private func read<T>(_ body: () -> T) -> T {
        lock.lock()
        defer { lock.unlock() }
        return body()
    }
}

/// Waits for two milliseconds.
func waitBriefly() {
    Thread.sleep(forTimeInterval: 0.002)
}
