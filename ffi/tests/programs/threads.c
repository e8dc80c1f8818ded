/* Other threads: cancel, pause, close and calls side by side. */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

static attamba_session *session;
static atomic_int pieces;
static atomic_int enough; /* for the other thread */
static atomic_int shrunk;
static int closed_within;

/* Of what is logged, that a call has shrunk the session. */
static void notice(void *user, int32_t level, const char *text, size_t bytes)
{
    (void)user;
    (void)level;
    (void)bytes;
    if (strstr(text, "is shrunk to") != NULL) {
        atomic_store(&shrunk, 1);
    }
}

static void wait_a_little(void)
{
    struct timespec time = {0, 2000000};
    nanosleep(&time, NULL);
}

/* Counts, and never stops by itself. */
static int32_t endless(void *user, const char *text, size_t bytes)
{
    (void)user;
    CHECK(is_utf8(text, bytes));
    atomic_fetch_add(&pieces, 1);
    return 1;
}

static int32_t meddle(void *user, const char *text, size_t bytes)
{
    char message[256];
    (void)text;
    (void)bytes;
    (void)user;
    FAILS(ATTAMBA_STATUS_BUSY, attamba_session_reset(session));
    FAILS(ATTAMBA_STATUS_BUSY, attamba_session_chat(session, "x", 1, 1, meddle, NULL, NULL));
    OK(attamba_error_message(session, message, sizeof message, NULL));
    CHECK(strstr(message, "at work") != NULL);
    OK(attamba_session_cancel(session));
    return 1;
}

static int32_t close_it(void *user, const char *text, size_t bytes)
{
    (void)user;
    (void)text;
    (void)bytes;
    if (!closed_within) {
        OK(attamba_session_close(session));
        FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_close(session));
    }
    closed_within = 1;
    return 1;
}

/* Generates on and on, past the ends of texts, until somebody cancels or closes. */
static void *generate(void *unused)
{
    int32_t finish = ATTAMBA_FINISH_ENDED;
    (void)unused;
    while (finish == ATTAMBA_FINISH_ENDED && !atomic_load(&enough)) {
        int32_t status =
            attamba_session_generate(session, UINT32_MAX, endless, NULL, &finish);
        if (status == ATTAMBA_STATUS_CLOSED) {
            break;
        }
        check_status(status, ATTAMBA_STATUS_OK, __FILE__, __LINE__, "attamba_session_generate");
    }
    CHECK(finish == ATTAMBA_FINISH_CANCELLED || finish == ATTAMBA_FINISH_ENDED);
    return NULL;
}

/* Feeds far more than can be processed in the time. */
static void *feed(void *count)
{
    size_t n = *(size_t *)count;
    uint32_t *tokens = calloc(n, sizeof *tokens);
    int32_t status;
    /* What the other thread asks to see that this has begun may be at work just then. */
    do {
        status = attamba_session_feed_tokens(session, tokens, n);
    } while (status == ATTAMBA_STATUS_BUSY);
    check_status(status, ATTAMBA_STATUS_CANCELLED, __FILE__, __LINE__, "attamba_session_feed_tokens");
    free(tokens);
    return NULL;
}

static pthread_t begin(void *(*work)(void *), void *argument)
{
    pthread_t thread;
    atomic_store(&enough, 0);
    CHECK(pthread_create(&thread, NULL, work, argument) == 0);
    return thread;
}

static void cancel(pthread_t thread)
{
    atomic_store(&enough, 1);
    OK(attamba_session_cancel(session));
    pthread_join(thread, NULL);
    /* It may have come between two calls. */
    OK(attamba_session_clear_cancel(session));
}

static void wait_for_pieces(int more)
{
    int from = atomic_load(&pieces);
    while (atomic_load(&pieces) < from + more) {
        wait_a_little();
    }
}

