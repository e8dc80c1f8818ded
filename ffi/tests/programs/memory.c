/* Memory: closed sessions give theirs back, and what a chat keeps stays within its estimate. */
#include "check.h"

#include <pthread.h>
#include <time.h>

enum { SESSIONS = 50 };

static attamba_session *session;

static int32_t ignore(void *user, const char *text, size_t bytes)
{
    (void)user;
    (void)text;
    (void)bytes;
    return 1;
}

/* Anonymous memory that is resident, in KiB. */
static long held(void)
{
    char line[256];
    long kib = -1;
    FILE *file = fopen("/proc/self/status", "r");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "RssAnon:", 8) == 0) {
            kib = atol(line + 8);
        }
    }
    fclose(file);
    CHECK(kib >= 0);
    return kib;
}

static attamba_session *talk(attamba_model *model, const attamba_session_options *options, uint32_t most)
{
    attamba_session *opened = NULL;
    OK(attamba_session_open(model, options, &opened));
    OK(attamba_session_chat(opened, "Tell me a story.", 16, most, ignore, NULL, NULL));
    return opened;
}

static void *cancel_soon(void *unused)
{
    struct timespec time = {0, 20000000};
    (void)unused;
    nanosleep(&time, NULL);
    OK(attamba_session_cancel(session));
    return NULL;
}

int main(int argc, char **argv)
{
    attamba_model *model = NULL;
    attamba_session *sessions[SESSIONS];
    attamba_session_options options = ATTAMBA_INIT(attamba_session_options);
    attamba_memory memory = ATTAMBA_INIT(attamba_memory), estimate = ATTAMBA_INIT(attamba_memory);
    attamba_session_info info = ATTAMBA_INIT(attamba_session_info);
    attamba_finish finish = ATTAMBA_FINISH_ENDED;
    pthread_t thread;
    const size_t many = 1 << 20;
    char *text = malloc(many);
    long before, open, after;
    int i;

    CHECK(argc == 3 && text != NULL);
    OK(attamba_model_open(argv[1], NULL, &model));
    options.budget_kind = ATTAMBA_BUDGET_BYTES;

    /* Many small ones, and large ones one after the other. */
    options.budget = 1 << 20;
    OK(attamba_session_close(talk(model, &options, 3)));
    before = held();
    for (i = 0; i < SESSIONS; i++) {
        sessions[i] = talk(model, &options, 3);
    }
    open = held();
    for (i = 0; i < SESSIONS; i++) {
        OK(attamba_session_close(sessions[i]));
    }
    after = held();
    CHECK(after - before < (open - before) / 2);
    for (i = 0; i < 5; i++) {
        options.budget = (uint64_t)(8 + i) << 20;
        before = held();
        session = talk(model, &options, 200);
        open = held();
        OK(attamba_session_close(session));
        CHECK(open - held() > (open - before) / 2);
    }

    /* Twelve turns keep snapshots within the estimate. */
    options.budget = 1 << 20;
    OK(attamba_estimate(argv[1], NULL, &options, &estimate));
    session = talk(model, &options, 20);
    for (i = 0; i < 12; i++) {
        OK(attamba_session_chat(session, "And then?", 9, 20, ignore, NULL, NULL));
        OK(attamba_session_get_memory(session, &memory));
        CHECK(memory.checkpoints <= estimate.checkpoints && memory.state == estimate.state);
    }

    /* A message of a megabyte is cancelled while it is still text, and does not count. */
    OK(attamba_session_get_info(session, &info));
    memset(text, 'a', many);
    CHECK(pthread_create(&thread, NULL, cancel_soon, NULL) == 0);
    OK(attamba_session_chat(session, text, many, 5, ignore, NULL, &finish));
    pthread_join(thread, NULL);
    CHECK(finish == ATTAMBA_FINISH_DROPPED);
    i = (int)info.messages;
    OK(attamba_session_get_info(session, &info));
    CHECK((int)info.messages == i);
    OK(attamba_session_chat(session, "And then?", 9, 5, ignore, NULL, &finish));

    OK(attamba_session_close(session));
    OK(attamba_model_close(model));
    free(text);
    return 0;
}
