/* The GPU engine by way of the C API, on whatever GPU, or program that acts as one, is there. */
#include "check.h"

struct found {
    char name[256];
    int gpus;
};

static int32_t find(void *user, const attamba_adapter *adapter)
{
    struct found *found = (struct found *)user;
    CHECK(adapter->struct_size == sizeof *adapter && adapter->memory > (1 << 20));
    if (adapter->engine == ATTAMBA_ENGINE_GPU && found->gpus++ == 0) {
        snprintf(found->name, sizeof found->name, "%.*s", (int)strcspn(adapter->name, ","),
                 adapter->name);
    }
    return 1;
}

int main(int argc, char **argv)
{
    static struct text answer, again;
    struct found found = {"", 0};
    attamba_model *model = NULL;
    attamba_session *session = NULL, *on_cpu = NULL;
    attamba_memory memory = {sizeof memory};
    uint64_t before;
    char path[512], engine[256];

    CHECK(argc == 3);
    OK(attamba_adapters(find, &found));
    CHECK(found.gpus > 0);

    attamba_model_options loading = {sizeof loading};
    loading.engine = ATTAMBA_ENGINE_GPU;
    loading.adapter = found.name;
    OK(attamba_model_open(argv[1], &loading, &model));
    OK(attamba_model_engine(model, engine, sizeof engine, NULL));
    CHECK(strncmp(engine, "GPU", 3) == 0);

    attamba_session_options options = {sizeof options};
    options.budget_kind = ATTAMBA_BUDGET_STATES;
    options.budget = 64;
    OK(attamba_session_open(model, &options, &session));
    OK(attamba_session_chat(session, "Hello!", 6, 8, collect, &answer, NULL));
    CHECK(answer.length > 0);

    /* Nothing may be copied while paused: that would be work for the GPU. */
    OK(attamba_session_pause(session));
    FAILS(ATTAMBA_STATUS_PAUSED, attamba_session_save(session, "unused"));
    /* A shrink waits for the next call. */
    OK(attamba_session_get_memory(session, &memory));
    before = memory.state;
    OK(attamba_session_shrink(session, before * 2 / 3));
    FAILS(ATTAMBA_STATUS_BUDGET, attamba_session_shrink(session, 1));
    OK(attamba_session_get_memory(session, &memory));
    CHECK(memory.state == before);
    OK(attamba_session_resume(session));
    OK(attamba_session_chat(session, "And?", 4, 4, collect, &again, NULL));
    OK(attamba_session_get_memory(session, &memory));
    CHECK(memory.state <= before * 2 / 3);

    /* The CPU takes up what the GPU has left. */
    snprintf(path, sizeof path, "%s/gpu.session", argv[2]);
    OK(attamba_session_save(session, path));
    options.engine = ATTAMBA_ENGINE_CPU;
    OK(attamba_session_load(model, path, &options, &on_cpu));
    OK(attamba_session_chat(on_cpu, "And then?", 9, 4, collect, &again, NULL));
    OK(attamba_session_chat(session, "And then?", 9, 4, collect, &again, NULL));
    OK(attamba_session_close(on_cpu));
    OK(attamba_session_close(session));
    OK(attamba_model_close(model));
    return 0;
}
