#if canImport(SwiftUI)
import Attamba
import SwiftUI

/// A chat with the model in the app's bundle. It is saved when the app leaves the foreground and
/// resumed at the next start.
@MainActor
final class Chat: ObservableObject {
    @Published private(set) var messages: [Session.Message] = []
    @Published private(set) var answering = false
    @Published private(set) var failure: String?

    private var session: Session?
    private var pressure: MemoryPressure?
    private var task: Task<Void, Never>?

    private nonisolated static var saved: String {
        FileManager.default.urls(for: .documentDirectory, in: .userDomainMask)[0]
            .appendingPathComponent("chat.session").path
    }

    func open() async {
        guard session == nil else { return }
        do {
            let session = try await Task.detached {
                guard let path = Bundle.main.path(forResource: "model", ofType: "gguf") else {
                    throw CocoaError(.fileNoSuchFile)
                }
                let model = try Model.open(path: path)
                // There may be no saved chat yet, or one of another model.
                return try (try? model.load(path: Chat.saved))
                    ?? model.session(SessionOptions(budget: .bytes(8 << 20)))
            }.value
            messages = try await session.messages()
            pressure = MemoryPressure(session: session)
            self.session = session
        } catch {
            failure = "\(error)"
        }
    }

    func send(_ message: String) {
        guard let session, !answering else { return }
        answering = true
        messages.append(.init(role: "user", text: message))
        messages.append(.init(role: "assistant", text: ""))
        task = Task {
            do {
                for try await piece in session.chat(message) {
                    let text = messages[messages.count - 1].text + piece
                    messages[messages.count - 1] = .init(role: "assistant", text: text)
                }
            } catch {
                failure = "\(error)"
            }
            answering = false
        }
    }

    func stop() {
        task?.cancel()
    }

    /// The state is saved before the pause: nothing can be copied during a pause.
    func leave() async {
        guard let session else { return }
        if !answering {
            try? await session.save(path: Chat.saved)
        }
        try? session.pause()
    }

    func come() {
        try? session?.resume()
    }
}
#endif
