/* A process that forks: the child has the handles of its parent, and none of its threads. */
#include "check.h"

#include <sys/wait.h>
#include <unistd.h>

static void chat(attamba_session *session)
{
    static struct text answer;
    answer.length = 0;
    OK(attamba_session_chat(session, "Hi", 2, 4, collect, &answer, NULL));
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
