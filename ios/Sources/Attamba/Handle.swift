import CAttamba
import Foundation

/// The library's handle for a session, with the operations that are allowed from any thread.
///
/// The library refuses closed handles, so a call that comes too late does no harm.
final class Handle: @unchecked Sendable {
    private let number: UInt
    private let lock = NSLock()
    private var lastFinish: Session.Finish?
    /// The calls in progress: one, and those that are about to be refused.
    private var works: [ObjectIdentifier: Work] = [:]

    var pointer: OpaquePointer? { OpaquePointer(bitPattern: number) }

    init(number: UInt) {
        self.number = number
    }

    deinit {
        _ = attamba_session_close(pointer)
    }

    /// Why the last text ended.
    var finish: Session.Finish? {
        get { locked { lastFinish } }
        set { locked { lastFinish = newValue } }
    }

    func cancel() {
        _ = attamba_session_cancel(pointer)
    }

    func clearCancel() {
        _ = attamba_session_clear_cancel(pointer)
    }

    func add(_ work: Work) {
        locked { works[ObjectIdentifier(work)] = work }
    }

    func remove(_ work: Work) {
        locked { works[ObjectIdentifier(work)] = nil }
    }

    /// Waits for calls that were cancelled: whoever left the loop over an answer finds the session free.
    func settled() async {
        for work in locked({ Array(works.values) }) {
            await work.settled()
        }
    }

    /// Makes a blocking call on a thread of its own. It is cancelled with its task.
    func work<T: Sendable>(_ call: @escaping @Sendable (OpaquePointer?) throws -> T) async throws -> T {
        await settled()
        let work = Work(self)
        return try await withTaskCancellationHandler {
            try await blocking { try work.run(call) }
        } onCancel: {
            work.cancel()
        }
    }

    private func locked<T>(_ body: () throws -> T) rethrows -> T {
        lock.lock()
        defer { lock.unlock() }
        return try body()
    }
}
