/* Saved sessions as files: modes, links, and two sessions that save to one path. */
#include "check.h"

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[512];
static int failures; /* atomic */

static int32_t ignore(void *user, const char *text, size_t bytes)
{
    (void)user;
    (void)text;
    (void)bytes;
    return 1;
}

static void *save_often(void *session)
{
    int i;
    for (i = 0; i < 50; i++) {
        if (attamba_session_save(session, path) != ATTAMBA_STATUS_OK) {
            __sync_fetch_and_add(&failures, 1);
        }
    }
    return NULL;
}

static attamba_session *open_session(attamba_model *model, uint64_t states)
{
    attamba_session_options options = ATTAMBA_INIT(attamba_session_options);
    attamba_session *session = NULL;
    options.budget_kind = ATTAMBA_BUDGET_STATES;
    options.budget = states;
    OK(attamba_session_open(model, &options, &session));
    OK(attamba_session_chat(session, "Hi", 2, 5, ignore, NULL, NULL));
    return session;
}

int main(int argc, char **argv)
{
    attamba_model *model = NULL;
    attamba_session *small, *large, *loaded = NULL;
    char link[512];
    struct stat found;
    pthread_t one, two;
    int i;

    CHECK(argc == 3);
    OK(attamba_model_open(argv[1], NULL, &model));
    small = open_session(model, 16);
    large = open_session(model, 128);

    /* A chat is its owner's; a mode that somebody has set stays. */
    snprintf(path, sizeof path, "%s/mode.session", argv[2]);
    OK(attamba_session_save(small, path));
    CHECK(stat(path, &found) == 0 && (found.st_mode & 0777) == 0600);
    CHECK(chmod(path, 0640) == 0);
    OK(attamba_session_save(small, path));
    CHECK(stat(path, &found) == 0 && (found.st_mode & 0777) == 0640);

    /* What a link points to is replaced, not the link. */
    snprintf(link, sizeof link, "%s/link.session", argv[2]);
    CHECK(symlink(path, link) == 0);
    OK(attamba_session_save(large, link));
    CHECK(lstat(link, &found) == 0 && S_ISLNK(found.st_mode));
    OK(attamba_session_load(model, path, NULL, &loaded));
    OK(attamba_session_close(loaded));

    /* Every save succeeds, and whoever loads meanwhile finds a whole one. */
    snprintf(path, sizeof path, "%s/race.session", argv[2]);
    OK(attamba_session_save(small, path));
    CHECK(pthread_create(&one, NULL, save_often, small) == 0);
    CHECK(pthread_create(&two, NULL, save_often, large) == 0);
    for (i = 0; i < 50; i++) {
        OK(attamba_session_load(model, path, NULL, &loaded));
        OK(attamba_session_close(loaded));
    }
    pthread_join(one, NULL);
    pthread_join(two, NULL);
    CHECK(failures == 0);

    /* A folder or a file that is something else is not replaced. */
    FAILS(ATTAMBA_STATUS_IO, attamba_session_save(small, argv[2]));
    FAILS(ATTAMBA_STATUS_IO, attamba_session_save(small, argv[1]));
    OK(attamba_session_close(small));
    OK(attamba_session_close(large));
    OK(attamba_model_close(model));
    return 0;
}
