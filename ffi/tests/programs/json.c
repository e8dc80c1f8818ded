/* Messages in JSON: tool calls and what tools return; variables of the template; text that is not UTF-8. */
#include "check.h"

struct said {
    char roles[256];
    char last[256];
};

static int32_t seen(void *user, const char *role, size_t role_bytes, const char *text, size_t bytes)
{
    struct said *said = user;
    CHECK(is_utf8(role, role_bytes) && is_utf8(text, bytes));
    strcat(said->roles, role);
    strcat(said->roles, " ");
    snprintf(said->last, sizeof said->last, "%s", text);
    return 1;
}

static const char BEGIN[] =
    "[{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"Weather?\"}]},"
    " {\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"type\": \"function\","
    " \"function\": {\"name\": \"weather\", \"arguments\": {\"city\": \"Bern\"}}}]}]";
static const char TOOL[] = "{\"role\": \"tool\", \"content\": \"Rain\", \"tool_call_id\": \"a\"}";
static const char TOOLS[] = "[{\"role\": \"tool\", \"content\": \"Rain\"}, {\"role\": \"tool\", \"content\": \"Sun\"}]";
static const char SIMPLE[] = "[{\"role\": \"user\", \"content\": \"Hi\"}]";

int main(int argc, char **argv)
{
    static struct text answer;
    static char text[4096], message[1024];
    attamba_model *model = NULL;
    attamba_session *session = NULL;
    attamba_message hi = ATTAMBA_INIT(attamba_message);
    struct said said = {"", ""};
    uint64_t before = 0, after = 0;
    size_t length = 0;
    int32_t finish = 0;

    CHECK(argc == 3);
    OK(attamba_model_open(argv[1], NULL, &model));
    OK(attamba_session_open(model, NULL, &session));

    OK(attamba_session_begin_json(session, BEGIN, sizeof BEGIN - 1));
    OK(attamba_session_chat_json(session, TOOL, sizeof TOOL - 1, 4, collect, &answer, &finish));
    OK(attamba_session_chat_json(session, TOOLS, sizeof TOOLS - 1, 4, collect, &answer, &finish));
    OK(attamba_session_messages(session, seen, &said));
    CHECK(strcmp(said.roles, "user assistant tool assistant tool tool assistant ") == 0);

    /* The text of the same messages, and of the simple form. */
    OK(attamba_model_render(model, BEGIN, sizeof BEGIN - 1, NULL, 0, 1, text, sizeof text, &length));
    CHECK(strlen(text) == length && strstr(text, "Weather?"));
    OK(attamba_model_render(model, SIMPLE, sizeof SIMPLE - 1, "{\"tools\": []}", 13, 0, text, sizeof text, &length));
    CHECK(strstr(text, "Hi"));
    hi.role = "user";
    hi.text = "Hi";
    hi.bytes = 2;
    OK(attamba_session_count(session, &hi, 1, &before));

    OK(attamba_session_set_variables(session, "{\"enable_thinking\": false}", 26));
    OK(attamba_session_count(session, &hi, 1, &after));
    CHECK(before == after);
    OK(attamba_session_chat(session, "Thanks", 6, 4, collect, &answer, &finish));
    OK(attamba_session_reset(session));
    OK(attamba_session_set_variables(session, NULL, 0));

    /* What is wrong is said. */
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_set_variables(session, "[]", 2));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_set_variables(session, "{\"messages\": 1}", 15));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_begin_json(session, "[{}]", 4));
    OK(attamba_error_message(session, message, sizeof message, NULL));
    CHECK(strcmp(message, "message 0 has no role") == 0);
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_chat_json(session, "Hi", 2, 4, collect, &answer, NULL));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_model_render(model, "{", 1, NULL, 0, 1, text, sizeof text, NULL));

    /* Bytes that are not UTF-8, at every entrance for text. */
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_chat(session, "a\xff", 2, 4, collect, &answer, NULL));
    OK(attamba_error_message(session, message, sizeof message, NULL));
    CHECK(strcmp(message, "the message is not UTF-8: the byte at 1 is out of place") == 0);
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_feed_text(session, "\xc3", 1, 0));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_instruct(session, "\xed\xa0\x80", 3));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_begin_json(session, "[\xff]", 3));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_model_tokenize(model, "\xf0\x9f\x98", 3, 0, NULL, 0, NULL));
    hi.text = "\xc0\x80";
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_begin(session, &hi, 1));

    OK(attamba_session_close(session));
    OK(attamba_model_close(model));
    return 0;
}
