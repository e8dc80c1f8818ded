// Two questions about one document in C++17: it is processed once, and each question continues from
// there.
//
//     c++ -std=c++17 ask.cpp -lattamba -o ask && ./ask model.gguf document.txt "Who?" "When?"
#include <attamba.h>

#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>

namespace {

void check(attamba_status status)
{
    if (status != ATTAMBA_STATUS_OK) {
        size_t length = 0;
        attamba_error_message(nullptr, nullptr, 0, &length);
        std::string message(length + 1, '\0');
        attamba_error_message(nullptr, message.data(), message.size(), nullptr);
        message.resize(length);
        throw std::runtime_error(message);
    }
}

// A handle that closes itself. A destructor could not act on the statuses of closing.
template <typename T, attamba_status (*close)(T *)>
struct Close {
    void operator()(T *handle) const { close(handle); }
};
using Model = std::unique_ptr<attamba_model, Close<attamba_model, attamba_model_close>>;
using Session = std::unique_ptr<attamba_session, Close<attamba_session, attamba_session_close>>;
using Snapshot = std::unique_ptr<attamba_snapshot, Close<attamba_snapshot, attamba_snapshot_close>>;

int32_t print(void *, const char *text, size_t bytes)
{
    std::cout.write(text, static_cast<std::streamsize>(bytes)).flush();
    return std::cout.good();
}

void run(const char *path, const char *document, char **questions)
{
    attamba_model *opened = nullptr;
    check(attamba_model_open(path, nullptr, &opened));
    const Model model(opened);
    attamba_session *begun = nullptr;
    check(attamba_session_open(model.get(), nullptr, &begun));
    const Session session(begun);

    std::ifstream file(document, std::ios::binary);
    const std::string text(std::istreambuf_iterator<char>(file), {});
    check(attamba_session_instruct(session.get(), text.data(), text.size()));
    attamba_snapshot *kept = nullptr;
    check(attamba_session_snapshot(session.get(), &kept));
    const Snapshot read(kept);

    for (; *questions != nullptr; ++questions) {
        const std::string question(*questions);
        std::cout << "> " << question << '\n';
        check(attamba_session_rewind(session.get(), read.get()));
        check(attamba_session_chat(session.get(), question.data(), question.size(), 200, print,
                                   nullptr, nullptr));
        std::cout << '\n';
    }
}

} // namespace

int main(int argc, char **argv)
{
    if (argc < 4) {
        std::cerr << "usage: " << argv[0] << " MODEL DOCUMENT QUESTION...\n";
        return 2;
    }
    try {
        run(argv[1], argv[2], argv + 3);
    } catch (const std::exception &failure) {
        std::cerr << failure.what() << '\n';
        return 1;
    }
    return 0;
}
