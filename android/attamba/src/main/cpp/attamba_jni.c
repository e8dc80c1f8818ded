/*
 * The native side of org.attamba.Native. Every function converts its arguments, calls the C function
 * of the same name, and throws failures as org.attamba.AttambaException.
 *
 * Text crosses as UTF-8 byte arrays: NewStringUTF expects another encoding, and aborts the
 * process if it does not get it.
 */
#include <attamba.h>

#include <jni.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __ANDROID__
#include <android/log.h>
#endif

static jclass exception_class;
static jmethodID exception_new;
static jmethodID on_text;
static jmethodID on_token;
static jmethodID on_progress;
static jmethodID on_bytes;
static jmethodID on_message;
static jmethodID on_adapter;

#define NATIVE(type, name) JNIEXPORT type JNICALL Java_org_attamba_Native_##name

static jmethodID method(JNIEnv *env, const char *class_name, const char *name, const char *signature)
{
    jclass class = (*env)->FindClass(env, class_name);
    jmethodID found = class == NULL ? NULL : (*env)->GetMethodID(env, class, name, signature);
    (*env)->DeleteLocalRef(env, class);
    return found;
}

JNIEXPORT jint JNICALL JNI_OnLoad(JavaVM *vm, void *reserved)
{
    JNIEnv *env = NULL;
    jclass class;

    (void)reserved;
    if ((*vm)->GetEnv(vm, (void **)&env, JNI_VERSION_1_6) != JNI_OK ||
        attamba_abi_version() != ATTAMBA_ABI_VERSION) {
        return JNI_ERR;
    }
    class = (*env)->FindClass(env, "org/attamba/AttambaException");
    if (class == NULL) {
        return JNI_ERR;
    }
    exception_class = (*env)->NewGlobalRef(env, class);
    exception_new = (*env)->GetMethodID(env, class, "<init>", "(I[B)V");
    on_text = method(env, "org/attamba/TextSink", "onText", "([B)Z");
    on_token = method(env, "org/attamba/TokenSink", "onToken", "(IF[I[F)V");
    on_progress = method(env, "org/attamba/LoadingSink", "onProgress", "(F)Z");
    on_bytes = method(env, "org/attamba/LoadingSink", "onBytes", "(IJJ)Z");
    on_message = method(env, "org/attamba/Messages", "onMessage", "([B[B)V");
    on_adapter = method(env, "org/attamba/Adapters", "onAdapter", "(I[BJ)V");
    if (exception_class == NULL || exception_new == NULL || on_text == NULL || on_token == NULL ||
        on_progress == NULL || on_bytes == NULL || on_message == NULL || on_adapter == NULL) {
        return JNI_ERR;
    }
    return JNI_VERSION_1_6;
}

/* A byte array of the text; NULL with an exception pending if there is no memory. */
static jbyteArray to_java(JNIEnv *env, const char *text, size_t bytes)
{
    jsize length = bytes > INT32_MAX ? INT32_MAX : (jsize)bytes;
    jbyteArray array = (*env)->NewByteArray(env, length);
    if (array != NULL) {
        (*env)->SetByteArrayRegion(env, array, 0, length, (const jbyte *)text);
    }
    return array;
}

/* Throws the failure that the status describes, with this thread's message; returns whether there was
 * one. An exception left pending by a callback takes precedence. */
static int failed(JNIEnv *env, int32_t status)
{
    size_t bytes = 0;
    char *message;
    jbyteArray array = NULL;

    if ((*env)->ExceptionCheck(env)) {
        return 1;
    }
    if (status == ATTAMBA_STATUS_OK) {
        return 0;
    }
    attamba_error_message(NULL, NULL, 0, &bytes);
    message = calloc(1, bytes + 1);
    if (message != NULL) {
        attamba_error_message(NULL, message, bytes + 1, NULL);
        array = to_java(env, message, bytes);
        free(message);
    }
    if (array != NULL) {
        jobject exception =
            (*env)->NewObject(env, exception_class, exception_new, (jint)status, array);
        if (exception != NULL) {
            (*env)->Throw(env, exception);
        }
    }
    return 1;
}

/* The bytes of a Java array, followed by a zero byte; freed by the caller. NULL, with an exception
 * pending, if there is no memory. */
static char *from_java(JNIEnv *env, jbyteArray array, size_t *bytes)
{
    jsize length = (*env)->GetArrayLength(env, array);
    char *text = malloc((size_t)length + 1);
    if (text == NULL) {
        jclass class = (*env)->FindClass(env, "java/lang/OutOfMemoryError");
        if (class != NULL) {
            (*env)->ThrowNew(env, class, "text for the native library");
        }
        return NULL;
    }
    (*env)->GetByteArrayRegion(env, array, 0, length, (jbyte *)text);
    text[length] = 0;
    if (bytes != NULL) {
        *bytes = (size_t)length;
    }
    return text;
}

/* An array of byte arrays, each followed by a zero byte; freed by free_texts. `*bytes`, unless NULL, gets
 * their lengths. An exception is pending if there is no memory. */
