// The header in C++17: a caller's own classes around the handles.
#include "check.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace {

struct CloseModel {
    void operator()(attamba_model *model) const { OK(attamba_model_close(model)); }
};

struct CloseSession {
    void operator()(attamba_session *session) const { OK(attamba_session_close(session)); }
};

using Model = std::unique_ptr<attamba_model, CloseModel>;
using Session = std::unique_ptr<attamba_session, CloseSession>;

int32_t append(void *user, const char *text, size_t bytes)
{
    static_cast<std::string *>(user)->append(text, bytes);
    return 1;
}

int32_t names(void *user, const attamba_adapter *adapter)
{
    static_cast<std::vector<std::string> *>(user)->emplace_back(adapter->name);
    return 1;
}

std::string answer(const Session &session, std::string_view question)
{
    std::string text;
    attamba_finish finish;
    OK(attamba_session_chat(session.get(), question.data(), question.size(), 10, append, &text,
                            &finish));
    CHECK(finish == ATTAMBA_FINISH_ENDED || finish == ATTAMBA_FINISH_LIMIT);
    return text;
}

} // namespace

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    std::vector<std::string> adapters;
    OK(attamba_adapters(names, &adapters));
    CHECK(!adapters.empty());

    attamba_model *opened = nullptr;
    OK(attamba_model_open(argv[1], nullptr, &opened));
    const Model model(opened);
    attamba_session_options options = ATTAMBA_INIT(attamba_session_options);
    options.budget_kind = ATTAMBA_BUDGET_TOKENS;
    options.budget = 256;
    attamba_session *begun = nullptr;
    OK(attamba_session_open(model.get(), &options, &begun));
    const Session session(begun);
    CHECK(!answer(session, "Hello!").empty());
    CHECK(is_utf8(answer(session, "\u00fcber \U0001F426").data(), 0));
    return 0;
}
