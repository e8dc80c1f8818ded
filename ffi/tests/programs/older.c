/* Callers that were compiled with an older header: their structs are shorter. Here the fields that a
 * later header added are cut off one after the other. */
#include "check.h"

int main(int argc, char **argv)
{
    attamba_model *model = NULL;
    attamba_session *session = NULL;
    uint32_t size;

    CHECK(argc == 3);
    for (size = 8; size <= sizeof(attamba_model_options); size += 8) {
        /* On the heap and no longer than it says, so that reading on is found out. */
        attamba_model_options *options = calloc(1, size);
        options->struct_size = size;
        OK(attamba_model_open(argv[1], options, &model));
        free(options);
        if (size < sizeof(attamba_model_options)) {
            OK(attamba_model_close(model));
        }
    }
    for (size = 8; size <= sizeof(attamba_session_options); size += 8) {
        attamba_session_options *options = calloc(1, size);
        options->struct_size = size;
        OK(attamba_session_open(model, options, &session));
        free(options);
        OK(attamba_session_close(session));
    }
    OK(attamba_session_open(model, NULL, &session));
    for (size = 8; size <= sizeof(attamba_sampling); size += 8) {
        attamba_sampling *sampling = calloc(1, size);
        sampling->struct_size = size;
        OK(attamba_sampling_init(sampling));
        CHECK(sampling->struct_size == size);
        OK(attamba_session_set_sampling(session, sampling));
        free(sampling);
    }
    for (size = 8; size <= sizeof(attamba_session_info); size += 8) {
        attamba_session_info *info = calloc(1, size);
        info->struct_size = size;
        OK(attamba_session_get_info(session, info));
        free(info);
    }
    for (size = 8; size <= sizeof(attamba_memory); size += 8) {
        attamba_memory *memory = calloc(1, size);
        memory->struct_size = size;
        OK(attamba_session_get_memory(session, memory));
        CHECK(size < 16 || memory->weights > 0);
        OK(attamba_estimate(argv[1], NULL, NULL, memory));
        free(memory);
    }
    for (size = 8; size <= sizeof(attamba_model_info); size += 8) {
        attamba_model_info *info = calloc(1, size);
        info->struct_size = size;
        OK(attamba_model_get_info(model, info));
        CHECK(info->vocab > 0);
        free(info);
    }

    /* A newer caller: fine as long as what it knows and the library does not is zero. */
    struct {
        attamba_session_options known;
        uint64_t later[2];
    } newer = {{sizeof newer}, {0, 0}};
    OK(attamba_session_close(session));
    OK(attamba_session_open(model, &newer.known, &session));
    OK(attamba_session_close(session));
    newer.later[1] = 1;
    FAILS(ATTAMBA_STATUS_UNSUPPORTED, attamba_session_open(model, &newer.known, &session));
    newer.known.struct_size = 12;
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_open(model, &newer.known, &session));
    newer.known.struct_size = UINT32_MAX;
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_open(model, &newer.known, &session));
    OK(attamba_model_close(model));
    return 0;
}