struct texts {
    char **texts;
    size_t *bytes;
    jsize count;
};

static void free_texts(struct texts *all)
{
    jsize i;
    for (i = 0; all->texts != NULL && i < all->count; i++) {
        free(all->texts[i]);
    }
    free(all->texts);
    free(all->bytes);
}

/* No texts for a null array. */
static int texts_from_java(JNIEnv *env, jobjectArray arrays, struct texts *all)
{
    jsize i;

    memset(all, 0, sizeof *all);
    if (arrays == NULL) {
        return 1;
    }
    all->count = (*env)->GetArrayLength(env, arrays);
    all->texts = calloc((size_t)all->count + 1, sizeof *all->texts);
    all->bytes = calloc((size_t)all->count + 1, sizeof *all->bytes);
    if (all->texts == NULL || all->bytes == NULL) {
        jclass class = (*env)->FindClass(env, "java/lang/OutOfMemoryError");
        if (class != NULL) {
            (*env)->ThrowNew(env, class, "texts for the native library");
        }
        return 0;
    }
    for (i = 0; i < all->count && !(*env)->ExceptionCheck(env); i++) {
        jbyteArray array = (*env)->GetObjectArrayElement(env, arrays, i);
        if (!(*env)->ExceptionCheck(env)) {
            all->texts[i] = from_java(env, array, &all->bytes[i]);
            (*env)->DeleteLocalRef(env, array);
        }
    }
    return !(*env)->ExceptionCheck(env);
}

static attamba_model *model_of(jlong number)
{
    return (attamba_model *)(uintptr_t)number;
}

static attamba_session *session_of(jlong number)
{
    return (attamba_session *)(uintptr_t)number;
}

static attamba_snapshot *snapshot_of(jlong number)
{
    return (attamba_snapshot *)(uintptr_t)number;
}

static jlong number_of(const void *handle)
{
    return (jlong)(uintptr_t)handle;
}

/* A Kotlin function that the library calls back, on the thread that made the call. */
struct callback {
    JNIEnv *env;
    jobject function;
};

/* The functions of a call that generates. */
struct generating {
    struct callback text;
    struct callback token;
};

static int32_t hand_text(void *user, const char *text, size_t bytes)
{
    struct callback *callback = &((struct generating *)user)->text;
    JNIEnv *env = callback->env;
    jbyteArray array = (*env)->ExceptionCheck(env) ? NULL : to_java(env, text, bytes);
    jboolean go_on = JNI_FALSE;

    if (array != NULL) {
        go_on = (*env)->CallBooleanMethod(env, callback->function, on_text, array);
        (*env)->DeleteLocalRef(env, array);
    }
    /* An exception stops the text, and is thrown when the call returns. */
    return go_on && !(*env)->ExceptionCheck(env);
}

static void hand_token(void *user, const attamba_token *token)
{
    struct callback *callback = &((struct generating *)user)->token;
    JNIEnv *env = callback->env;
    jsize count = (jsize)token->count, i;
    jintArray ids;
    jfloatArray logprobs;

    /* After an exception the text stops at its next piece. */
    if ((*env)->ExceptionCheck(env)) {
        return;
    }
    ids = (*env)->NewIntArray(env, count);
    logprobs = ids == NULL ? NULL : (*env)->NewFloatArray(env, count);
    for (i = 0; logprobs != NULL && i < count && !(*env)->ExceptionCheck(env); i++) {
        jint id = (jint)token->top[i].token;
        (*env)->SetIntArrayRegion(env, ids, i, 1, &id);
        if (!(*env)->ExceptionCheck(env)) {
            (*env)->SetFloatArrayRegion(env, logprobs, i, 1, &token->top[i].logprob);
        }
    }
    if (!(*env)->ExceptionCheck(env)) {
        (*env)->CallVoidMethod(env, callback->function, on_token, (jint)token->chosen.token,
                               (jfloat)token->chosen.logprob, ids, logprobs);
    }
    (*env)->DeleteLocalRef(env, ids);
    (*env)->DeleteLocalRef(env, logprobs);
}

static int32_t hand_progress(void *user, float done)
{
    struct callback *callback = user;
    JNIEnv *env = callback->env;
    jboolean go_on = (*env)->CallBooleanMethod(env, callback->function, on_progress, (jfloat)done);
    return go_on && !(*env)->ExceptionCheck(env);
}

static int32_t hand_bytes(void *user, const attamba_loading *loading)
{
    struct callback *callback = user;
    JNIEnv *env = callback->env;
    jboolean go_on = (*env)->CallBooleanMethod(env, callback->function, on_bytes, (jint)loading->part,
                                               (jlong)loading->done, (jlong)loading->all);
    return go_on && !(*env)->ExceptionCheck(env);
}

