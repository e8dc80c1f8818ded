#if canImport(SwiftUI)
import SwiftUI

struct ChatView: View {
    @StateObject private var chat = Chat()
    @State private var input = ""
    @Environment(\.scenePhase) private var phase

    var body: some View {
        VStack {
            ScrollView {
                LazyVStack(alignment: .leading, spacing: 12) {
                    ForEach(Array(chat.messages.enumerated()), id: \.offset) { _, message in
                        VStack(alignment: .leading) {
                            Text(message.role).font(.caption).foregroundColor(.secondary)
                            Text(message.text).textSelection(.enabled)
                        }
                    }
                    if let failure = chat.failure {
                        Text(failure).foregroundColor(.red)
                    }
                }
            }
            HStack {
                TextField("Message", text: $input).onSubmit(send)
                if chat.answering {
                    Button("Stop", action: chat.stop)
                } else {
                    Button("Send", action: send).disabled(input.isEmpty)
                }
            }
        }
        .padding()
        .task { await chat.open() }
        .onChange(of: phase) { phase in
            if phase == .background {
                Task { await chat.leave() }
            } else if phase == .active {
                chat.come()
            }
        }
    }

    private func send() {
        chat.send(input)
        input = ""
    }
}
#endif
