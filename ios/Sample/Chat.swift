import Attamba
import Foundation

/// A chat through an app's life. It loads once; when the user leaves, the answer in progress ends where it
/// is, the chat is saved, and nothing is computed until the user comes back.
@MainActor
final class Chat {
    /// What the screen shows.
    struct State: Equatable {
        /// How much of the model is loaded, 0 to 1; nil once the chat is open.
        var loading: Float? = 0
        var messages: [Session.Message] = []
        var answering = false
        /// The last failure.
        var failure: String?
    }

    typealias Progress = @Sendable (Float) -> Bool

    private(set) var state = State() {
        didSet { changed(state) }
    }

    /// Called with each new state.
    var changed: (State) -> Void = { _ in }

    private(set) var session: Session?
    private let saved: String
    private let options: SessionOptions
    private let model: @Sendable (@escaping Progress) async throws -> Model
    private let stayAwake: () -> () -> Void
    private var answer: Task<Void, Never>?
    private var settling: Task<Void, Never>?
    private var saving: Task<Void, Never>?
    private var present = true

    /// `stayAwake` asks the system for time to save a chat, and returns what gives the time back.
    init(
        saved: String,
        options: SessionOptions,
        stayAwake: @escaping () -> () -> Void,
        model: @escaping @Sendable (@escaping Progress) async throws -> Model
    ) {
        self.saved = saved
        self.options = options
        self.stayAwake = stayAwake
        self.model = model
    }

    func open() async {
        guard session == nil else { return }
        await attempt {
            let model = try await self.model { [weak self] done in
                Task { @MainActor in self?.loaded(done) }
                return true
            }
            let session: Session
            do {
                session = try await model.load(path: saved, options: options)
            } catch let error as AttambaError where [.io, .saved].contains(error.status) {
                // There is no saved chat yet, or it can't be resumed by this model.
                session = try await model.session(options)
            }
            self.session = session
            state.messages = try await session.messages()
            state.loading = nil
        }
        // The user may have left meanwhile.
        await settle().value
    }

    private func loaded(_ done: Float) {
        if state.loading != nil {
            state.loading = done
        }
    }

    func send(_ message: String) {
        guard let session, present, !state.answering else { return }
        state.answering = true
        state.failure = nil
        state.messages.append(.init(role: "user", text: message))
        state.messages.append(.init(role: "assistant", text: ""))
        answer = Task {
            // Whoever comes back may ask while the chat is still being saved.
            await saving?.value
            await attempt {
                for try await piece in session.chat(message) {
                    let text = state.messages[state.messages.count - 1].text + piece
                    state.messages[state.messages.count - 1] = .init(role: "assistant", text: text)
                }
            }
            // A message that got no answer is not part of the chat.
            if let messages = try? await session.messages() {
                state.messages = messages
            }
            state.answering = false
        }
    }

    /// Ends the answer where it is.
    func stop() {
        answer?.cancel()
    }

    /// The scene is in the background.
    @discardableResult
    func leave() -> Task<Void, Never> {
        present = false
        return settle()
    }

    /// The scene is active again.
    @discardableResult
    func come() -> Task<Void, Never> {
        present = true
        return settle()
    }

    /// One at a time, and what counts is where the user is in the end.
    private func settle() -> Task<Void, Never> {
        let before = settling
        let done = stayAwake()
        let task = Task {
            await before?.value
            if present {
                try? session?.resume()
            } else if let session {
                // A paused answer could not be saved; and whoever comes back may want to ask otherwise.
                answer?.cancel()
                await answer?.value
                if !present {
                    let saving = Task { await attempt { try await session.save(path: saved) } }
                    self.saving = saving
                    await saving.value
                }
                if !present {
                    try? session.pause()
                }
            }
            done()
        }
        settling = task
        return task
    }

    /// Shows a failure instead of throwing it: a full disk, for instance, ends no chat.
    private func attempt(_ action: () async throws -> Void) async {
        do {
            try await action()
        } catch is CancellationError {
            // The user stopped it.
        } catch {
            state.failure = "\(error)"
        }
    }
}