static int32_t hand_message(void *user, const char *role, size_t role_bytes, const char *text,
                            size_t text_bytes)
{
    struct callback *callback = user;
    JNIEnv *env = callback->env;
    jbyteArray role_array = to_java(env, role, role_bytes);
    jbyteArray text_array = role_array == NULL ? NULL : to_java(env, text, text_bytes);

    if (text_array == NULL) {
        return 0;
    }
    (*env)->CallVoidMethod(env, callback->function, on_message, role_array, text_array);
    (*env)->DeleteLocalRef(env, role_array);
    (*env)->DeleteLocalRef(env, text_array);
    return !(*env)->ExceptionCheck(env);
}

static int32_t hand_adapter(void *user, const attamba_adapter *adapter)
{
    struct callback *callback = user;
    JNIEnv *env = callback->env;
    jbyteArray name = to_java(env, adapter->name, strlen(adapter->name));

    if (name == NULL) {
        return 0;
    }
    (*env)->CallVoidMethod(env, callback->function, on_adapter, (jint)adapter->engine, name,
                           (jlong)adapter->memory);
    (*env)->DeleteLocalRef(env, name);
    return !(*env)->ExceptionCheck(env);
}

#ifdef __ANDROID__
static void log_note(void *user, int32_t level, const char *text, size_t bytes)
{
    static const int priorities[] = {ANDROID_LOG_SILENT, ANDROID_LOG_ERROR, ANDROID_LOG_WARN,
                                     ANDROID_LOG_INFO,   ANDROID_LOG_DEBUG, ANDROID_LOG_VERBOSE};
    (void)user;
    if (level >= 0 && level < (int32_t)(sizeof priorities / sizeof *priorities)) {
        __android_log_print(priorities[level], "attamba", "%.*s", (int)bytes, text);
    }
}
#else
#define log_note NULL
#endif

static jlongArray longs(JNIEnv *env, const jlong *values, jsize count)
{
    jlongArray array = (*env)->NewLongArray(env, count);
    if (array != NULL) {
        (*env)->SetLongArrayRegion(env, array, 0, count, values);
    }
    return array;
}

NATIVE(jbyteArray, version)(JNIEnv *env, jobject self)
{
    const char *version = attamba_version();
    (void)self;
    return to_java(env, version, strlen(version));
}

NATIVE(void, adapters)(JNIEnv *env, jobject self, jobject each)
{
    struct callback callback = {env, each};
    (void)self;
    failed(env, attamba_adapters(hand_adapter, &callback));
}

NATIVE(void, log)(JNIEnv *env, jobject self, jint level)
{
    (void)self;
    failed(env, attamba_log_set(level, log_note, NULL));
}

/* `adapter` and `cache` stay owned by the caller. */
static attamba_model_options loading(jint engine, const char *adapter, jint threads, jboolean preload,
                                     jboolean in_memory, jboolean batching, jint activations,
                                     const char *cache, struct callback *progress)
{
    attamba_model_options options = {0};
    options.struct_size = sizeof options;
    options.engine = engine;
    options.threads = (uint32_t)threads;
    options.preload = preload;
    options.in_memory = in_memory;
    options.batching = batching;
    options.activations = activations;
    options.adapter = adapter;
    options.cache = cache;
    options.progress = hand_progress;
    options.loading = hand_bytes;
    options.progress_user = progress;
    return options;
}

NATIVE(jlong, modelOpen)(JNIEnv *env, jobject self, jbyteArray path, jint engine, jbyteArray adapter,
                         jint threads, jboolean preload, jboolean in_memory, jboolean batching,
                         jint activations, jbyteArray cache, jobject progress)
{
    struct callback callback = {env, progress};
    attamba_model *model = NULL;
    char *text = from_java(env, path, NULL);
    char *name = adapter == NULL ? NULL : from_java(env, adapter, NULL);
    char *folder = cache == NULL ? NULL : from_java(env, cache, NULL);
    attamba_model_options options =
        loading(engine, name, threads, preload, in_memory, batching, activations, folder, &callback);

    (void)self;
    if (!(*env)->ExceptionCheck(env)) {
        failed(env, attamba_model_open(text, &options, &model));
    }
    free(folder);
    free(name);
    free(text);
    return number_of(model);
}

NATIVE(jlong, modelOpenFd)(JNIEnv *env, jobject self, jint fd, jlong offset, jlong length, jint engine,
                           jbyteArray adapter, jint threads, jboolean preload, jboolean in_memory,
                           jboolean batching, jint activations, jbyteArray cache, jobject progress)
{
    struct callback callback = {env, progress};
    attamba_model *model = NULL;
    char *name = adapter == NULL ? NULL : from_java(env, adapter, NULL);
    char *folder = cache == NULL ? NULL : from_java(env, cache, NULL);
    attamba_model_options options =
        loading(engine, name, threads, preload, in_memory, batching, activations, folder, &callback);

    (void)self;
    if (!(*env)->ExceptionCheck(env)) {
        failed(env, attamba_model_open_fd(fd, (uint64_t)offset, (uint64_t)length, &options, &model));
    }
    free(folder);
    free(name);
    return number_of(model);
}

NATIVE(void, modelClose)(JNIEnv *env, jobject self, jlong model)
{
    (void)self;
    failed(env, attamba_model_close(model_of(model)));
}

