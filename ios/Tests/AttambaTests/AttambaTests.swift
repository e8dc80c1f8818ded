import Foundation
import XCTest

@testable import Attamba

/// Run with a model: `ATTAMBA_MODEL=../models/….gguf swift test`.
final class AttambaTests: XCTestCase {
    private func model() async throws -> Model {
        guard let path = ProcessInfo.processInfo.environment["ATTAMBA_MODEL"] else {
            throw XCTSkip("ATTAMBA_MODEL is not set")
        }
        return try await Model.open(path: path)
    }

    func testErrorsCarryStatusAndMessage() async throws {
        do {
            _ = try await Model.open(path: "/no/such/file")
            XCTFail("opened")
        } catch let error as AttambaError {
            XCTAssertEqual(error.status, .io)
            XCTAssertTrue("\(error)".contains("/no/such/file"))
        }
    }

    func testLoadingIsCancelledWithItsTask() async throws {
        let path = try XCTUnwrap(ProcessInfo.processInfo.environment["ATTAMBA_MODEL"])
        let begun = Count()
        let task = Task {
            try await Model.open(path: path) { _ in
                begun.add()
                while begun.value < 2 { usleep(1000) }
                return true
            }
        }
        while begun.value == 0 {
            await Task.yield()
        }
        task.cancel()
        begun.add()
        do {
            _ = try await task.value
            XCTFail("opened")
        } catch is CancellationError {}
    }

    func testProgressInBytes() async throws {
        let path = try XCTUnwrap(ProcessInfo.processInfo.environment["ATTAMBA_MODEL"])
        let size = try FileManager.default.attributesOfItem(atPath: path)[.size] as? UInt64
        let seen = Seen()
        var options = ModelOptions()
        options.preload = true
        options.loading = { seen.add($0) }
        _ = try await Model.open(path: path, options: options)
        XCTAssertEqual(seen.all.last, Loading(part: .read, done: try XCTUnwrap(size), all: try XCTUnwrap(size)))
        XCTAssertEqual(seen.all.map(\.done), seen.all.map(\.done).sorted())

        options.loading = { _ in false }
        do {
            _ = try await Model.open(path: path, options: options)
            XCTFail("opened")
        } catch let error as AttambaError {
            XCTAssertEqual(error.status, .cancelled)
        }
    }

    func testNothingIsComputedUntilItIsIterated() async throws {
        let session = try await model().session(SessionOptions(budget: .states(64)))
        try await session.feed("Once upon a time")
        let position = try await session.info().position
        let answer = session.generate(most: 8)
        try await Task.sleep(nanoseconds: 20_000_000)
        var info = try await session.info()
        XCTAssertEqual(info.position, position)
        for try await _ in answer {}
        info = try await session.info()
        XCTAssertGreaterThan(info.position, position)
        let logits = try await session.logits()
        XCTAssertTrue(logits.allSatisfy { !$0.isNaN })
        XCTAssertFalse(logits.isEmpty)
    }

    func testChat() async throws {
        let session = try await model().session(SessionOptions(budget: .states(64)))
        var answer = ""
        for try await piece in session.chat("Hello!", most: 16) {
            answer += piece
        }
        let messages = try await session.messages()
        XCTAssertEqual(messages.map(\.role), ["user", "assistant"])
        XCTAssertFalse(answer.isEmpty)
        let undone = try await session.undo()
        XCTAssertTrue(undone)
    }

    func testReaderThatStops() async throws {
        let session = try await model().session(SessionOptions(budget: .states(64)))
        try await session.feed("Once upon a time")
        for _ in 0..<20 {
            for try await _ in session.generate(most: .max) {
                break
            }
            // The engine stops within a few tokens, and the next call waits for that.
            try await session.feed("And")
            _ = try await session.messages()
        }
    }

    func testSnapshot() async throws {
        let session = try await model().session()
        try await session.feed("Once upon a time")
        let snapshot = try await session.snapshot()
        XCTAssertGreaterThan(snapshot.bytes, 0)
        try await session.feed("and so on")
        try await session.rewind(to: snapshot)
        try await session.reset()
    }

    func testCancelledTask() async throws {
        let session = try await model().session(SessionOptions(budget: .states(64)))
        try await session.feed("Once upon a time")
        let reader = Task {
            var pieces = 0
            for try await _ in session.generate(most: .max) {
                pieces += 1
            }
            return pieces
        }
        try await Task.sleep(nanoseconds: 50_000_000)
        reader.cancel()
        _ = try await reader.value
    }

