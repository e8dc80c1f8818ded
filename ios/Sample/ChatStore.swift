#if canImport(UIKit)
import Attamba
import SwiftUI
import UIKit

/// The app's chat, with the model in its bundle, as SwiftUI observes it.
@MainActor
final class ChatStore: ObservableObject {
    @Published private(set) var state = Chat.State()

    let chat: Chat
    private var pressure: MemoryPressure?

    init() {
        let documents = FileManager.default.urls(for: .documentDirectory, in: .userDomainMask)[0]
        chat = Chat(
            saved: documents.appendingPathComponent("chat.session").path,
            options: SessionOptions(budget: .bytes(8 << 20)),
            stayAwake: stayAwake
        ) { progress in
            guard let path = Bundle.main.path(forResource: "model", ofType: "gguf") else {
                throw CocoaError(.fileNoSuchFile)
            }
            return try await Model.open(path: path, progress: progress)
        }
        chat.changed = { [weak self] in self?.state = $0 }
    }

    func open() async {
        await chat.open()
        pressure = chat.session.map { MemoryPressure(session: $0) }
    }
}

/// Keeps the app from being suspended until the returned function is called, or the system's patience
/// ends.
@MainActor
private func stayAwake() -> () -> Void {
    var task = UIBackgroundTaskIdentifier.invalid
    let end = {
        UIApplication.shared.endBackgroundTask(task)
        task = .invalid
    }
    task = UIApplication.shared.beginBackgroundTask(withName: "saving the chat", expirationHandler: end)
    return end
}
#endif