typedef attamba_status (*name_fn)(const attamba_model *, char *, size_t, size_t *);

static jbyteArray name(JNIEnv *env, jlong model, name_fn function)
{
    size_t bytes = 0;
    char text[512];

    if (failed(env, function(model_of(model), text, sizeof text, &bytes))) {
        return NULL;
    }
    return to_java(env, text, strlen(text));
}

NATIVE(jbyteArray, modelName)(JNIEnv *env, jobject self, jlong model)
{
    (void)self;
    return name(env, model, attamba_model_name);
}

NATIVE(jbyteArray, modelEngine)(JNIEnv *env, jobject self, jlong model)
{
    (void)self;
    return name(env, model, attamba_model_engine);
}

NATIVE(jlongArray, modelInfo)(JNIEnv *env, jobject self, jlong model)
{
    attamba_model_info info = {0};

    (void)self;
    info.struct_size = sizeof info;
    if (failed(env, attamba_model_get_info(model_of(model), &info))) {
        return NULL;
    }
    jlong values[] = {info.vocab, info.layers, info.context,
                      info.chunk, info.window, (jlong)info.file_bytes,
                      info.width, info.has_template, info.has_tools, info.embeds};
    return longs(env, values, sizeof values / sizeof *values);
}

/* What a function makes of a model and of what `of` points to. */
typedef attamba_status (*text_fn)(const attamba_model *, const void *of, char *, size_t, size_t *);

static jbyteArray model_text(JNIEnv *env, jlong model, text_fn function, const void *of)
{
    size_t bytes = 0;
    char *text;
    jbyteArray array = NULL;

    if (failed(env, function(model_of(model), of, NULL, 0, &bytes))) {
        return NULL;
    }
    text = calloc(1, bytes + 1);
    if (text != NULL && !failed(env, function(model_of(model), of, text, bytes + 1, NULL))) {
        array = to_java(env, text, bytes);
    }
    free(text);
    return array;
}

static attamba_status metadata(const attamba_model *model, const void *key, char *text, size_t capacity,
                               size_t *length)
{
    return attamba_model_metadata(model, key, text, capacity, length);
}

NATIVE(jbyteArray, modelMetadata)(JNIEnv *env, jobject self, jlong model, jbyteArray key)
{
    char *utf8 = from_java(env, key, NULL);
    jbyteArray array = utf8 == NULL ? NULL : model_text(env, model, metadata, utf8);

    (void)self;
    free(utf8);
    return array;
}

struct tokens {
    const uint32_t *tokens;
    size_t count;
    int32_t special;
};

static attamba_status detokenized(const attamba_model *model, const void *of, char *text, size_t capacity,
                                  size_t *length)
{
    const struct tokens *all = of;
    return attamba_model_detokenize(model, all->tokens, all->count, all->special, text, capacity,
                                    length);
}

NATIVE(jbyteArray, detokenize)(JNIEnv *env, jobject self, jlong model, jintArray tokens, jboolean special)
{
    struct tokens all = {NULL, (size_t)(*env)->GetArrayLength(env, tokens), special};
    jint *values = (*env)->GetIntArrayElements(env, tokens, NULL);
    jbyteArray array = NULL;

    (void)self;
    if (values != NULL) {
        all.tokens = (const uint32_t *)values;
        array = model_text(env, model, detokenized, &all);
        (*env)->ReleaseIntArrayElements(env, tokens, values, JNI_ABORT);
    }
    return array;
}

NATIVE(jfloatArray, embed)(JNIEnv *env, jobject self, jlong model, jbyteArray text, jint pooling)
{
    attamba_model_info info = {0};
    size_t bytes = 0;
    char *utf8 = from_java(env, text, &bytes);
    float *vector = NULL;
    jfloatArray array = NULL;

    (void)self;
    info.struct_size = sizeof info;
    if (utf8 != NULL && !failed(env, attamba_model_get_info(model_of(model), &info))) {
        vector = calloc((size_t)info.width + 1, sizeof *vector);
    }
    if (vector != NULL && !failed(env, attamba_model_embed(model_of(model), utf8, bytes, pooling, vector,
                                                           info.width, NULL))) {
        array = (*env)->NewFloatArray(env, (jsize)info.width);
        if (array != NULL) {
            (*env)->SetFloatArrayRegion(env, array, 0, (jsize)info.width, vector);
        }
    }
    free(vector);
    free(utf8);
    return array;
}

NATIVE(jintArray, tokenize)(JNIEnv *env, jobject self, jlong model, jbyteArray text, jboolean special)
{
    size_t bytes = 0, count = 0;
    char *utf8 = from_java(env, text, &bytes);
    uint32_t *tokens;
    jintArray array = NULL;

    (void)self;
    if (utf8 == NULL) {
        return NULL;
    }
    /* A token stands for at least one byte, but some tokenizers put a space before the text. */
    tokens = malloc((bytes + 16) * sizeof *tokens);
    if (tokens != NULL) {
        int32_t status = attamba_model_tokenize(model_of(model), utf8, bytes, special, tokens,
                                                bytes + 16, &count);
        if (!failed(env, status)) {
            jsize length = (jsize)(count < bytes + 16 ? count : bytes + 16);
            array = (*env)->NewIntArray(env, length);
            if (array != NULL) {
                (*env)->SetIntArrayRegion(env, array, 0, length, (const jint *)tokens);
            }
        }
    }
    free(tokens);
    free(utf8);
    return array;
}

