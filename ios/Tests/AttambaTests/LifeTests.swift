import Foundation
import XCTest

@testable import Attamba

/// The sample's chat through an app's life: leaving while it answers, coming back, a full disk, a memory
/// warning while paused. Run with a model, as the other tests.
@MainActor
final class LifeTests: XCTestCase {
    private var awake = 0
    private var folder = ""

    override func setUp() async throws {
        folder = NSTemporaryDirectory() + "attamba-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    override func tearDown() async throws {
        try FileManager.default.removeItem(atPath: folder)
    }

    private func chat(saved: String? = nil) async throws -> Chat {
        guard let path = ProcessInfo.processInfo.environment["ATTAMBA_MODEL"] else {
            throw XCTSkip("ATTAMBA_MODEL is not set")
        }
        // No answer ends by itself, so that the user leaves in the middle of one.
        let model = try await Model.open(path: path)
        var sampling = Sampling()
        sampling.temperature = 0
        for name in ["<|im_end|>", "<|endoftext|>"] {
            for token in try model.tokenize(name, special: true) {
                sampling.bias[token] = -.infinity
            }
        }
        var options = SessionOptions(budget: .states(256))
        options.sampling = sampling
        return Chat(
            saved: saved ?? folder + "/chat.session",
            options: options,
            stayAwake: { [unowned self] in
                awake += 1
                return { self.awake -= 1 }
            }
        ) { try await Model.open(path: path, progress: $0) }
    }

    private func answerBegins(_ chat: Chat, _ message: String) async throws {
        chat.send(message)
        while chat.state.answering && chat.state.messages.last!.text.count < 20 {
            try await Task.sleep(nanoseconds: 1_000_000)
        }
        XCTAssertTrue(chat.state.answering, chat.state.failure ?? "")
    }

    private func isPaused(_ chat: Chat) async throws -> Bool {
        try await XCTUnwrap(chat.session).info().paused
    }

    func testLeavingWhileItAnswersAndComingBack() async throws {
        let first = try await chat()
        await first.open()
        XCTAssertNil(first.state.loading)
        try await answerBegins(first, "Tell me a story.")
        await first.leave().value
        XCTAssertEqual(awake, 0)
        var paused = try await isPaused(first)
        XCTAssertTrue(paused)
        XCTAssertFalse(first.state.answering)
        XCTAssertNil(first.state.failure)
        XCTAssertEqual(first.state.messages.map(\.role), ["user", "assistant"])
        // The system ends the process here: the next one finds the chat.
        let second = try await chat()
        await second.open()
        XCTAssertEqual(second.state.messages, first.state.messages)
        // Or it does not, and the user comes back.
        await first.come().value
        paused = try await isPaused(first)
        XCTAssertFalse(paused)
        try await answerBegins(first, "And then?")
        first.stop()
        while first.state.answering {
            try await Task.sleep(nanoseconds: 1_000_000)
        }
        XCTAssertEqual(first.state.messages.count, 4)
    }

    func testThereAndBackAtOnce() async throws {
        let chat = try await chat()
        await chat.open()
        for round in 0..<20 {
            chat.leave()
            var last = chat.come()
            if round % 2 > 0 {
                last = chat.leave()
            }
            await last.value
            let paused = try await isPaused(chat)
            XCTAssertEqual(paused, round % 2 > 0)
        }
        XCTAssertEqual(awake, 0)
    }

    func testLeavingWhileItLoads() async throws {
        let chat = try await chat()
        async let opened: Void = chat.open()
        await chat.leave().value
        await opened
        let paused = try await isPaused(chat)
        XCTAssertTrue(paused)
    }

    func testFullDiskEndsNoChat() async throws {
        guard let full = ProcessInfo.processInfo.environment["ATTAMBA_FULL"] else {
            throw XCTSkip("ATTAMBA_FULL names no folder on a full disk")
        }
        let chat = try await chat(saved: full + "/chat.session")
        await chat.open()
        try await answerBegins(chat, "Tell me a story.")
        await chat.leave().value
        XCTAssertTrue(chat.state.failure?.contains(full) ?? false, chat.state.failure ?? "saved")
        XCTAssertEqual(try FileManager.default.contentsOfDirectory(atPath: full), [])
        await chat.come().value
        try await answerBegins(chat, "And then?")
        chat.stop()
    }

    func testMemoryWarningWhilePaused() async throws {
        let chat = try await chat()
        await chat.open()
        try await answerBegins(chat, "Tell me a story.")
        await chat.leave().value
        let session = try XCTUnwrap(chat.session)
        let before = try session.memory().state
        // What `MemoryPressure`, which needs Darwin, does.
        try session.shrink(to: before / 4)
        XCTAssertLessThanOrEqual(try session.memory().state, before / 4)
        await chat.come().value
        try await answerBegins(chat, "And then?")
        chat.stop()
    }
}