    func testCancelFromElsewhere() async throws {
        let session = try await model().session(SessionOptions(budget: .states(64)))
        try await session.feed("Once upon a time")
        do {
            for try await _ in session.generate(most: .max) {
                session.cancel()
            }
        } catch let error as AttambaError {
            XCTAssertEqual(error.status, .cancelled)
        }
        // The last ones may have come after the end.
        session.clearCancel()
        try await session.feed("And then")
    }

    func testCancelBetweenTwoCallsEndsTheNextOne() async throws {
        let session = try await model().session(SessionOptions(budget: .states(64)))
        session.cancel()
        do {
            try await session.feed("Once upon a time")
            XCTFail("fed although cancelled")
        } catch let error as AttambaError {
            XCTAssertEqual(error.status, .cancelled)
        }
        session.cancel()
        session.clearCancel()
        try await session.feed("Once upon a time")
    }

    func testTasksCancelledAtAnyMomentLeaveTheSessionFree() async throws {
        let session = try await model().session(SessionOptions(budget: .states(64)))
        try await session.feed("Once upon a time")
        for round in 0..<60 {
            let reader = Task {
                for try await _ in session.generate(most: .max) {}
            }
            if round % 3 > 0 {
                try await Task.sleep(nanoseconds: UInt64(round % 7) * 1_000_000)
            }
            reader.cancel()
            _ = await reader.result
            // The reader's end is that of the call.
            try await session.feed("The session is free.")
        }
    }

    func testModelIsDescribedAndEmbedsTexts() async throws {
        let model = try await model()
        XCTAssertEqual(try model.metadata("general.architecture"), "attamba")
        XCTAssertFalse(try model.metadata("quantization").isEmpty)
        XCTAssertThrowsError(try model.metadata("no.such"))
        XCTAssertGreaterThan(model.info.context, 0)
        XCTAssertFalse(model.info.embeds)
        let tokens = try model.tokenize("Hello, bird!")
        XCTAssertTrue(try model.detokenize(tokens).contains("Hello, bird!"))
        let vector = try await model.embed("A bird sang.")
        XCTAssertEqual(vector.map { $0 * $0 }.reduce(0, +), 1, accuracy: 1e-3)
        let last = try await model.embed("A bird sang.", pooling: .last)
        XCTAssertNotEqual(last, vector)
        XCTAssertTrue(try Model.adapters().contains { $0.engine == .cpu })
    }

    func testActivationsAreRoundedAsTheOptionsSay() async throws {
        let path = try XCTUnwrap(ProcessInfo.processInfo.environment["ATTAMBA_MODEL"])
        var options = ModelOptions()
        options.engine = .cpu
        options.activations = .int8
        let model = try await Model.open(path: path, options: options)
        XCTAssertTrue(model.engine.contains("int8 activations"))
    }

    func testLogIsReceivedUpToItsLevel() async throws {
        let lines = Count()
        try Model.log(level: 3) { level, text in
            XCTAssertTrue((1...3).contains(level) && !text.isEmpty)
            lines.add()
        }
        // Not made for it, says a warning.
        _ = try await model().embed("A bird sang.")
        XCTAssertGreaterThan(lines.value, 0)
        try Model.log(level: 0) { _, _ in }
        XCTAssertThrowsError(try Model.log(level: 9) { _, _ in })
    }