/* How many numbers SessionOptions has, and of Sampling how many whole ones and how many others. */
enum { OPTIONS = 12, WHOLE = 5, FLOATS = 11, STAGES = ATTAMBA_STAGE_TEMPERATURE + 1 };

/* What the options of a session point to. */
struct sampling {
    attamba_sampling numbers;
    attamba_bias *bias;
    int32_t stages[STAGES];
    struct texts stop;
};

static void free_sampling(struct sampling *sampling)
{
    free(sampling->bias);
    free_texts(&sampling->stop);
}

/* The options of a session, in the order of SessionOptions.numbers(). */
static int session_options(JNIEnv *env, jlongArray numbers, attamba_session_options *options)
{
    jlong n[OPTIONS];

    (*env)->GetLongArrayRegion(env, numbers, 0, OPTIONS, n);
    if ((*env)->ExceptionCheck(env)) {
        return 0;
    }
    memset(options, 0, sizeof *options);
    options->struct_size = sizeof *options;
    options->engine = (int32_t)n[0];
    options->budget_kind = (int32_t)n[1];
    options->budget = (uint64_t)n[2];
    options->kv = (int32_t)n[3];
    options->policy = (int32_t)n[4];
    options->chunk = (uint32_t)n[5];
    options->parse_special = (int32_t)n[6];
    options->far_kv = (int32_t)n[7];
    options->far_heads = (int32_t)n[8];
    options->near_tokens = (uint32_t)n[9];
    options->horizon = (uint64_t)n[10];
    options->checkpoint_bytes = (uint64_t)n[11];
    return 1;
}

/* The sampling of a session, if there is one, which follows in SessionOptions.numbers(); floats in the
 * order of Sampling.numbers(). Freed by free_sampling in any case. */
static int session_sampling(JNIEnv *env, jlongArray numbers, jfloatArray floats, jintArray biased,
                            jobjectArray stop, struct sampling *sampling,
                            attamba_session_options *options)
{
    jsize count, stages, i;
    jlong n[WHOLE], stage;
    jfloat f[FLOATS];
    attamba_sampling *to = &sampling->numbers;

    memset(sampling, 0, sizeof *sampling);
    if (floats == NULL || biased == NULL) {
        return 1;
    }
    count = (*env)->GetArrayLength(env, biased);
    stages = (*env)->GetArrayLength(env, numbers) - (OPTIONS + WHOLE);
    (*env)->GetLongArrayRegion(env, numbers, OPTIONS, WHOLE, n);
    (*env)->GetFloatArrayRegion(env, floats, 0, FLOATS, f);
    if ((*env)->ExceptionCheck(env)) {
        return 0;
    }
    sampling->bias = calloc((size_t)count + 1, sizeof *sampling->bias);
    for (i = 0; sampling->bias != NULL && i < count && !(*env)->ExceptionCheck(env); i++) {
        jint token = 0;
        (*env)->GetIntArrayRegion(env, biased, i, 1, &token);
        if (!(*env)->ExceptionCheck(env)) {
            (*env)->GetFloatArrayRegion(env, floats, FLOATS + i, 1, &sampling->bias[i].bias);
        }
        sampling->bias[i].token = (uint32_t)token;
    }
    for (i = 0; i < stages && i < STAGES && !(*env)->ExceptionCheck(env); i++) {
        (*env)->GetLongArrayRegion(env, numbers, OPTIONS + WHOLE + i, 1, &stage);
        sampling->stages[i] = (int32_t)stage;
    }
    if ((*env)->ExceptionCheck(env) || !texts_from_java(env, stop, &sampling->stop)) {
        return 0;
    }
    to->struct_size = sizeof *to;
    if (failed(env, attamba_sampling_init(to))) {
        return 0;
    }
    to->stop = (const char *const *)sampling->stop.texts;
    to->stop_count = (uint64_t)sampling->stop.count;
    to->seed = (uint64_t)n[0];
    to->repeat_last = (uint32_t)n[1];
    to->top_k = (uint32_t)n[2];
    to->dry_allowed_length = (uint32_t)n[3];
    to->dry_penalty_last_n = (uint32_t)n[4];
    to->repeat_penalty = f[0];
    to->top_p = f[1];
    to->min_p = f[2];
    to->temperature = f[3];
    to->frequency_penalty = f[4];
    to->presence_penalty = f[5];
    to->typical_p = f[6];
    to->xtc_probability = f[7];
    to->xtc_threshold = f[8];
    to->dry_multiplier = f[9];
    to->dry_base = f[10];
    to->stages = sampling->stages;
    to->stage_count = (uint32_t)(stages < STAGES ? stages : STAGES);
    if (sampling->bias != NULL) {
        to->bias = sampling->bias;
        to->bias_count = (uint64_t)count;
    }
    options->sampling = to;
    return !(*env)->ExceptionCheck(env);
}

