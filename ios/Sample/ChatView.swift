#if canImport(UIKit)
import SwiftUI

struct ChatView: View {
    @StateObject private var store = ChatStore()
    @State private var input = ""
    @Environment(\.scenePhase) private var phase

    var body: some View {
        VStack {
            if let done = store.state.loading {
                ProgressView("Loading", value: done)
            }
            ScrollView {
                LazyVStack(alignment: .leading, spacing: 12) {
                    ForEach(Array(store.state.messages.enumerated()), id: \.offset) { _, message in
                        VStack(alignment: .leading) {
                            Text(message.role).font(.caption).foregroundColor(.secondary)
                            Text(message.text).textSelection(.enabled)
                        }
                    }
                    if let failure = store.state.failure {
                        Text(failure).foregroundColor(.red)
                    }
                }
            }
            HStack {
                TextField("Message", text: $input).onSubmit(send)
                if store.state.answering {
                    Button("Stop", action: store.chat.stop)
                } else {
                    Button("Send", action: send).disabled(input.isEmpty)
                }
            }
        }
        .padding()
        .task { await store.open() }
        .onChange(of: phase) { phase in
            if phase == .background {
                store.chat.leave()
            } else if phase == .active {
                store.chat.come()
            }
        }
    }

    private func send() {
        store.chat.send(input)
        input = ""
    }
}
#endif
