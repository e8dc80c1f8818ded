/* A process that forks: the child has the handles of its parent, and none of its threads. */
#include "check.h"

#include <pthread.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void chat(attamba_session *session)
{
    static struct text answer;
    answer.length = 0;
    OK(attamba_session_chat(session, "Hi", 2, 4, collect, &answer, NULL));
}

static attamba_session *busy;
static volatile int pieces;
static volatile int enough;

static int32_t count(void *user, const char *text, size_t bytes)
{
    (void)user;
    (void)text;
    (void)bytes;
    pieces++;
    return 1;
}

static void *generate(void *unused)
{
    (void)unused;
    while (!enough) {
        OK(attamba_session_generate(busy, 1000, count, NULL, NULL));
    }
    return NULL;
}

/* Forks again and again while another thread computes, of which the child has only the handle. */
static void fork_while_computing(const char *path, int batching)
{
    attamba_model_options loading = ATTAMBA_INIT(attamba_model_options);
    attamba_session_options options = ATTAMBA_INIT(attamba_session_options);
    attamba_model *model = NULL;
    attamba_session *idle = NULL;
    pthread_t thread;
    int i, status;

    loading.threads = 3;
    loading.batching = batching;
    options.budget_kind = ATTAMBA_BUDGET_STATES;
    options.budget = 8;
    OK(attamba_model_open(path, &loading, &model));
    OK(attamba_session_open(model, &options, &busy));
    OK(attamba_session_open(model, &options, &idle));
    OK(attamba_session_feed_text(busy, "Once", 4, 0));
    chat(idle);
    pieces = 0;
    enough = 0;
    CHECK(pthread_create(&thread, NULL, generate, NULL) == 0);
    for (i = 0; i < 20; i++) {
        int from = pieces;
        pid_t child;
        while (pieces < from + 2) {
            struct timespec time = {0, 100000};
            nanosleep(&time, NULL);
        }
        child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            int32_t said;
            alarm(60);
            chat(idle);
            said = attamba_session_generate(busy, 1, count, NULL, NULL);
            /* Or the thread was between two calls. */
            CHECK(said == ATTAMBA_STATUS_BUSY || said == ATTAMBA_STATUS_OK);
            OK(attamba_session_close(busy));
            OK(attamba_session_close(idle));
            OK(attamba_model_close(model));
            _exit(0);
        }
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    enough = 1;
    OK(attamba_session_cancel(busy));
    pthread_join(thread, NULL);
    OK(attamba_session_close(busy));
    OK(attamba_session_close(idle));
    OK(attamba_model_close(model));
}

int main(int argc, char **argv)
{
    attamba_model *model = NULL;
    attamba_session *session = NULL;
    attamba_model_options loading = {sizeof loading};
    attamba_session_options options = {sizeof options};
    int status = -1;
    pid_t child;

    CHECK(argc == 3);
    fork_while_computing(argv[1], 0);
    fork_while_computing(argv[1], 1);
    loading.threads = 3;
    options.budget_kind = ATTAMBA_BUDGET_STATES;
    options.budget = 8;
    OK(attamba_model_open(argv[1], &loading, &model));
    OK(attamba_session_open(model, &options, &session));
    chat(session);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        /* What hangs is ended. */
        alarm(60);
        chat(session);
        OK(attamba_session_close(session));
        OK(attamba_model_close(model));
        OK(attamba_model_open(argv[1], &loading, &model));
        OK(attamba_session_open(model, &options, &session));
        chat(session);
        OK(attamba_session_close(session));
        OK(attamba_model_close(model));
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    chat(session);
    OK(attamba_session_close(session));
    OK(attamba_model_close(model));
    return 0;
}