int main(int argc, char **argv)
{
    attamba_model *model = NULL;
    pthread_t thread;
    size_t many = 4000000;
    int still;
    uint64_t smaller;
    attamba_session_info info = {sizeof info};
    attamba_memory memory = {sizeof memory};

    CHECK(argc == 3);
    OK(attamba_model_open(argv[1], NULL, &model));
    attamba_session_options options = {sizeof options};
    options.budget_kind = ATTAMBA_BUDGET_STATES;
    options.budget = 256;
    OK(attamba_session_open(model, &options, &session));
    OK(attamba_session_feed_text(session, "Once", 4, 0));

    /* Cancel in the middle of generating. */
    thread = begin(generate, NULL);
    wait_for_pieces(3);
    cancel(thread);

    /* Cancel in the middle of a long text. The session goes on. */
    thread = begin(feed, &many);
    while (attamba_session_get_info(session, &info) != ATTAMBA_STATUS_BUSY) {
        wait_a_little();
    }
    wait_a_little();
    cancel(thread);
    OK(attamba_session_get_info(session, &info));
    CHECK(info.position > 0 && info.position < many);

    /* While paused nothing comes. */
    OK(attamba_session_feed_text(session, "Once", 4, 0));
    thread = begin(generate, NULL);
    wait_for_pieces(1);
    OK(attamba_session_pause(session));
    still = atomic_load(&pieces);
    wait_a_little();
    /* The text of a token that was computed before the pause may still be handed out. */
    CHECK(atomic_load(&pieces) <= still + 1);
    still = atomic_load(&pieces);
    wait_a_little();
    wait_a_little();
    CHECK(atomic_load(&pieces) <= still + 1);
    OK(attamba_session_resume(session));
    wait_for_pieces(2);
    OK(attamba_session_pause(session));
    cancel(thread);
    FAILS(ATTAMBA_STATUS_PAUSED, attamba_session_save(session, argv[2]));

    /* Memory is given back in a pause: without a call, and by one that waits for its end. */
    OK(attamba_session_get_memory(session, &memory));
    smaller = memory.state * 3 / 4;
    OK(attamba_session_shrink(session, smaller));
    OK(attamba_session_get_memory(session, &memory));
    CHECK(memory.state <= smaller);
    FAILS(ATTAMBA_STATUS_BUDGET, attamba_session_shrink(session, 1));
    OK(attamba_session_resume(session));
    OK(attamba_log_set(ATTAMBA_LOG_LEVEL_INFO, notice, NULL));
    thread = begin(generate, NULL);
    wait_for_pieces(1);
    OK(attamba_session_pause(session));
    OK(attamba_session_shrink(session, smaller * 2 / 3));
    while (!atomic_load(&shrunk)) {
        wait_a_little();
    }
    OK(attamba_session_resume(session));
    wait_for_pieces(2);
    cancel(thread);
    OK(attamba_log_set(ATTAMBA_LOG_LEVEL_OFF, NULL, NULL));

    /* Memory is asked for, and asked back, while a call is at work. */
    OK(attamba_session_get_memory(session, &memory));
    smaller = memory.state / 2;
    thread = begin(generate, NULL);
    wait_for_pieces(1);
    OK(attamba_session_get_memory(session, &memory));
    OK(attamba_session_shrink(session, smaller));
    wait_for_pieces(2);
    cancel(thread);
    OK(attamba_session_get_memory(session, &memory));
    CHECK(memory.state <= smaller);

    /* A callback may cancel, and may not begin other work. */
    OK(attamba_session_generate(session, UINT32_MAX, meddle, NULL, NULL));

    /* Closing waits for the call that it cancels. */
    OK(attamba_session_feed_text(session, "Once", 4, 0));
    thread = begin(generate, NULL);
    wait_for_pieces(1);
    OK(attamba_session_close(session));
    still = atomic_load(&pieces);
    pthread_join(thread, NULL);
    CHECK(atomic_load(&pieces) == still);

    /* Closing in a callback does not. */
    OK(attamba_session_open(model, &options, &session));
    OK(attamba_session_feed_text(session, "Once", 4, 0));
    while (!closed_within) {
        OK(attamba_session_generate(session, UINT32_MAX, close_it, NULL, NULL));
    }
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_reset(session));
    OK(attamba_model_close(model));
    return 0;
}
