/* Wrong use of every function: an error code and a sentence, never more. */
#include "check.h"

#include <unistd.h>

static int32_t ignore(void *user, const char *text, size_t bytes)
{
    (void)user;
    (void)text;
    (void)bytes;
    return 1;
}

/* Whether the last message contains a text. */
static int says(const char *text)
{
    char message[512] = "";
    OK(attamba_error_message(NULL, message, sizeof message, NULL));
    return strstr(message, text) != NULL;
}

static int32_t ignore_message(void *user, const char *role, size_t role_bytes, const char *text,
                              size_t text_bytes)
{
    (void)user;
    (void)role;
    (void)role_bytes;
    (void)text;
    (void)text_bytes;
    return 1;
}

/* Every function of a session, with what is no session. */
static void no_session(attamba_session *session)
{
    attamba_session *out = NULL;
    attamba_snapshot *snapshot = NULL;
    attamba_session_info info = {sizeof info};
    attamba_memory memory = {sizeof memory};
    uint32_t token = 0;

    FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_reset(session));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_set_sampling(session, NULL));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_cancel(session));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_clear_cancel(session));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_begin(session, NULL, 0));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_count(session, NULL, 0, NULL));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_run(session, NULL, NULL));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_pause(session));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_resume(session));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_get_info(session, &info));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_save(session, "x"));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_feed_text(session, "x", 1, 0));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_feed_tokens(session, &token, 1));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_generate(session, 1, ignore, NULL, NULL));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_logits(session, NULL, 0, NULL));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_instruct(session, "x", 1));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_chat(session, "x", 1, 1, ignore, NULL, NULL));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_undo(session, NULL));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_messages(session, ignore_message, NULL));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_snapshot(session, &snapshot));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_rewind(session, snapshot));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_fork(session, &out));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_get_memory(session, &memory));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_shrink(session, 1 << 20));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_close(session));
    CHECK(out == NULL && snapshot == NULL);
}

/* Every function of a model, with what is no model. */
static void no_model(attamba_model *model)
{
    attamba_session *session = NULL;
    attamba_model_info info = {sizeof info};
    int32_t ends = 7;

    FAILS(ATTAMBA_STATUS_CLOSED, attamba_model_get_info(model, &info));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_model_name(model, NULL, 0, NULL));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_model_engine(model, NULL, 0, NULL));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_model_tokenize(model, "x", 1, 0, NULL, 0, NULL));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_model_token_bytes(model, 0, NULL, 0, NULL));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_model_token_is_end(model, 0, &ends));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_model_metadata(model, "x", NULL, 0, NULL));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_model_detokenize(model, NULL, 0, 0, NULL, 0, NULL));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_model_embed(model, "x", 1, 0, NULL, 0, NULL));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_open(model, NULL, &session));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_load(model, "x", NULL, &session));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_model_close(model));
    CHECK(session == NULL && ends == 7);
}

static void no_snapshot(attamba_snapshot *snapshot)
{
    uint64_t bytes = 7;
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_snapshot_bytes(snapshot, &bytes));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_snapshot_close(snapshot));
    CHECK(bytes == 7);
}

/* Arguments that no function can make sense of; the session stays usable. */
static void bad_arguments(attamba_model *model, attamba_session *session, const char *folder)
{
    attamba_session *out = NULL;
    attamba_session_options options = {sizeof options};
    attamba_sampling sampling = {sizeof sampling};
    attamba_session_info info = {0};
    uint32_t beyond = UINT32_MAX;
    char message[8];
    size_t length = 0;

    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_open(model, NULL, NULL));
    options.budget_kind = 99;
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_open(model, &options, &out));
    options.budget_kind = ATTAMBA_BUDGET_CONTEXT;
    options.budget = 5;
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_open(model, &options, &out));
    options.budget_kind = ATTAMBA_BUDGET_BYTES;
    FAILS(ATTAMBA_STATUS_BUDGET, attamba_session_open(model, &options, &out));
    options.budget_kind = ATTAMBA_BUDGET_STATES;
    options.budget = UINT64_MAX;
    FAILS(ATTAMBA_STATUS_MEMORY, attamba_session_open(model, &options, &out));
    CHECK(says("more bytes than can be counted"));
    options.budget = 8;
    options.kv = -1;
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_open(model, &options, &out));
    options.kv = 0;
    options.engine = 99;
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_open(model, &options, &out));
    options.engine = 0;
    options.policy = 99;
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_open(model, &options, &out));
    options.policy = 0;
    options.sampling = &sampling; /* All zero: a penalty of 0. */
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_open(model, &options, &out));
    CHECK(out == NULL);

    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_get_info(session, &info));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_get_info(session, NULL));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_get_memory(session, NULL));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_reach(session, NULL, 9, NULL));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_model_get_info(model, NULL));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_sampling_init(NULL));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_sampling_init_chat(NULL));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_set_sampling(session, &sampling));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_model_tokenize(model, NULL, 3, 0, NULL, 0, NULL));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_model_tokenize(model, "\xFF", 1, 0, NULL, 0, NULL));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_model_tokenize(model, "a", 1, 0, NULL, 9, &length));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_model_token_bytes(model, beyond, NULL, 0, NULL));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_feed_text(session, NULL, 1, 0));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_feed_text(session, "\xE2\x82", 2, 0));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_feed_tokens(session, NULL, 1));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_feed_tokens(session, &beyond, 1));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_feed_tokens(session, &beyond, SIZE_MAX));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_generate(session, 1, NULL, NULL, NULL));
    FAILS(ATTAMBA_STATUS_STATE, attamba_session_generate(session, 1, ignore, NULL, NULL));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_chat(session, "x", 1, 1, NULL, NULL, NULL));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_chat(session, NULL, 1, 1, ignore, NULL, NULL));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_instruct(session, "\xFF", 1));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_messages(session, NULL, NULL));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_snapshot(session, NULL));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_fork(session, NULL));
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_rewind(session, NULL));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_save(session, NULL));
    FAILS(ATTAMBA_STATUS_IO, attamba_session_save(session, "/no/such/folder/file"));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_load(model, NULL, NULL, &out));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_load(model, "x", NULL, NULL));
    FAILS(ATTAMBA_STATUS_IO, attamba_session_load(model, folder, NULL, &out));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_adapters(NULL, NULL));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_log_set(6, NULL, NULL));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_log_set(-1, NULL, NULL));

    /* A message that does not fit is cut; no room at all is a question for its length. */
    OK(attamba_error_message(NULL, message, sizeof message, &length));
    CHECK(strlen(message) == 7 && length > 7);
    OK(attamba_error_message(NULL, NULL, 0, &length));
    CHECK(attamba_error_message(NULL, NULL, 5, NULL) == ATTAMBA_STATUS_ARGUMENT);
    OK(attamba_error_message(model, message, sizeof message, &length));
    CHECK(length > 0);
}

