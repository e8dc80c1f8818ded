/* Opened and closed again and again: argv[3] times. Memory must not grow. */
#include "check.h"

int main(int argc, char **argv)
{
    long cycles, cycle, early = 0;

    CHECK(argc == 4);
    cycles = atol(argv[3]);
    for (cycle = 0; cycle < cycles; cycle++) {
        static struct text answer;
        attamba_model *model = NULL;
        attamba_session *session = NULL, *none = NULL;
        attamba_snapshot *snapshot = NULL;
        attamba_model_options loading = {sizeof loading};
        attamba_session_options options = {sizeof options};

        loading.threads = 1;
        loading.in_memory = cycle % 2;
        options.budget_kind = ATTAMBA_BUDGET_STATES;
        options.budget = 8;
        OK(attamba_model_open(argv[1], &loading, &model));
        OK(attamba_session_open(model, &options, &session));
        answer.length = 0;
        OK(attamba_session_chat(session, "Hi", 2, 1, collect, &answer, NULL));
        OK(attamba_session_snapshot(session, &snapshot));
        FAILS(ATTAMBA_STATUS_IO, attamba_session_load(model, "/nowhere", NULL, &none));
        CHECK(none == NULL);
        OK(attamba_snapshot_close(snapshot));
        OK(attamba_session_close(session));
        OK(attamba_model_close(model));
        if (cycle == cycles / 10) {
            early = resident();
        }
    }
    fprintf(stderr, "resident memory: %+ld KiB in %ld cycles\n", (resident() - early) / 1024,
            cycles - cycles / 10);
    /* What allocators keep in the first cycles says nothing of the rest. */
    CHECK(cycles < 100 || resident() - early < 2 << 20);
    return 0;
}
