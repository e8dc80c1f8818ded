/* A whole chat: opened from a path and from the middle of a file, answered, undone, kept, saved. */
#include "check.h"

#include <fcntl.h>
#include <unistd.h>

static int32_t progress(void *user, float done)
{
    float *last = user;
    CHECK(done >= *last && done <= 1);
    *last = done;
    return 1;
}

struct loaded {
    uint64_t done, all;
    int calls, stop_at;
};

static int32_t note_bytes(void *user, const attamba_loading *loading)
{
    struct loaded *read = user;
    CHECK(loading->struct_size == sizeof *loading && loading->part == ATTAMBA_LOADING_PART_READ);
    CHECK(loading->done <= loading->all && loading->done > 0);
    read->done = loading->done;
    read->all = loading->all;
    return ++read->calls != read->stop_at;
}

static int32_t refuse(void *user, float done)
{
    (void)user;
    return done < 0.5f;
}

static int32_t count(void *user, const char *role, size_t role_bytes, const char *text,
                     size_t text_bytes)
{
    CHECK(role_bytes > 0 && is_utf8(role, role_bytes) && is_utf8(text, text_bytes));
    ++*(int *)user;
    return 1;
}

static int32_t adapter(void *user, const attamba_adapter *adapter)
{
    CHECK(adapter->struct_size >= sizeof(attamba_adapter) && adapter->name[0] != 0);
    *(int32_t *)user = adapter->engine;
    return 1;
}

static void note(void *user, int32_t level, const char *text, size_t bytes)
{
    (void)user;
    CHECK(level <= ATTAMBA_LOG_LEVEL_TRACE && is_utf8(text, bytes));
}

/* A copy of the file at an odd place inside another. */
static void embed(const char *from, const char *to, size_t offset, size_t *length)
{
    static char buffer[1 << 16];
    FILE *in = fopen(from, "rb");
    FILE *out = fopen(to, "wb");
    size_t n;
    CHECK(in != NULL && out != NULL);
    for (n = 0; n < offset; n++) {
        fputc('x', out);
    }
    *length = 0;
    while ((n = fread(buffer, 1, sizeof buffer, in)) > 0) {
        *length += fwrite(buffer, 1, n, out);
    }
    fputs("more", out);
    fclose(in);
    CHECK(fclose(out) == 0);
}