/* Raw text and a chat do not mix without a reset. */
static void wrong_state(attamba_session *session)
{
    attamba_snapshot *snapshot = NULL;

    OK(attamba_session_snapshot(session, &snapshot));
    OK(attamba_session_chat(session, "Hi", 2, 1, ignore, NULL, NULL));
    FAILS(ATTAMBA_STATUS_STATE, attamba_session_feed_text(session, "x", 1, 0));
    FAILS(ATTAMBA_STATUS_STATE, attamba_session_generate(session, 1, ignore, NULL, NULL));
    FAILS(ATTAMBA_STATUS_STATE, attamba_session_rewind(session, snapshot));
    OK(attamba_session_reset(session));
    OK(attamba_session_rewind(session, snapshot));
    OK(attamba_session_feed_text(session, "x", 1, 0));
    FAILS(ATTAMBA_STATUS_STATE, attamba_session_chat(session, "Hi", 2, 1, ignore, NULL, NULL));
    FAILS(ATTAMBA_STATUS_STATE, attamba_session_undo(session, NULL));
    OK(attamba_snapshot_close(snapshot));
    no_snapshot(snapshot);
}

int main(int argc, char **argv)
{
    attamba_model *model = NULL;
    attamba_session *session = NULL, *small = NULL;
    attamba_snapshot *snapshot = NULL;
    attamba_memory memory = {sizeof memory};
    attamba_model_options loading = {sizeof loading};
    attamba_session_options options = {sizeof options};
    int pipes[2];

    CHECK(argc == 3);
    no_model(NULL);
    no_session(NULL);
    no_snapshot(NULL);
    /* Addresses of the caller's own, and handles of another kind. */
    no_model((attamba_model *)&argc);
    no_session((attamba_session *)argv);

    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_model_open(argv[1], NULL, NULL));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_model_open(NULL, NULL, &model));
    FAILS(ATTAMBA_STATUS_IO, attamba_model_open("/no/such/file", NULL, &model));
    FAILS(ATTAMBA_STATUS_FILE, attamba_model_open("/dev/null", NULL, &model));
    FAILS(ATTAMBA_STATUS_FILE, attamba_model_open(argv[0], NULL, &model));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_model_open_fd(-1, 0, 0, NULL, &model));
    FAILS(ATTAMBA_STATUS_IO, attamba_model_open_fd(9999, 0, 0, NULL, &model));
    CHECK(pipe(pipes) == 0);
    FAILS(ATTAMBA_STATUS_FILE, attamba_model_open_fd(pipes[0], 0, 0, NULL, &model));
    CHECK(says("is a pipe"));
    FAILS(ATTAMBA_STATUS_FILE, attamba_estimate(argv[0], NULL, NULL, &memory));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_estimate(argv[1], NULL, NULL, NULL));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_estimate_fd(-1, 0, 0, NULL, NULL, &memory));
    loading.engine = 77;
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_model_open(argv[1], &loading, &model));
    loading.engine = ATTAMBA_ENGINE_GPU;
    loading.adapter = "no GPU is called so";
    FAILS(ATTAMBA_STATUS_DEVICE, attamba_model_open(argv[1], &loading, &model));
    loading.adapter = "\xFF";
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_model_open(argv[1], &loading, &model));
    loading.adapter = NULL;
    loading.engine = ATTAMBA_ENGINE_CPU;
    loading.threads = 1000000;
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_model_open(argv[1], &loading, &model));
    CHECK(model == NULL);

    OK(attamba_model_open(argv[1], NULL, &model));
    OK(attamba_session_open(model, NULL, &session));
    no_session((attamba_session *)model);
    no_model((attamba_model *)session);
    bad_arguments(model, session, argv[2]);
    wrong_state(session);

    /* Of another budget. */
    options.budget_kind = ATTAMBA_BUDGET_STATES;
    options.budget = 3;
    OK(attamba_session_open(model, &options, &small));
    OK(attamba_session_snapshot(session, &snapshot));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_rewind(small, snapshot));
    OK(attamba_session_close(small));

    OK(attamba_session_close(session));
    no_session(session);
    CHECK(attamba_error_message(session, NULL, 0, NULL) == ATTAMBA_STATUS_CLOSED);
    OK(attamba_model_close(model));
    no_model(model);
    OK(attamba_snapshot_close(snapshot));
    return 0;
}
