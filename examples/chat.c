/* A chat in a terminal.
 *
 *     cc chat.c -lattamba -o chat && ./chat model.gguf
 */
#include <attamba.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>

static attamba_session *session;

/* Ctrl-C stops the answer; this is the one function that a handler may call. */
static void interrupt(int signal)
{
    (void)signal;
    attamba_session_cancel(session);
}

/* Text of the answer, as it is made. */
static int32_t print(void *user, const char *text, size_t bytes)
{
    (void)user;
    fwrite(text, 1, bytes, stdout);
    fflush(stdout);
    return 1;
}

static int fail(const char *what)
{
    char message[512];
    attamba_error_message(NULL, message, sizeof message, NULL);
    fprintf(stderr, "%s: %s\n", what, message);
    return 1;
}

int main(int argc, char **argv)
{
    attamba_model *model;
    attamba_session_options options = ATTAMBA_INIT(attamba_session_options);
    char line[4096];

    if (argc != 2) {
        fprintf(stderr, "usage: %s MODEL\n", argv[0]);
        return 2;
    }
    if (attamba_model_open(argv[1], NULL, &model) != ATTAMBA_STATUS_OK) {
        return fail(argv[1]);
    }
    options.budget_kind = ATTAMBA_BUDGET_BYTES;
    options.budget = 4 << 20;
    if (attamba_session_open(model, &options, &session) != ATTAMBA_STATUS_OK) {
        return fail("session");
    }
    signal(SIGINT, interrupt);
    while (fputs("> ", stdout), fflush(stdout), fgets(line, sizeof line, stdin) != NULL) {
        size_t bytes = strcspn(line, "\n");
        if (attamba_session_chat(session, line, bytes, 400, print, NULL, NULL) != ATTAMBA_STATUS_OK) {
            return fail("chat");
        }
        puts("");
    }
    attamba_session_close(session);
    attamba_model_close(model);
    return 0;
}
