import CAttamba
import Foundation

/// The text of an answer, in pieces, as it is generated.
///
/// Nothing is computed until it is iterated, and what is generated waits for its reader. A reader that
/// leaves the loop, or whose task is cancelled, stops the engine within a few tokens. The iteration ends
/// when the engine has ended; after a loop that was left, the session's next call waits for that.
public struct Answer: AsyncSequence, Sendable {
    public typealias Element = String

    let handle: Handle
    let call: @Sendable (OpaquePointer?, Pipe) throws -> Void

    public func makeAsyncIterator() -> Iterator {
        Iterator(reading: Reading(self))
    }

    public struct Iterator: AsyncIteratorProtocol {
        let reading: Reading

        public mutating func next() async throws -> String? {
            try await reading.next()
        }
    }

    /// One iteration. When nobody can go on with it, the engine is stopped.
    final class Reading: @unchecked Sendable {
        private let answer: Answer
        private let pipe = Pipe()
        private let work: Work
        private var begun = false

        init(_ answer: Answer) {
            self.answer = answer
            work = Work(answer.handle)
        }

        deinit {
            work.cancel()
        }

        func next() async throws -> String? {
            if !begun {
                begun = true
                await answer.handle.settled()
                begin()
            }
            return try await withTaskCancellationHandler {
                try await pipe.next()
            } onCancel: {
                work.cancel()
            }
        }

        private func begin() {
            let (answer, pipe, work) = (answer, pipe, work)
            DispatchQueue.global(qos: .userInitiated).async {
                pipe.end(Result { try work.run { try answer.call($0, pipe) } })
            }
        }
    }
}

/// Text on its way from the engine's thread to the one reader.
final class Pipe: @unchecked Sendable {
    private let lock = NSLock()
    private var pieces: [String] = []
    private var ended: Result<String?, Error>?
    private var reader: CheckedContinuation<String?, Error>?

    func push(_ piece: String) {
        lock.lock()
        let reader = take()
        if reader == nil {
            pieces.append(piece)
        }
        lock.unlock()
        reader?.resume(returning: piece)
    }

    func end(_ result: Result<Void, Error>) {
        lock.lock()
        let end = result.map { nil as String? }
        ended = end
        let reader = take()
        lock.unlock()
        reader?.resume(with: end)
    }

    /// The next piece, or nil, or the failure, at the end.
    func next() async throws -> String? {
        try await withCheckedThrowingContinuation { continuation in
            lock.lock()
            var next: Result<String?, Error>?
            if !pieces.isEmpty {
                next = .success(pieces.removeFirst())
            } else if let end = ended {
                next = end
                // A failure is thrown once.
                ended = .success(nil)
            } else {
                reader = continuation
            }
            lock.unlock()
            if let next {
                continuation.resume(with: next)
            }
        }
    }

    private func take() -> CheckedContinuation<String?, Error>? {
        defer { reader = nil }
        return reader
    }
}