static jlongArray memory_array(JNIEnv *env, const attamba_memory *memory)
{
    jlong values[] = {(jlong)memory->weights, (jlong)memory->copied, (jlong)memory->state,
                      (jlong)memory->scratch, (jlong)memory->checkpoints,
                      (jlong)memory->device};
    return longs(env, values, sizeof values / sizeof *values);
}

NATIVE(jlongArray, estimate)(JNIEnv *env, jobject self, jbyteArray path, jint engine, jint threads,
                             jlongArray numbers)
{
    struct callback nobody = {env, NULL};
    attamba_model_options model_options = loading(engine, NULL, threads, 0, 0, 0, 0, NULL, &nobody);
    attamba_session_options options;
    attamba_memory memory = {0};
    jlongArray array = NULL;
    char *text = from_java(env, path, NULL);

    (void)self;
    memory.struct_size = sizeof memory;
    if (text != NULL && session_options(env, numbers, &options) &&
        !failed(env, attamba_estimate(text, &model_options, &options, &memory))) {
        array = memory_array(env, &memory);
    }
    free(text);
    return array;
}

NATIVE(jlongArray, estimateFd)(JNIEnv *env, jobject self, jint fd, jlong offset, jlong length,
                               jint engine, jint threads, jlongArray numbers)
{
    struct callback nobody = {env, NULL};
    attamba_model_options model_options = loading(engine, NULL, threads, 0, 0, 0, 0, NULL, &nobody);
    attamba_session_options options;
    attamba_memory memory = {0};

    (void)self;
    memory.struct_size = sizeof memory;
    if (!session_options(env, numbers, &options) ||
        failed(env, attamba_estimate_fd(fd, (uint64_t)offset, (uint64_t)length, &model_options,
                                        &options, &memory))) {
        return NULL;
    }
    return memory_array(env, &memory);
}

NATIVE(jlong, sessionOpen)(JNIEnv *env, jobject self, jlong model, jlongArray numbers,
                           jfloatArray floats, jintArray biased, jobjectArray stop)
{
    attamba_session_options options;
    struct sampling sampling = {0};
    attamba_session *session = NULL;

    (void)self;
    if (session_options(env, numbers, &options) &&
        session_sampling(env, numbers, floats, biased, stop, &sampling, &options)) {
        failed(env, attamba_session_open(model_of(model), &options, &session));
    }
    free_sampling(&sampling);
    return number_of(session);
}

NATIVE(void, sessionSetSampling)(JNIEnv *env, jobject self, jlong session, jlongArray numbers,
                                 jfloatArray floats, jintArray biased, jobjectArray stop)
{
    attamba_session_options options;
    struct sampling sampling = {0};

    (void)self;
    if (session_options(env, numbers, &options) &&
        session_sampling(env, numbers, floats, biased, stop, &sampling, &options)) {
        failed(env, attamba_session_set_sampling(session_of(session), options.sampling));
    }
    free_sampling(&sampling);
}

NATIVE(jlong, sessionLoad)(JNIEnv *env, jobject self, jlong model, jbyteArray path, jlongArray numbers,
                           jfloatArray floats, jintArray biased, jobjectArray stop)
{
    attamba_session_options options;
    struct sampling sampling = {0};
    attamba_session *session = NULL;
    char *text = from_java(env, path, NULL);

    (void)self;
    if (text != NULL && session_options(env, numbers, &options) &&
        session_sampling(env, numbers, floats, biased, stop, &sampling, &options)) {
        failed(env, attamba_session_load(model_of(model), text, &options, &session));
    }
    free_sampling(&sampling);
    free(text);
    return number_of(session);
}

NATIVE(void, sessionClose)(JNIEnv *env, jobject self, jlong session)
{
    (void)self;
    failed(env, attamba_session_close(session_of(session)));
}

NATIVE(void, sessionReset)(JNIEnv *env, jobject self, jlong session)
{
    (void)self;
    failed(env, attamba_session_reset(session_of(session)));
}

NATIVE(void, sessionCancel)(JNIEnv *env, jobject self, jlong session)
{
    (void)self;
    if (attamba_session_cancel(session_of(session)) != ATTAMBA_STATUS_OK) {
        /* That one leaves no message; this one fails for the same reason. */
        failed(env, attamba_session_clear_cancel(session_of(session)));
    }
}

NATIVE(void, sessionClearCancel)(JNIEnv *env, jobject self, jlong session)
{
    (void)self;
    failed(env, attamba_session_clear_cancel(session_of(session)));
}

NATIVE(void, sessionPause)(JNIEnv *env, jobject self, jlong session)
{
    (void)self;
    failed(env, attamba_session_pause(session_of(session)));
}

NATIVE(void, sessionResume)(JNIEnv *env, jobject self, jlong session)
{
    (void)self;
    failed(env, attamba_session_resume(session_of(session)));
}

