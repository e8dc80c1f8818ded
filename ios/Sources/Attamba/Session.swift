import CAttamba
import Foundation

/// One conversation, or one text, on a model. Its memory is fixed when it is opened.
///
/// One call at a time: a call that is made while another computes, such as an answer that is being read,
/// throws `busy`. `cancel`, `pause`, `resume`, `shrink` and `memory` may be called at any time. When the
/// last reference is released, the call in progress is stopped and the memory freed.
public actor Session {
    private nonisolated let handle: Handle

    init(number: UInt) {
        handle = Handle(number: number)
    }

    /// Answers `message` with at most `most` tokens. A reader that stops reading stops the engine; the chat
    /// continues from the partial answer. `onToken`, if there is one, gets each token with the `top` most
    /// likely ones, on the thread that computes.
    public nonisolated func chat(
        _ message: String,
        most: UInt32 = 512,
        top: UInt32 = 0,
        onToken: (@Sendable (Token) -> Void)? = nil
    ) -> Answer {
        answer(message, most, top, onToken)
    }

    /// Continues the text that was fed, with at most `most` tokens; an answer like that of `chat`.
    public nonisolated func generate(
        most: UInt32 = 512,
        top: UInt32 = 0,
        onToken: (@Sendable (Token) -> Void)? = nil
    ) -> Answer {
        answer(nil, most, top, onToken)
    }

    /// A token that was generated.
    public struct Token: Sendable {
        public let id: UInt32
        /// The natural logarithm of its probability, before any stage of the sampler.
        public let logprob: Float
        /// The most likely tokens with theirs, most likely first.
        public let top: [(id: UInt32, logprob: Float)]
    }

    /// Why a text ended.
    public enum Finish: Int32, Sendable {
        /// The model ended it.
        case ended
        /// The limit of tokens was reached.
        case limit
        /// The reader stopped it.
        case stopped
        /// It was cancelled after it had begun. What was generated so far counts.
        case cancelled
        /// It was cancelled before the answer of a chat began: the message does not count.
        case dropped
        /// One of `Sampling.stop` was generated.
        case stopText
    }

    /// Why the last text of `chat` or `generate` ended; nil before the first, and while one is
    /// generated.
    public nonisolated var finish: Finish? { handle.finish }

    /// Discards what was before and starts a chat with `messages`, which are processed now: those of a
    /// chat that the app has kept, or `messages()` of this one with another instruction.
    public func begin(_ messages: [Message]) async throws {
        try await handle.work { pointer in
            try withMessages(messages) { try check(attamba_session_begin(pointer, $0, $1)) }
        }
    }

    /// `begin` with messages in JSON: an array of objects with `role`, `content`, and what else the template
    /// reads, such as `tool_calls`.
    public func begin(json messages: String) async throws {
        try await handle.work { pointer in
            try withUTF8(messages) { try check(attamba_session_begin_json(pointer, $0, $1)) }
        }
    }

    /// Tells the template what it should know beside the messages, from the next message on: an object in
    /// JSON, such as `{"tools": [...]}`; an empty text for nothing.
    public func setVariables(json variables: String) async throws {
        await handle.settled()
        try withUTF8(variables) {
            try check(attamba_session_set_variables(handle.pointer, $0, $1))
        }
    }

    /// `chat` for messages in JSON: one object, such as what a tool returned, or an array of several; an
    /// empty array answers the messages there are.
    public nonisolated func chat(json messages: String, most: UInt32 = 512) -> Answer {
        let handle = self.handle
        return Answer(handle: handle) { pointer, pipe in
            try withExtendedLifetime(Sink(pipe, nil)) { sink in
                var finish = ATTAMBA_FINISH_ENDED
                handle.finish = nil
                let user = Unmanaged.passUnretained(sink).toOpaque()
                try withUTF8(messages) {
                    try check(
                        attamba_session_chat_json(pointer, $0, $1, most, Sink.push, user, &finish))
                }
                handle.finish = Finish(rawValue: Int32(finish.rawValue))
            }
        }
    }

    /// How many tokens `begin` would process.
    public func count(_ messages: [Message]) async throws -> UInt64 {
        await handle.settled()
        var tokens: UInt64 = 0
        try withMessages(messages) {
            try check(attamba_session_count(handle.pointer, $0, $1, &tokens))
        }
        return tokens
    }

    /// Changes how tokens are chosen from now on; nil for the defaults: `Sampling.chat` in a chat, else
    /// `Sampling()`.
    public func setSampling(_ sampling: Sampling?) async throws {
        await handle.settled()
        let pointer = handle.pointer
        guard let sampling else {
            return try check(attamba_session_set_sampling(pointer, nil))
        }
        try sampling.withC { try check(attamba_session_set_sampling(pointer, $0)) }
    }

    /// State of a session, and the speed of its last answer.
    public struct Info: Equatable, Sendable {
        /// Whether it is paused.
        public let paused: Bool
        /// Tokens processed since the start.
        public let position: UInt64
        /// Chunk states in the memory of the fullest layer, and the most that there can be.
        public let states, statesRoom: UInt64
        /// Tokens of the last message, with what the template puts around it, and of its answer.
        public let promptTokens, answerTokens: UInt64
        /// Seconds that they took.
        public let promptSeconds, answerSeconds: Double
        /// Seed of the draws.
        public let seed: UInt64
    }

    /// State of the session, and the speed of its last answer.
    public func info() async throws -> Info {
        await handle.settled()
        var info = attamba_session_info()
        info.struct_size = UInt32(MemoryLayout<attamba_session_info>.size)
        try check(attamba_session_get_info(handle.pointer, &info))
        return Info(
            paused: info.paused != 0, position: info.position, states: info.states,
            statesRoom: info.states_room, promptTokens: info.prompt_tokens,
            answerTokens: info.answer_tokens, promptSeconds: info.prompt_seconds,
            answerSeconds: info.answer_seconds, seed: info.seed)
    }

    /// The logits of the last token of raw text, one for each token of the vocabulary.
    public func logits() async throws -> [Float] {
        await handle.settled()
        var count = 0
        try check(attamba_session_logits(handle.pointer, nil, 0, &count))
        var logits = [Float](repeating: 0, count: count)
        try check(attamba_session_logits(handle.pointer, &logits, count, nil))
        return logits
    }

    /// Discards what was before and starts a chat with an instruction, which is processed now: a
    /// document to ask questions about is read only once.
    public func instruct(_ text: String) async throws {
        try await handle.work { pointer in
            try withUTF8(text) { try check(attamba_session_instruct(pointer, $0, $1)) }
        }
    }

    /// Processes raw text, for `generate`.
    public func feed(_ text: String, special: Bool = false) async throws {
        try await handle.work { pointer in
            try withUTF8(text) {
                try check(attamba_session_feed_text(pointer, $0, $1, special ? 1 : 0))
            }
        }
    }

    /// Processes tokens, for `generate`.
    public func feed(_ tokens: [UInt32]) async throws {
        try await handle.work { pointer in
            try check(attamba_session_feed_tokens(pointer, tokens, tokens.count))
        }
    }

    /// Saves state and messages at `path`; `Model.load` resumes them.
    public func save(path: String) async throws {
        try await handle.work { try check(attamba_session_save($0, path)) }
    }

    /// Undoes the last message and its answer; returns whether there was one.
    @discardableResult
    public func undo() async throws -> Bool {
        await handle.settled()
        var undone: Int32 = 0
        try check(attamba_session_undo(handle.pointer, &undone))
        return undone != 0
    }

    /// Forgets everything.
    public func reset() async throws {
        await handle.settled()
        try check(attamba_session_reset(handle.pointer))
    }

    /// A message of a chat.
    public struct Message: Equatable, Sendable {
        public let role: String
        public let text: String

        public init(role: String, text: String) {
            self.role = role
            self.text = text
        }
    }

    /// The messages of the chat, oldest first. Of a very long chat the oldest ones are missing.
    public func messages() async throws -> [Message] {
        await handle.settled()
        var messages: [Message] = []
        try withUnsafeMutablePointer(to: &messages) { list in
            try check(
                attamba_session_messages(
                    handle.pointer,
                    { user, role, roleCount, text, textCount in
                        user!.assumingMemoryBound(to: [Message].self).pointee.append(
                            Message(role: string(role, roleCount), text: string(text, textCount)))
                        return 1
                    }, list))
        }
        return messages
    }

    /// The session as it is now, kept in memory.
    public func snapshot() async throws -> Snapshot {
        await handle.settled()
        var snapshot: OpaquePointer?
        try check(attamba_session_snapshot(handle.pointer, &snapshot))
        return Snapshot(number: UInt(bitPattern: snapshot))
    }

    /// Restores a snapshot, earlier or later than the current state.
    public func rewind(to snapshot: Snapshot) async throws {
        await handle.settled()
        try check(attamba_session_rewind(handle.pointer, snapshot.pointer))
    }

    /// A second session that continues from here. It takes as much memory.
    public func fork() async throws -> Session {
        await handle.settled()
        var fork: OpaquePointer?
        try check(attamba_session_fork(handle.pointer, &fork))
        return Session(number: UInt(bitPattern: fork))
    }

    /// Stops the call in progress, or, if there is none, the next one before it begins.
    public nonisolated func cancel() {
        handle.cancel()
    }

    /// Withdraws a `cancel` that no call has met.
    public nonisolated func clearCancel() {
        handle.clearCancel()
    }

    /// Computes nothing until `resume`: for an app in the background, which the system kills if it
    /// uses the GPU.
    public nonisolated func pause() throws {
        try check(attamba_session_pause(handle.pointer))
    }

    /// Ends a pause.
    public nonisolated func resume() throws {
        try check(attamba_session_resume(handle.pointer))
    }

    /// Shrinks the session's state to at most `bytes`, also while paused; the oldest context is evicted. A
    /// session on a GPU is shrunk after the pause.
    public nonisolated func shrink(to bytes: UInt64) throws {
        try check(attamba_session_shrink(handle.pointer, bytes))
    }

    /// Memory that the session takes.
    public nonisolated func memory() throws -> Memory {
        try Memory { try check(attamba_session_get_memory(handle.pointer, $0)) }
    }

    /// What the session remembers, in a sentence for people: `14 of 90 heads see the last 8,192 tokens,
    /// the others the last 2,798; 22.5 MiB in int4`.
    public func reach() async throws -> String {
        await handle.settled()
        return try text { try check(attamba_session_reach(handle.pointer, $0, $1, $2)) }
    }

    private nonisolated func answer(
        _ message: String?,
        _ most: UInt32,
        _ top: UInt32,
        _ onToken: (@Sendable (Token) -> Void)?
    ) -> Answer {
        let handle = self.handle
        return Answer(handle: handle) { pointer, pipe in
            // Kept alive until the call returns; it is used on the calling thread.
            try withExtendedLifetime(Sink(pipe, onToken)) { sink in
                var finish = ATTAMBA_FINISH_ENDED
                handle.finish = nil
                var run = attamba_run()
                run.struct_size = UInt32(MemoryLayout<attamba_run>.size)
                run.most = most
                run.each = Sink.push
                run.token = onToken == nil ? nil : Sink.token
                run.user = Unmanaged.passUnretained(sink).toOpaque()
                run.top = top
                guard let message else {
                    try check(attamba_session_run(pointer, &run, &finish))
                    handle.finish = Finish(rawValue: Int32(finish.rawValue))
                    return
                }
                try withUTF8(message) { text, count in
                    run.message = text
                    run.bytes = UInt64(count)
                    try check(attamba_session_run(pointer, &run, &finish))
                }
                handle.finish = Finish(rawValue: Int32(finish.rawValue))
            }
        }
    }
}

