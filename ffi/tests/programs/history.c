/* Chats that begin from messages, texts that end an answer, and seeds. */
#include "check.h"

static int32_t last(void *user, const char *role, size_t role_bytes, const char *text, size_t bytes)
{
    /* Both end with a zero byte, besides their lengths. */
    CHECK(strlen(role) == role_bytes && strlen(text) == bytes);
    snprintf(user, 256, "%s: %s", role, text);
    return 1;
}

static int32_t terminated(void *user, const char *text, size_t bytes)
{
    CHECK(strlen(text) == bytes);
    return collect(user, text, bytes);
}

/* Tokens and what a caller wants to know of them. */
struct seen {
    struct text text;
    uint32_t tokens[64];
    size_t count;
};

static int32_t text_of(void *user, const char *text, size_t bytes)
{
    return terminated(&((struct seen *)user)->text, text, bytes);
}

static void token_of(void *user, const attamba_token *token)
{
    struct seen *seen = user;
    CHECK(token->struct_size >= sizeof *token && token->count == 3);
    CHECK(seen->count < 64);
    seen->tokens[seen->count++] = token->chosen.token;
    /* The most likely one is taken, and probabilities are in order. */
    CHECK(token->chosen.token == token->top[0].token);
    CHECK(token->chosen.logprob == token->top[0].logprob && token->chosen.logprob <= 0);
    CHECK(token->top[0].logprob >= token->top[1].logprob);
    CHECK(token->top[1].logprob >= token->top[2].logprob);
}

static attamba_message message(const char *role, const char *text)
{
    attamba_message message = ATTAMBA_INIT(attamba_message);
    message.role = role;
    message.text = text;
    message.bytes = strlen(text);
    return message;
}

