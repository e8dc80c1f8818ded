import Foundation

/// Why the last text of a session ended.
final class Last: @unchecked Sendable {
    private let lock = NSLock()
    private var value: Session.Finish?

    var finish: Session.Finish? {
        get {
            lock.lock()
            defer { lock.unlock() }
            return value
        }
        set {
            lock.lock()
            defer { lock.unlock() }
            value = newValue
        }
    }
}