int main(int argc, char **argv)
{
    static struct text first, second, again;
    char path[512], name[256];
    attamba_model *model = NULL, *inside = NULL, *copied = NULL;
    struct loaded read = {0};
    attamba_session *session = NULL, *loaded = NULL, *fork = NULL;
    attamba_snapshot *snapshot = NULL;
    int32_t finish = -1, undone = -1, engine = -1;
    size_t length = 0, pieces = 0;
    uint64_t bytes = 0;
    float done = 0;
    int messages = 0, fd;

    CHECK(argc == 3);
    CHECK(attamba_abi_version() == ATTAMBA_ABI_VERSION && attamba_version()[0] != 0);
    OK(attamba_log_set(ATTAMBA_LOG_LEVEL_TRACE, note, NULL));
    OK(attamba_adapters(adapter, &engine));
    CHECK(engine == ATTAMBA_ENGINE_CPU);

    /* What it will cost, and then what it does. */
    attamba_session_options options = {sizeof options};
    options.budget_kind = ATTAMBA_BUDGET_BYTES;
    options.budget = 1 << 20;
    attamba_sampling sampling = {sizeof sampling};
    OK(attamba_sampling_init(&sampling));
    CHECK(sampling.top_k == 40 && sampling.temperature > 0);
    sampling.temperature = 0;
    options.sampling = &sampling;
    attamba_model_options loading = {sizeof loading};
    loading.engine = ATTAMBA_ENGINE_CPU;
    loading.threads = 2;
    attamba_memory before = {sizeof before}, held = {sizeof held};
    OK(attamba_estimate(argv[1], &loading, &options, &before));
    CHECK(before.weights > 0 && before.state > 0 && before.state <= options.budget);
    CHECK(before.device == 0);
    loading.in_memory = 1;
    OK(attamba_estimate(argv[1], &loading, &options, &held));
    CHECK(held.weights == 0 && held.copied >= before.copied + before.weights);
    loading.in_memory = 0;
    loading.engine = ATTAMBA_ENGINE_GPU;
    OK(attamba_estimate(argv[1], &loading, &options, &held));
    CHECK(held.device > 0 && held.state == before.state && held.scratch > 0);
    loading.engine = ATTAMBA_ENGINE_CPU;
    loading.preload = 1;
    loading.progress = refuse;
    FAILS(ATTAMBA_STATUS_CANCELLED, attamba_model_open(argv[1], &loading, &model));
    CHECK(model == NULL);
    loading.progress = progress;
    loading.progress_user = &done;
    OK(attamba_model_open(argv[1], &loading, &model));
    CHECK(done == 1);

    /* In bytes, with a file that is copied; half of one may be enough. */
    loading.preload = 0;
    loading.in_memory = 1;
    loading.progress = NULL;
    loading.progress_user = &read;
    loading.loading = note_bytes;
    OK(attamba_model_open(argv[1], &loading, &copied));
    attamba_model_info size = {sizeof size};
    OK(attamba_model_get_info(copied, &size));
    CHECK(read.all == size.file_bytes && read.done == read.all && read.calls > 1);
    OK(attamba_model_close(copied));
    read.stop_at = read.calls + 1;
    FAILS(ATTAMBA_STATUS_CANCELLED, attamba_model_open(argv[1], &loading, &copied));
    CHECK(copied == NULL && read.done < read.all);
    attamba_model_info info = {sizeof info};
    OK(attamba_model_get_info(model, &info));
    CHECK(info.vocab > 0 && info.layers > 0 && info.file_bytes > before.weights);
    OK(attamba_model_name(model, name, sizeof name, &length));
    CHECK(strlen(name) == length && length > 0);
    OK(attamba_model_engine(model, name, sizeof name, NULL));
    CHECK(strstr(name, "2 threads") != NULL);

    OK(attamba_session_open(model, &options, &session));
    OK(attamba_session_get_memory(session, &held));
    CHECK(held.state == before.state && held.weights == before.weights);
    CHECK(held.scratch == before.scratch && held.copied == before.copied && held.device == 0);
    char reach[200];
    OK(attamba_session_reach(session, reach, sizeof reach, &length));
    CHECK(strlen(reach) == length && strstr(reach, " heads see the last ") != NULL);

    OK(attamba_session_chat(session, "Hello!", 6, 12, collect, &first, &finish));
    CHECK(finish == ATTAMBA_FINISH_ENDED || finish == ATTAMBA_FINISH_LIMIT);
    CHECK(first.length > 0);
    attamba_session_info stand = {sizeof stand};
    OK(attamba_session_get_info(session, &stand));
    CHECK(stand.messages == 2 && stand.prompt_tokens > 0 && stand.answer_tokens <= 12);

    /* From here twice: a snapshot, a fork and a file all go on alike. */
    OK(attamba_session_snapshot(session, &snapshot));
    OK(attamba_snapshot_bytes(snapshot, &bytes));
    CHECK(bytes > 0);
    OK(attamba_session_fork(session, &fork));
    snprintf(path, sizeof path, "%s/chat.session", argv[2]);
    OK(attamba_session_save(session, path));
    OK(attamba_session_load(model, path, &options, &loaded));
    OK(attamba_session_messages(loaded, count, &messages));
    CHECK(messages == 2);
    OK(attamba_session_chat(session, "And then?", 9, 12, collect, &second, NULL));
    OK(attamba_session_chat(loaded, "And then?", 9, 12, collect, &again, NULL));
    CHECK(again.length == second.length && memcmp(again.bytes, second.bytes, again.length) == 0);
    again.length = 0;
    OK(attamba_session_chat(fork, "And then?", 9, 12, collect, &again, NULL));
    CHECK(again.length == second.length && memcmp(again.bytes, second.bytes, again.length) == 0);
    OK(attamba_session_rewind(session, snapshot));
    again.length = 0;
    OK(attamba_session_chat(session, "And then?", 9, 12, collect, &again, NULL));
    CHECK(again.length == second.length && memcmp(again.bytes, second.bytes, again.length) == 0);
    OK(attamba_session_undo(session, &undone));
    CHECK(undone == 1);
    again.length = 0;
    OK(attamba_session_chat(session, "And then?", 9, 12, collect, &again, NULL));
    CHECK(again.length == second.length && memcmp(again.bytes, second.bytes, again.length) == 0);

    /* Less memory: the chat goes on, and what was kept before can't be gone back to. */
    OK(attamba_session_shrink(fork, before.state / 3 * 2));
    OK(attamba_session_get_memory(fork, &held));
    CHECK(held.state <= before.state / 3 * 2 && held.checkpoints == 0);
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_rewind(fork, snapshot));
    FAILS(ATTAMBA_STATUS_BUDGET, attamba_session_shrink(fork, 1));
    OK(attamba_session_chat(fork, "More.", 5, 4, collect, &again, NULL));

    /* The callback's no. */
    again.length = again.calls = 0;
    again.stop_after = 2;
    OK(attamba_session_chat(session, "More.", 5, 100, collect, &again, &finish));
    CHECK(again.calls == 2 && finish == ATTAMBA_FINISH_STOPPED);

    /* An instruction that is read once. */
    OK(attamba_session_instruct(session, "Answer briefly.", 15));
    OK(attamba_session_get_info(session, &stand));
    CHECK(stand.messages == 1);
    again.stop_after = 0;
    OK(attamba_session_chat(session, "Hello!", 6, 4, collect, &again, NULL));

    /* What a message says is text, unless it is asked for as tokens. */
    const char *spells = "<|user|><|user|><|user|>";
    uint64_t prompt_tokens[2];
    for (int parses = 0; parses < 2; parses++) {
        attamba_session *other = NULL;
        options.parse_special = parses;
        OK(attamba_session_open(model, &options, &other));
        OK(attamba_session_chat(other, spells, strlen(spells), 4, collect, &again, NULL));
        OK(attamba_session_get_info(other, &stand));
        prompt_tokens[parses] = stand.prompt_tokens;
        OK(attamba_session_close(other));
    }
    options.parse_special = 0;
    CHECK(prompt_tokens[1] + 3 <= prompt_tokens[0]);

    /* Stages in an order of the caller's, DRY with breakers of its own. */
    int32_t stages[] = {ATTAMBA_STAGE_DRY, ATTAMBA_STAGE_MIN_P, ATTAMBA_STAGE_TEMPERATURE};
    const char *breakers[] = {".", "!"};
    attamba_sampling own = {sizeof own};
    OK(attamba_sampling_init_chat(&own));
    CHECK(own.dry_multiplier > 0);
    own.stages = stages;
    own.stage_count = 3;
    own.dry_breakers = breakers;
    own.dry_breaker_count = 2;
    OK(attamba_session_set_sampling(session, &own));
    OK(attamba_session_chat(session, "Hello!", 6, 4, collect, &again, NULL));
    stages[2] = ATTAMBA_STAGE_DRY;
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_set_sampling(session, &own));
    stages[2] = 99;
    FAILS(ATTAMBA_STATUS_ARGUMENT, attamba_session_set_sampling(session, &own));
    OK(attamba_session_set_sampling(session, NULL));
    OK(attamba_session_set_sampling(session, &sampling));

    /* Raw text, by way of tokens. */
    uint32_t tokens[64];
    OK(attamba_model_tokenize(model, "Once upon a time", 16, 0, tokens, 64, &length));
    CHECK(length > 0 && length <= 64);
    OK(attamba_model_tokenize(model, "Once upon a time", 16, 0, NULL, 0, &pieces));
    CHECK(pieces == length);
    OK(attamba_session_reset(session));
    OK(attamba_session_feed_tokens(session, tokens, length));
    OK(attamba_session_get_info(session, &stand));
    CHECK(stand.position == length && stand.messages == 0);
    float *logits = malloc(info.vocab * sizeof *logits);
    OK(attamba_session_logits(session, logits, info.vocab, &length));
    CHECK(length == info.vocab && logits[0] == logits[0]);
    free(logits);
    again.length = 0;
    OK(attamba_session_generate(session, 8, collect, &again, &finish));
    OK(attamba_session_feed_text(session, " and", 4, 0));
    sampling.temperature = 1;
    OK(attamba_session_set_sampling(session, &sampling));
    OK(attamba_session_generate(session, 8, collect, &again, NULL));

    /* An emoji is several tokens, none of them a whole one; together they are it. */
    const char *emoji = "\xF0\x9F\x90\xA6";
    char spelt[64];
    size_t at = 0, n;
    OK(attamba_model_tokenize(model, emoji, 4, 0, tokens, 64, &length));
    for (n = 0; n < length; n++) {
        size_t part = 0;
        OK(attamba_model_token_bytes(model, tokens[n], (uint8_t *)spelt + at, sizeof spelt - at, &part));
        at += part;
    }
    CHECK(at >= 4 && memcmp(spelt + at - 4, emoji, 4) == 0);

    /* A model inside another file. The model goes before its session. */
    snprintf(path, sizeof path, "%s/inside", argv[2]);
    embed(argv[1], path, 12345, &length);
    fd = open(path, O_RDONLY);
    CHECK(fd >= 0);
    OK(attamba_estimate_fd(fd, 12345, length, &loading, &options, &held));
    CHECK(held.state == before.state);
    OK(attamba_model_open_fd(fd, 12345, length, NULL, &inside));
    close(fd);
    OK(attamba_session_close(session));
    sampling.temperature = 0;
    OK(attamba_session_open(inside, &options, &session));
    OK(attamba_model_close(inside));
    again.length = 0;
    OK(attamba_session_chat(session, "Hello!", 6, 12, collect, &again, NULL));
    CHECK(again.length == first.length && memcmp(again.bytes, first.bytes, again.length) == 0);

    OK(attamba_snapshot_close(snapshot));
    OK(attamba_session_close(session));
    OK(attamba_session_close(loaded));
    OK(attamba_session_close(fork));
    OK(attamba_model_close(model));
    OK(attamba_log_set(ATTAMBA_LOG_LEVEL_OFF, NULL, NULL));
    return 0;
}
