/* Cancels: before the call that they are meant for, withdrawn, and from a signal handler. */
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

static attamba_session *target;
static volatile sig_atomic_t signals;
static volatile sig_atomic_t over;
static pthread_t first;

static void on_signal(int number)
{
    (void)number;
    attamba_session_cancel(target);
    signals++;
}

/* Interrupts the first thread again and again, wherever it is. */
static void *interrupt(void *unused)
{
    struct timespec time = {0, 20000};
    (void)unused;
    while (!over) {
        pthread_kill(first, SIGUSR1);
        nanosleep(&time, NULL);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    static struct text answer;
    attamba_model *model = NULL;
    attamba_session *session = NULL;
    attamba_session_options options = {sizeof options};
    attamba_session_info info = {sizeof info};
    struct sigaction action;
    uint32_t tokens[] = {1, 2, 3};
    attamba_finish finish = ATTAMBA_FINISH_ENDED;
    pthread_t thread;
    int i;

    CHECK(argc == 3);
    OK(attamba_model_open(argv[1], NULL, &model));
    options.budget_kind = ATTAMBA_BUDGET_STATES;
    options.budget = 8;
    OK(attamba_session_open(model, &options, &target));

    /* Nothing is in progress: the next call is meant. */
    OK(attamba_session_cancel(target));
    OK(attamba_session_get_info(target, &info));
    OK(attamba_session_chat(target, "Hi", 2, 4, collect, &answer, &finish));
    CHECK(finish == ATTAMBA_FINISH_DROPPED && answer.calls == 0);
    OK(attamba_session_chat(target, "Hi", 2, 4, collect, &answer, &finish));
    CHECK(finish != ATTAMBA_FINISH_DROPPED && answer.calls > 0);
    OK(attamba_session_reset(target));
    OK(attamba_session_cancel(target));
    FAILS(ATTAMBA_STATUS_CANCELLED, attamba_session_feed_tokens(target, tokens, 3));
    OK(attamba_session_cancel(target));
    FAILS(ATTAMBA_STATUS_CANCELLED, attamba_session_feed_text(target, "Once", 4, 0));
    OK(attamba_session_feed_tokens(target, tokens, 3));
    OK(attamba_session_cancel(target));
    OK(attamba_session_generate(target, 4, collect, &answer, &finish));
    CHECK(finish == ATTAMBA_FINISH_CANCELLED);
    OK(attamba_session_cancel(target));
    OK(attamba_session_clear_cancel(target));
    OK(attamba_session_generate(target, 4, collect, &answer, &finish));
    CHECK(finish != ATTAMBA_FINISH_CANCELLED);

    /* In a signal handler, whatever the thread is doing: opening and closing take locks. */
    alarm(120);
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    first = pthread_self();
    CHECK(pthread_create(&thread, NULL, interrupt, NULL) == 0);
    for (i = 0; i < 300 || signals < 300; i++) {
        OK(attamba_session_open(model, &options, &session));
        OK(attamba_session_close(session));
        if (i == 150) {
            /* From here on the handle is closed. */
            OK(attamba_session_close(target));
        }
    }
    over = 1;
    pthread_join(thread, NULL);
    CHECK(attamba_session_cancel(target) == ATTAMBA_STATUS_CLOSED);
    CHECK(attamba_session_cancel(NULL) == ATTAMBA_STATUS_CLOSED);
    FAILS(ATTAMBA_STATUS_CLOSED, attamba_session_clear_cancel(target));

    /* Places of closed sessions are used again, each for its own session. */
    OK(attamba_session_open(model, &options, &session));
    OK(attamba_session_open(model, &options, &target));
    OK(attamba_session_cancel(session));
    OK(attamba_session_feed_tokens(target, tokens, 3));
    FAILS(ATTAMBA_STATUS_CANCELLED, attamba_session_feed_tokens(session, tokens, 3));
    OK(attamba_session_close(target));
    OK(attamba_session_close(session));
    OK(attamba_model_close(model));
    return 0;
}