NATIVE(void, sessionShrink)(JNIEnv *env, jobject self, jlong session, jlong bytes)
{
    (void)self;
    failed(env, attamba_session_shrink(session_of(session), (uint64_t)bytes));
}

NATIVE(void, sessionSave)(JNIEnv *env, jobject self, jlong session, jbyteArray path)
{
    char *text = from_java(env, path, NULL);

    (void)self;
    if (text != NULL) {
        failed(env, attamba_session_save(session_of(session), text));
        free(text);
    }
}

NATIVE(void, sessionInstruct)(JNIEnv *env, jobject self, jlong session, jbyteArray text)
{
    size_t bytes = 0;
    char *utf8 = from_java(env, text, &bytes);

    (void)self;
    if (utf8 != NULL) {
        failed(env, attamba_session_instruct(session_of(session), utf8, bytes));
        free(utf8);
    }
}

/* The messages, which point to the texts; freed by the caller. NULL, with an exception pending, if there
 * is no memory. */
static attamba_message *messages_of(JNIEnv *env, jobjectArray arrays, struct texts *all, size_t *count)
{
    attamba_message *messages;
    size_t i;

    if (!texts_from_java(env, arrays, all)) {
        return NULL;
    }
    *count = (size_t)all->count / 2;
    messages = calloc(*count + 1, sizeof *messages);
    for (i = 0; messages != NULL && i < *count; i++) {
        messages[i].struct_size = sizeof *messages;
        messages[i].role = all->texts[2 * i];
        messages[i].text = all->texts[2 * i + 1];
        messages[i].bytes = all->bytes[2 * i + 1];
    }
    return messages;
}

NATIVE(void, sessionBegin)(JNIEnv *env, jobject self, jlong session, jobjectArray arrays)
{
    struct texts texts;
    size_t count = 0;
    attamba_message *messages = messages_of(env, arrays, &texts, &count);

    (void)self;
    if (messages != NULL) {
        failed(env, attamba_session_begin(session_of(session), messages, count));
        free(messages);
    }
    free_texts(&texts);
}

NATIVE(jlong, sessionCount)(JNIEnv *env, jobject self, jlong session, jobjectArray arrays)
{
    struct texts texts;
    size_t count = 0;
    uint64_t tokens = 0;
    attamba_message *messages = messages_of(env, arrays, &texts, &count);

    (void)self;
    if (messages != NULL) {
        failed(env, attamba_session_count(session_of(session), messages, count, &tokens));
        free(messages);
    }
    free_texts(&texts);
    return (jlong)tokens;
}

NATIVE(void, sessionBeginJson)(JNIEnv *env, jobject self, jlong session, jbyteArray messages)
{
    size_t bytes = 0;
    char *json = from_java(env, messages, &bytes);

    (void)self;
    if (json != NULL) {
        failed(env, attamba_session_begin_json(session_of(session), json, bytes));
        free(json);
    }
}

NATIVE(void, sessionSetVariables)(JNIEnv *env, jobject self, jlong session, jbyteArray variables)
{
    size_t bytes = 0;
    char *json = from_java(env, variables, &bytes);

    (void)self;
    if (json != NULL) {
        failed(env, attamba_session_set_variables(session_of(session), json, bytes));
        free(json);
    }
}

NATIVE(jint, sessionChatJson)(JNIEnv *env, jobject self, jlong session, jbyteArray messages, jint most,
                              jobject each)
{
    struct generating generating = {{env, each}, {env, NULL}};
    attamba_finish finish = ATTAMBA_FINISH_ENDED;
    size_t bytes = 0;
    char *json = from_java(env, messages, &bytes);

    (void)self;
    if (json != NULL) {
        failed(env, attamba_session_chat_json(session_of(session), json, bytes, (uint32_t)most,
                                              hand_text, &generating, &finish));
        free(json);
    }
    return finish;
}

NATIVE(jint, sessionRun)(JNIEnv *env, jobject self, jlong session, jbyteArray message, jint most,
                         jobject each, jint top, jobject tokens)
{
    struct generating generating = {{env, each}, {env, tokens}};
    attamba_run run = {0};
    attamba_finish finish = ATTAMBA_FINISH_ENDED;
    size_t bytes = 0;
    char *utf8 = message == NULL ? NULL : from_java(env, message, &bytes);

    (void)self;
    run.struct_size = sizeof run;
    run.most = (uint32_t)most;
    run.message = utf8;
    run.bytes = bytes;
    run.each = hand_text;
    run.token = tokens == NULL ? NULL : hand_token;
    run.user = &generating;
    run.top = (uint32_t)top;
    if (!(*env)->ExceptionCheck(env)) {
        failed(env, attamba_session_run(session_of(session), &run, &finish));
    }
    free(utf8);
    return finish;
}

NATIVE(jboolean, sessionUndo)(JNIEnv *env, jobject self, jlong session)
{
    int32_t undone = 0;

    (void)self;
    failed(env, attamba_session_undo(session_of(session), &undone));
    return undone != 0;
}

