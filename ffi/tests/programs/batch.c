/* Sessions that generate on several threads at the same time, on a model that has them decode together. */
#include "check.h"

#include <pthread.h>

enum { SESSIONS = 6 };

static attamba_session *sessions[SESSIONS];
static struct text texts[SESSIONS];

static void *generate(void *number)
{
    size_t at = (size_t)(uintptr_t)number;
    OK(attamba_session_generate(sessions[at], 40 + 10 * (uint32_t)at, collect, &texts[at], NULL));
    return NULL;
}

/* Each thread generates with its session; alone, one after the other. */
static void run(const char *path, int batching, int alone)
{
    attamba_model *model = NULL;
    attamba_model_options loading = ATTAMBA_INIT(attamba_model_options);
    attamba_session_options options = ATTAMBA_INIT(attamba_session_options);
    attamba_sampling sampling = ATTAMBA_INIT(attamba_sampling);
    pthread_t threads[SESSIONS];
    size_t i;

    loading.batching = batching;
    OK(attamba_model_open(path, &loading, &model));
    OK(attamba_sampling_init(&sampling));
    sampling.temperature = 0;
    options.sampling = &sampling;
    options.budget_kind = ATTAMBA_BUDGET_STATES;
    options.budget = 32;
    for (i = 0; i < SESSIONS; i++) {
        const char *begin = i % 2 == 0 ? "Once upon a time" : "The bird";
        texts[i].length = 0;
        OK(attamba_session_open(model, &options, &sessions[i]));
        OK(attamba_session_feed_text(sessions[i], begin, strlen(begin), 0));
    }
    for (i = 0; i < SESSIONS; i++) {
        if (alone) {
            generate((void *)(uintptr_t)i);
        } else {
            CHECK(pthread_create(&threads[i], NULL, generate, (void *)(uintptr_t)i) == 0);
        }
    }
    for (i = 0; i < SESSIONS; i++) {
        if (!alone) {
            pthread_join(threads[i], NULL);
        }
        OK(attamba_session_close(sessions[i]));
    }
    OK(attamba_model_close(model));
}

int main(int argc, char **argv)
{
    static struct text want[SESSIONS];
    size_t i;

    CHECK(argc == 3);
    run(argv[1], 0, 1);
    memcpy(want, texts, sizeof want);
    run(argv[1], 1, 0);
    for (i = 0; i < SESSIONS; i++) {
        CHECK(texts[i].length > 0 && strcmp(texts[i].bytes, want[i].bytes) == 0);
    }
    return 0;
}