    func testChatBeginsFromMessages() async throws {
        let session = try await model().session(SessionOptions(budget: .states(64)))
        let messages = [
            Session.Message(role: "system", text: "Tell of a cat."),
            Session.Message(role: "user", text: "Hello! \u{1F642}"),
            Session.Message(role: "assistant", text: "I am a cat."),
        ]
        let tokens = try await session.count(messages)
        XCTAssertGreaterThan(tokens, 3)
        try await session.begin(messages)
        let begun = try await session.messages()
        XCTAssertEqual(begun, messages)
        for try await _ in session.chat("And then?", most: 4) {}
        XCTAssertEqual(session.finish, .limit)
        try await session.begin(json: #"[{"role": "user", "content": "Hello!"}]"#)
        try await session.setVariables(json: #"{"tools": [{"type": "function"}]}"#)
        for try await _ in session.chat(json: "[]", most: 4) {}
        XCTAssertEqual(session.finish, .limit)
        let roles = try await session.messages().map(\.role)
        XCTAssertEqual(roles, ["user", "assistant"])
    }

    func testStopTextEndsAnAnswer() async throws {
        var options = SessionOptions(budget: .states(64))
        var sampling = Sampling.chat
        sampling.temperature = 0
        options.sampling = sampling
        let session = try await model().session(options)
        XCTAssertNil(session.finish)
        var whole = ""
        for try await piece in session.chat("Tell me a story.", most: 30) {
            whole += piece
        }
        XCTAssertEqual(session.finish, .limit)
        let stop = String(whole.dropFirst(whole.count / 2).prefix(5))
        try await session.reset()
        sampling.stop = ["never", stop]
        sampling.seed = 7
        try await session.setSampling(sampling)
        var ended = ""
        for try await piece in session.chat("Tell me a story.", most: 30) {
            ended += piece
        }
        XCTAssertEqual(session.finish, .stopText)
        XCTAssertEqual(ended, whole.components(separatedBy: stop)[0])
        let count = Count()
        for try await _ in session.chat(
            "And then?", most: 6, top: 2,
            onToken: { token in
                XCTAssertEqual(token.top.count, 2)
                XCTAssertLessThanOrEqual(token.logprob, 0)
                count.add()
            })
        {}
        XCTAssertGreaterThan(count.value, 0)
        let given = try await session.info().seed
        XCTAssertEqual(given, 7)
        try await session.setSampling(nil)
        let drawn = try await session.info().seed
        XCTAssertNotEqual(drawn, 7)
    }

    func testPauseHoldsBackAndResumeGoesOn() async throws {
        let session = try await model().session(SessionOptions(budget: .states(64)))
        try session.pause()
        let fed = Task {
            try await session.feed("Once upon a time")
            return Date()
        }
        try await Task.sleep(nanoseconds: 50_000_000)
        let resumed = Date()
        try session.resume()
        let done = try await fed.value
        XCTAssertGreaterThanOrEqual(done, resumed)
        try session.pause()
        do {
            try await session.save(path: NSTemporaryDirectory() + "attamba-never")
            XCTFail("saved while paused")
        } catch let error as AttambaError {
            XCTAssertEqual(error.status, .paused)
        }
        try session.resume()
    }

    func testMemoryIsAsEstimatedAndShrinks() async throws {
        let model = try await model()
        let options = SessionOptions(budget: .states(256))
        let session = try await model.session(options)
        let before = try session.memory()
        let reach = try await session.reach()
        let sentence = "^4 of 50 heads see the last [0-9,]+ tokens, the others the last [0-9,]+; [0-9.]+ [KM]iB in f16$"
        XCTAssertNotNil(reach.range(of: sentence, options: .regularExpression), reach)
        let path = try XCTUnwrap(ProcessInfo.processInfo.environment["ATTAMBA_MODEL"])
        XCTAssertEqual(try Model.estimate(path: path, options: options).state, before.state)
        try session.shrink(to: before.state / 2)
        XCTAssertLessThanOrEqual(try session.memory().state, before.state / 2)
        let smaller = try await session.reach()
        XCTAssertNotEqual(smaller, reach)
        try await session.feed("It goes on.")
    }

    func testSavedChatGoesOn() async throws {
        let model = try await model()
        let session = try await model.session(SessionOptions(budget: .states(64)))
        for try await _ in session.chat("Hello!", most: 8) {}
        let path = NSTemporaryDirectory() + "attamba-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await session.save(path: path)
        let taken = try await model.load(path: path)
        let before = try await session.messages()
        let after = try await taken.messages()
        XCTAssertEqual(before, after)
        for try await _ in taken.chat("And now?", most: 8) {}
    }

    func testCharactersAreNeverCut() async throws {
        let model = try await model()
        var options = SessionOptions(budget: .states(64))
        var sampling = Sampling()
        sampling.temperature = 0
        for token in try model.tokenize("\u{1F642}") {
            sampling.bias[token] = 1000
        }
        options.sampling = sampling
        let session = try await model.session(options)
        try await session.feed("A face: ")
        // The engine sorts out a character's bytes in any order: what is not valid text comes
        // as U+FFFD, and every piece is whole.
        for try await piece in session.generate(most: 8) {
            XCTAssertFalse(piece.isEmpty)
            XCTAssertEqual(String(decoding: Array(piece.utf8), as: UTF8.self), piece)
        }
    }
}

/// Counts on any thread.
private final class Count: @unchecked Sendable {
    private let lock = NSLock()
    private var count = 0

    var value: Int {
        lock.lock()
        defer { lock.unlock() }
        return count
    }

    func add() {
        lock.lock()
        defer { lock.unlock() }
        count += 1
    }
}

/// What the progress in bytes was.
private final class Seen: @unchecked Sendable {
    private let lock = NSLock()
    private var list: [Loading] = []

    var all: [Loading] {
        lock.lock()
        defer { lock.unlock() }
        return list
    }

    func add(_ loading: Loading) -> Bool {
        lock.lock()
        defer { lock.unlock() }
        list.append(loading)
        return true
    }
}