NATIVE(void, sessionMessages)(JNIEnv *env, jobject self, jlong session, jobject each)
{
    struct callback callback = {env, each};

    (void)self;
    failed(env, attamba_session_messages(session_of(session), hand_message, &callback));
}

NATIVE(void, sessionFeed)(JNIEnv *env, jobject self, jlong session, jbyteArray text, jboolean special)
{
    size_t bytes = 0;
    char *utf8 = from_java(env, text, &bytes);

    (void)self;
    if (utf8 != NULL) {
        failed(env, attamba_session_feed_text(session_of(session), utf8, bytes, special));
        free(utf8);
    }
}

NATIVE(void, sessionFeedTokens)(JNIEnv *env, jobject self, jlong session, jintArray tokens)
{
    jsize count = (*env)->GetArrayLength(env, tokens);
    jint *values = (*env)->GetIntArrayElements(env, tokens, NULL);

    (void)self;
    if (values != NULL) {
        int32_t status = attamba_session_feed_tokens(session_of(session), (const uint32_t *)values,
                                                     (size_t)count);
        (*env)->ReleaseIntArrayElements(env, tokens, values, JNI_ABORT);
        failed(env, status);
    }
}

NATIVE(jlong, sessionFork)(JNIEnv *env, jobject self, jlong session)
{
    attamba_session *fork = NULL;

    (void)self;
    failed(env, attamba_session_fork(session_of(session), &fork));
    return number_of(fork);
}

NATIVE(jlong, sessionSnapshot)(JNIEnv *env, jobject self, jlong session)
{
    attamba_snapshot *snapshot = NULL;

    (void)self;
    failed(env, attamba_session_snapshot(session_of(session), &snapshot));
    return number_of(snapshot);
}

NATIVE(void, sessionRewind)(JNIEnv *env, jobject self, jlong session, jlong snapshot)
{
    (void)self;
    failed(env, attamba_session_rewind(session_of(session), snapshot_of(snapshot)));
}

NATIVE(jlongArray, sessionInfo)(JNIEnv *env, jobject self, jlong session)
{
    attamba_session_info info = {0};

    (void)self;
    info.struct_size = sizeof info;
    if (failed(env, attamba_session_get_info(session_of(session), &info))) {
        return NULL;
    }
    jlong values[] = {(jlong)info.position,      (jlong)info.states,
                      (jlong)info.states_room,   (jlong)info.messages,
                      (jlong)info.prompt_tokens, (jlong)info.answer_tokens,
                      (jlong)info.seed};
    return longs(env, values, sizeof values / sizeof *values);
}

NATIVE(jdoubleArray, sessionTimes)(JNIEnv *env, jobject self, jlong session)
{
    attamba_session_info info = {0};
    jdoubleArray array;

    (void)self;
    info.struct_size = sizeof info;
    if (failed(env, attamba_session_get_info(session_of(session), &info))) {
        return NULL;
    }
    jdouble values[] = {info.prompt_seconds, info.answer_seconds};
    array = (*env)->NewDoubleArray(env, 2);
    if (array != NULL) {
        (*env)->SetDoubleArrayRegion(env, array, 0, 2, values);
    }
    return array;
}

NATIVE(jlongArray, sessionMemory)(JNIEnv *env, jobject self, jlong session)
{
    attamba_memory memory = {0};

    (void)self;
    memory.struct_size = sizeof memory;
    if (failed(env, attamba_session_get_memory(session_of(session), &memory))) {
        return NULL;
    }
    return memory_array(env, &memory);
}

NATIVE(jbyteArray, sessionReach)(JNIEnv *env, jobject self, jlong session)
{
    char text[512];

    (void)self;
    if (failed(env, attamba_session_reach(session_of(session), text, sizeof text, NULL))) {
        return NULL;
    }
    return to_java(env, text, strlen(text));
}

NATIVE(jfloatArray, sessionLogits)(JNIEnv *env, jobject self, jlong session)
{
    size_t count = 0;
    float *logits;
    jfloatArray array = NULL;

    (void)self;
    if (failed(env, attamba_session_logits(session_of(session), NULL, 0, &count))) {
        return NULL;
    }
    logits = calloc(count + 1, sizeof *logits);
    if (logits != NULL &&
        !failed(env, attamba_session_logits(session_of(session), logits, count, NULL))) {
        array = (*env)->NewFloatArray(env, (jsize)count);
        if (array != NULL) {
            (*env)->SetFloatArrayRegion(env, array, 0, (jsize)count, logits);
        }
    }
    free(logits);
    return array;
}

NATIVE(jlong, snapshotBytes)(JNIEnv *env, jobject self, jlong snapshot)
{
    uint64_t bytes = 0;

    (void)self;
    failed(env, attamba_snapshot_bytes(snapshot_of(snapshot), &bytes));
    return (jlong)bytes;
}

NATIVE(void, snapshotClose)(JNIEnv *env, jobject self, jlong snapshot)
{
    (void)self;
    failed(env, attamba_snapshot_close(snapshot_of(snapshot)));
}