int main(int argc, char **argv)
{
    static struct text whole, ended, again;
    attamba_model *model = NULL;
    attamba_session *session = NULL, *other = NULL;
    attamba_session_options options = ATTAMBA_INIT(attamba_session_options);
    attamba_session_info info = ATTAMBA_INIT(attamba_session_info);
    attamba_sampling sampling = ATTAMBA_INIT(attamba_sampling);
    attamba_message messages[3];
    attamba_finish finish = ATTAMBA_FINISH_ENDED;
    uint64_t tokens = 0, seed;
    char kept[256], stop[8];
    const char *stops[1];

    CHECK(argc == 3);
    OK(attamba_model_open(argv[1], NULL, &model));
    options.budget_kind = ATTAMBA_BUDGET_STATES;
    options.budget = 64;
    OK(attamba_session_open(model, &options, &session));

    /* A chat that was kept elsewhere. */
    messages[0] = message("system", "Tell of a cat.");
    messages[1] = message("user", "Hello!");
    messages[2] = message("assistant", "Hello, I am a cat.");
    OK(attamba_session_count(session, messages, 3, &tokens));
    CHECK(tokens > 3);
    OK(attamba_session_begin(session, messages, 3));
    OK(attamba_session_get_info(session, &info));
    CHECK(info.position == tokens && info.messages == 3);
    OK(attamba_session_messages(session, last, kept));
    CHECK(strcmp(kept, "assistant: Hello, I am a cat.") == 0);
    OK(attamba_session_cancel(session));
    FAILS(ATTAMBA_STATUS_CANCELLED, attamba_session_begin(session, messages, 3));
    OK(attamba_session_get_info(session, &info));
    CHECK(info.messages == 3);
    messages[1].role = NULL;
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_begin(session, messages, 3));
    messages[1] = message("user", "\xff");
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_count(session, messages, 3, &tokens));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_begin(session, NULL, 1));
    OK(attamba_session_get_info(session, &info));
    CHECK(info.messages == 3);

    /* A text that ends the answer, of which the callback gets nothing. */
    OK(attamba_sampling_init_chat(&sampling));
    CHECK(sampling.seed == ATTAMBA_SEED_RANDOM);
    sampling.temperature = 0;
    OK(attamba_session_set_sampling(session, &sampling));
    OK(attamba_session_chat(session, "Tell me a story.", 16, 40, terminated, &whole, &finish));
    CHECK(whole.length > 20);
    memcpy(stop, whole.bytes + whole.length / 2, 6);
    stop[6] = 0;
    CHECK(is_utf8(stop, 6));
    stops[0] = stop;
    sampling.stop = stops;
    sampling.stop_count = 1;
    OK(attamba_session_set_sampling(session, &sampling));
    OK(attamba_session_undo(session, NULL));
    OK(attamba_session_chat(session, "Tell me a story.", 16, 40, terminated, &ended, &finish));
    CHECK(finish == ATTAMBA_FINISH_STOP_TEXT);
    CHECK(ended.length == (size_t)(strstr(whole.bytes, stop) - whole.bytes));
    CHECK(memcmp(ended.bytes, whole.bytes, ended.length) == 0);
    OK(attamba_session_messages(session, last, kept));
    CHECK(strstr(kept, stop) == NULL);
    stops[0] = "";
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_set_sampling(session, &sampling));

    /* Tokens with their log probabilities. */
    {
        static struct seen seen;
        attamba_run run = ATTAMBA_INIT(attamba_run);
        char spelled[512];
        run.most = 12;
        run.each = text_of;
        run.token = token_of;
        run.user = &seen;
        run.top = 3;
        OK(attamba_sampling_init(&sampling));
        sampling.temperature = 0;
        OK(attamba_session_set_sampling(session, &sampling));
        run.message = "Tell me a story.";
        run.bytes = 16;
        OK(attamba_session_run(session, &run, &finish));
        CHECK(finish == ATTAMBA_FINISH_LIMIT && seen.count == 12);
        OK(attamba_model_detokenize(model, seen.tokens, seen.count, 0, spelled, sizeof spelled, NULL));
        CHECK(strcmp(spelled, seen.text.bytes) == 0);
        run.message = NULL;
        FAILS(ATTAMBA_STATUS_STATE, attamba_session_run(session, &run, &finish));
        OK(attamba_session_reset(session));
        OK(attamba_session_feed_text(session, "Once", 4, 0));
        seen.count = 0;
        run.each = NULL;
        OK(attamba_session_run(session, &run, NULL));
        CHECK(seen.count > 0);
        /* Other calls do not report. */
        seen.count = 0;
        OK(attamba_session_generate(session, 4, terminated, &again, NULL));
        CHECK(seen.count == 0);
        again.length = 0;
    }

    /* Snapshots of earlier turns have a limit, which the estimate knows. */
    {
        attamba_memory memory = ATTAMBA_INIT(attamba_memory);
        OK(attamba_estimate(argv[1], NULL, &options, &memory));
        CHECK(memory.checkpoints > 1000);
        options.checkpoint_bytes = 1000;
        OK(attamba_estimate(argv[1], NULL, &options, &memory));
        CHECK(memory.checkpoints == 1000);
        OK(attamba_session_open(model, &options, &other));
        OK(attamba_session_chat(other, "Hi", 2, 4, collect, &again, NULL));
        OK(attamba_session_chat(other, "Hi", 2, 4, collect, &again, NULL));
        OK(attamba_session_get_memory(other, &memory));
        CHECK(memory.checkpoints == 0);
        OK(attamba_session_undo(other, NULL));
        OK(attamba_session_close(other));
        options.checkpoint_bytes = 0;
        again.length = 0;
    }

    /* Each session has another seed, unless it is given one. */
    OK(attamba_session_open(model, &options, &other));
    OK(attamba_session_get_info(other, &info));
    seed = info.seed;
    OK(attamba_session_get_info(session, &info));
    CHECK(info.seed != seed);
    OK(attamba_session_feed_text(other, "Once", 4, 0));
    OK(attamba_session_generate(other, 30, terminated, &again, NULL));
    OK(attamba_session_reset(session));
    OK(attamba_sampling_init(&sampling));
    sampling.seed = seed;
    sampling.temperature = 0.3f; /* which the file recommends */
    OK(attamba_session_set_sampling(session, &sampling));
    OK(attamba_session_get_info(session, &info));
    CHECK(info.seed == seed);
    OK(attamba_session_feed_text(session, "Once", 4, 0));
    whole.length = 0;
    OK(attamba_session_generate(session, 30, terminated, &whole, NULL));
    CHECK(strcmp(whole.bytes, again.bytes) == 0);
    OK(attamba_session_close(other));
    OK(attamba_session_close(session));
    OK(attamba_model_close(model));
    return 0;
}