/// Passes messages to a function in their C form.
private func withMessages<T>(
    _ messages: [Session.Message],
    _ body: (UnsafePointer<attamba_message>?, Int) throws -> T
) rethrows -> T {
    let roles = messages.map { strdup($0.role) }
    let texts = messages.map { strdup($0.text) }
    defer { (roles + texts).forEach { free($0) } }
    let list = messages.indices.map { index in
        attamba_message(
            struct_size: UInt32(MemoryLayout<attamba_message>.size), reserved: 0,
            role: roles[index], text: texts[index], bytes: UInt64(messages[index].text.utf8.count))
    }
    return try list.withUnsafeBufferPointer { try body($0.baseAddress, $0.count) }
}

/// Receives the text of a call and passes it to the reader of an answer.
private final class Sink {
    private let pipe: Pipe
    private let onToken: (@Sendable (Session.Token) -> Void)?

    init(_ pipe: Pipe, _ onToken: (@Sendable (Session.Token) -> Void)?) {
        self.pipe = pipe
        self.onToken = onToken
    }

    static let token: attamba_token_fn = { user, token in
        let sink = Unmanaged<Sink>.fromOpaque(user!).takeUnretainedValue()
        let token = token!.pointee
        let top = UnsafeBufferPointer(start: token.top, count: Int(token.count))
        sink.onToken?(
            Session.Token(
                id: token.chosen.token, logprob: token.chosen.logprob,
                top: top.map { (id: $0.token, logprob: $0.logprob) }))
    }

    static let push: attamba_text_fn = { user, text, count in
        let sink = Unmanaged<Sink>.fromOpaque(user!).takeUnretainedValue()
        sink.pipe.push(string(text, count))
        return 1
    }
}

/// A session's state at some moment.
public final class Snapshot: Sendable {
    private let number: UInt

    var pointer: OpaquePointer? { OpaquePointer(bitPattern: number) }

    init(number: UInt) {
        self.number = number
    }

    deinit {
        _ = attamba_snapshot_close(pointer)
    }

    /// Size in bytes.
    public var bytes: UInt64 {
        var bytes: UInt64 = 0
        _ = attamba_snapshot_bytes(pointer, &bytes)
        return bytes
    }
}
