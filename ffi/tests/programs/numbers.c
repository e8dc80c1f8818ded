/* Absurd numbers in every field of every struct that a caller fills in: an error with a sentence, or
 * a session that works. */
#include "check.h"

#include <float.h>
#include <math.h>

static const uint64_t WHOLE[] = {
    0, 1, 2, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, INT64_MAX, 1ull << 63, UINT64_MAX,
};
static const float REAL[] = {
    0, -0.0f, 1, -1, 1e-45f, FLT_MAX, -FLT_MAX, INFINITY, -INFINITY, NAN,
};
enum { WHOLES = sizeof WHOLE / sizeof *WHOLE, REALS = sizeof REAL / sizeof *REAL };

static attamba_model *model;

static void said(int32_t status, const char *field, int number)
{
    char message[512] = "";
    attamba_error_message(NULL, message, sizeof message, NULL);
    if (status != ATTAMBA_STATUS_OK && message[0] == 0) {
        fprintf(stderr, "value %d of %s fails without a message\n", number, field);
        exit(1);
    }
}

/* Opens a session and has it generate a little. */
static void run(const attamba_session_options *options, const char *field, int number)
{
    attamba_session *session = NULL;
    struct text text = {{0}, 0, 0, 0};
    int32_t status = attamba_session_open(model, options, &session);
    said(status, field, number);
    if (status != ATTAMBA_STATUS_OK) {
        CHECK(session == NULL);
        return;
    }
    status = attamba_session_feed_text(session, "Once upon", 9, 0);
    if (status == ATTAMBA_STATUS_OK) {
        status = attamba_session_generate(session, 2, collect, &text, NULL);
    }
    said(status, field, number);
    OK(attamba_session_close(session));
}

#define EACH(count, values, fields, field)                                                         \
    for (int i = 0; i < (count); i++) {                                                            \
        attamba_session_options options = usual;                                                   \
        attamba_sampling sampling = usual_sampling;                                                \
        options.sampling = &sampling;                                                              \
        (fields).field = (values)[i];                                                              \
        run(&options, #field, i);                                                                  \
    }
#define OPTION(field) EACH(WHOLES, WHOLE, options, field)
#define NUMBER(field) EACH(WHOLES, WHOLE, sampling, field)
#define FACTOR(field) EACH(REALS, REAL, sampling, field)

int main(int argc, char **argv)
{
    attamba_session_options usual = {sizeof usual};
    attamba_sampling usual_sampling = {sizeof usual_sampling};
    attamba_bias bias = {0, 0};

    CHECK(argc == 3);
    OK(attamba_sampling_init(&usual_sampling));
    usual.budget_kind = ATTAMBA_BUDGET_STATES;
    usual.budget = 8;

#define LOADING(field)                                                                             \
    for (int i = 0; i < WHOLES; i++) {                                                             \
        attamba_model_options loading = {sizeof loading};                                          \
        loading.field = WHOLE[i];                                                                  \
        model = NULL;                                                                              \
        int32_t status = attamba_model_open(argv[1], &loading, &model);                            \
        said(status, #field, i);                                                                   \
        CHECK((status == ATTAMBA_STATUS_OK) == (model != NULL));                                   \
        if (model != NULL) {                                                                       \
            OK(attamba_model_close(model));                                                        \
        }                                                                                          \
    }
    LOADING(engine) LOADING(threads) LOADING(preload) LOADING(in_memory)
    LOADING(activations)

    OK(attamba_model_open(argv[1], NULL, &model));
    OPTION(engine) OPTION(budget_kind) OPTION(kv) OPTION(budget) OPTION(policy) OPTION(chunk)
    OPTION(parse_special) OPTION(far_kv) OPTION(far_heads) OPTION(near_tokens) OPTION(horizon)
    for (int kind = 0; kind < 5; kind++) {
        usual.budget_kind = kind;
        OPTION(budget)
    }
    usual.budget_kind = ATTAMBA_BUDGET_STATES;
    NUMBER(repeat_last) NUMBER(seed) NUMBER(top_k) NUMBER(dry_allowed_length)
    NUMBER(dry_penalty_last_n) NUMBER(stage_count) NUMBER(bias_count) NUMBER(dry_breaker_count)
    FACTOR(repeat_penalty) FACTOR(top_p) FACTOR(min_p) FACTOR(temperature) FACTOR(frequency_penalty)
    FACTOR(presence_penalty) FACTOR(typical_p) FACTOR(xtc_probability) FACTOR(xtc_threshold)
    FACTOR(dry_multiplier) FACTOR(dry_base)
    usual_sampling.bias = &bias;
    usual_sampling.bias_count = 1;
    for (int i = 0; i < WHOLES + REALS; i++) {
        attamba_session_options options = usual;
        options.sampling = &usual_sampling;
        bias.token = i < WHOLES ? (uint32_t)WHOLE[i] : 0;
        bias.bias = i < WHOLES ? 1 : REAL[i - WHOLES];
        run(&options, "bias", i);
    }
    OK(attamba_model_close(model));
    return 0;
}
