/* What a file says of its model, text of tokens, and texts as vectors. */
#include "check.h"

#include <math.h>

static float alike(const attamba_model *model, const char *one, const char *other, size_t width)
{
    static float first[4096], second[4096];
    float sum = 0;
    size_t count = 0, i;

    CHECK(width <= 4096);
    OK(attamba_model_embed(model, one, strlen(one), ATTAMBA_POOLING_DEFAULT, first, width, &count));
    CHECK(count == width);
    OK(attamba_model_embed(model, other, strlen(other), ATTAMBA_POOLING_MEAN, second, width, NULL));
    for (i = 0; i < width; i++) {
        sum += first[i] * second[i];
    }
    return sum;
}

int main(int argc, char **argv)
{
    attamba_model *model = NULL;
    attamba_model_info info = ATTAMBA_INIT(attamba_model_info);
    uint32_t tokens[64];
    char text[256];
    size_t count = 0, length = 0;
    float one = 0;

    CHECK(argc == 3);
    OK(attamba_model_open(argv[1], NULL, &model));
    OK(attamba_model_get_info(model, &info));
    CHECK(info.width > 0 && info.embeds == 0);
    CHECK(info.has_template == 0 || info.has_template == 1);
    CHECK(info.has_tools <= info.has_template);

    OK(attamba_model_metadata(model, "general.architecture", text, sizeof text, NULL));
    CHECK(strcmp(text, "attamba") == 0);
    OK(attamba_model_metadata(model, "quantization", text, sizeof text, &length));
    CHECK(text[0] != 0 && strlen(text) == length);
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_model_metadata(model, "no.such", text, sizeof text, NULL));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_model_metadata(model, NULL, text, sizeof text, NULL));

    OK(attamba_model_tokenize(model, "Hello, bird!", 12, 0, tokens, 64, &count));
    CHECK(count > 1 && count <= 64);
    OK(attamba_model_detokenize(model, tokens, count, 0, text, sizeof text, &length));
    CHECK(strstr(text, "Hello, bird!") != NULL && length == strlen(text));
    OK(attamba_model_detokenize(model, tokens, count, 1, text, 4, &length));
    CHECK(strlen(text) == 3 && length > 3);
    tokens[0] = UINT32_MAX;
    OK(attamba_model_detokenize(model, tokens, 1, 1, text, sizeof text, &length));
    CHECK(length == 0);

    CHECK(fabsf(alike(model, "A bird sang.", "A bird sang.", info.width) - 1) < 1e-4f);
    CHECK(alike(model, "A bird sang.", "A bird flew.", info.width) < 0.9999f);
    OK(attamba_model_embed(model, "A bird", 6, ATTAMBA_POOLING_LAST, &one, 1, &count));
    CHECK(count == info.width && isfinite(one));
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_model_embed(model, "A bird", 6, 7, &one, 1, NULL));
    OK(attamba_model_close(model));
    return 0;
}
