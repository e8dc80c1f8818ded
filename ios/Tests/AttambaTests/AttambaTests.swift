import Foundation
import XCTest

@testable import Attamba

/// With a model: `ATTAMBA_MODEL=../models/….gguf swift test`.
final class AttambaTests: XCTestCase {
    private func model() throws -> Model {
        guard let path = ProcessInfo.processInfo.environment["ATTAMBA_MODEL"] else {
            throw XCTSkip("ATTAMBA_MODEL names no model")
        }
        return try Model.open(path: path)
    }

    func testErrorsCarryStatusAndMessage() {
        XCTAssertThrowsError(try Model.open(path: "/no/such/file")) { error in
            XCTAssertEqual((error as? AttambaError)?.status, .io)
            XCTAssertTrue("\(error)".contains("/no/such/file"))
        }
    }

    func testChat() async throws {
        let session = try model().session(SessionOptions(budget: .states(64)))
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
        let session = try model().session(SessionOptions(budget: .states(64)))
        try await session.feed("Once upon a time")
        for try await _ in session.generate(most: .max) {
            break
        }
        // The engine stops within a few tokens, and the session takes the next call.
        for _ in 0..<1000 {
            if (try? await session.feed("And")) != nil {
                return
            }
            try await Task.sleep(nanoseconds: 1_000_000)
        }
        XCTFail("the session is busy for ever")
    }

    func testSnapshot() async throws {
        let session = try model().session()
        try await session.feed("Once upon a time")
        let snapshot = try await session.snapshot()
        XCTAssertGreaterThan(snapshot.bytes, 0)
        try await session.feed("and so on")
        try await session.rewind(to: snapshot)
        try await session.reset()
    }
}
