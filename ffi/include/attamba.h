/*
 * attamba: on-device inference for Attamba language models, from C and C++.
 *
 * Generated from the Rust sources by cbindgen: change those, not this file.
 *
 * Status. Functions return an attamba_status: 0, or the reason why the call failed. The message that
 * goes with it, including the relevant numbers, is returned by attamba_error_message.
 *
 * Handles. attamba_model, attamba_session and attamba_snapshot are closed by the caller, in any order.
 * NULL, a closed handle and one of another kind are ATTAMBA_STATUS_CLOSED everywhere; a handle is
 * never given out twice. Handles are not addresses: don't dereference them.
 *
 * Threads. Each function says who may call it. "Any thread" means at any time, concurrently. "One
 * thread at a time" means that a second concurrent call is refused with ATTAMBA_STATUS_BUSY and
 * changes nothing: from another thread, or from a callback of the first. Sessions of one model may be
 * used concurrently; they share its threads.
 *
 * Structs. Every struct begins with struct_size, set by the caller to sizeof the struct, so that
 * libraries and programs of different versions are compatible. The rest is zeroed:
 *
 *     attamba_session_options options = ATTAMBA_INIT(attamba_session_options);
 *
 * Enumerations in structs and parameters are int32_t, so that their size is the same everywhere.
 *
 * Text is UTF-8 with its length in bytes. Text returned by the library never ends within a character,
 * and that of callbacks is also followed by a zero byte. Paths are zero-terminated.
 *
 * Bugs. Nothing that a caller or a file does makes the library abort. A bug in the library is reported
 * as ATTAMBA_STATUS_INTERNAL, and the handle can then only be closed.
 */


#ifndef ATTAMBA_H
#define ATTAMBA_H

#include <stddef.h>
#include <stdint.h>

// Initializes a struct: its size, and the rest with zeros.
#ifdef __cplusplus
#define ATTAMBA_INIT(type) [] { type value = type(); value.struct_size = sizeof(type); return value; }()
#else
#define ATTAMBA_INIT(type) {.struct_size = sizeof(type)}
#endif

// Incremented whenever a program that was compiled with the previous header would no longer work.
#define ATTAMBA_ABI_VERSION 1

// A seed of attamba_sampling: another one for each session.
#define ATTAMBA_SEED_RANDOM UINT64_MAX

// The result of a call.
enum attamba_status
#if defined(__cplusplus) || defined(__swift__) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Success.
    ATTAMBA_STATUS_OK = 0,
    // An argument is invalid: a null pointer, a number out of range, text that is not UTF-8, an
    // impossible struct_size. Nothing was done.
    ATTAMBA_STATUS_ARGUMENT = 1,
    // The handle is null, closed, or of another kind. Nothing was done.
    ATTAMBA_STATUS_CLOSED = 2,
    // Another call is in progress on the session, or this one was made from its callback. Nothing
    // was done.
    ATTAMBA_STATUS_BUSY = 3,
    // The session is in the wrong state for this call, such as a chat that is fed raw text.
    // Nothing was done.
    ATTAMBA_STATUS_STATE = 4,
    // The system refused to open, read or write a file.
    ATTAMBA_STATUS_IO = 5,
    // The file is not a GGUF file, contradicts itself, or produces logits from which no token can
    // be chosen.
    ATTAMBA_STATUS_FILE = 6,
    // The file, or the option, requires something that this build does not support.
    ATTAMBA_STATUS_UNSUPPORTED = 7,
    // The tokenizer or the chat template of the file failed.
    ATTAMBA_STATUS_TEXT = 8,
    // The smallest session of this model is larger than the budget; the message says by how much.
    ATTAMBA_STATUS_BUDGET = 9,
    // The file is not a saved session, is damaged, or is of another model.
    ATTAMBA_STATUS_SAVED = 10,
    // The system has no more memory.
    ATTAMBA_STATUS_MEMORY = 11,
    // Cancelled from another thread, or by the callback.
    ATTAMBA_STATUS_CANCELLED = 12,
    // The session is paused, and this call does not wait.
    ATTAMBA_STATUS_PAUSED = 13,
    // There is no usable GPU, or it failed, or it is gone. A session whose call failed in this way
    // needs attamba_session_reset, or a new session, to be usable again. After the loss of the GPU
    // that session runs on the CPU if the model was opened with ATTAMBA_ENGINE_AUTO, and a chat
    // continues there automatically; otherwise the model must be opened again.
    ATTAMBA_STATUS_DEVICE = 14,
    // A bug in the library. The handle is unusable from now on: close it.
    ATTAMBA_STATUS_INTERNAL = 15,
};
#ifndef __cplusplus
#if defined(__swift__) || __STDC_VERSION__ >= 202311L
typedef enum attamba_status attamba_status;
#else
typedef int32_t attamba_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Why a text ended.
enum attamba_finish
#if defined(__cplusplus) || defined(__swift__) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // The model ended it.
    ATTAMBA_FINISH_ENDED = 0,
    // The token limit was reached.
    ATTAMBA_FINISH_LIMIT = 1,
    // The callback stopped it.
    ATTAMBA_FINISH_STOPPED = 2,
    // attamba_session_cancel, after the text had begun. What has been generated so far counts.
    ATTAMBA_FINISH_CANCELLED = 3,
    // attamba_session_cancel, before the answer of a chat began: the message does not count.
    ATTAMBA_FINISH_DROPPED = 4,
    // A text of attamba_sampling.stop, which is not part of what was generated.
    ATTAMBA_FINISH_STOP_TEXT = 5,
};
#ifndef __cplusplus
#if defined(__swift__) || __STDC_VERSION__ >= 202311L
typedef enum attamba_finish attamba_finish;
#else
typedef int32_t attamba_finish;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Which engine to use.
enum attamba_engine
#if defined(__cplusplus) || defined(__swift__) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // For a model: a GPU if there is one that computes correctly, else the CPU, which also takes
    // over if the GPU is lost. For a session: that of the model.
    ATTAMBA_ENGINE_AUTO = 0,
    // The CPU.
    ATTAMBA_ENGINE_CPU = 1,
    // A GPU. ATTAMBA_STATUS_DEVICE if there is no usable one.
    ATTAMBA_ENGINE_GPU = 2,
};
#ifndef __cplusplus
#if defined(__swift__) || __STDC_VERSION__ >= 202311L
typedef enum attamba_engine attamba_engine;
#else
typedef int32_t attamba_engine;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How activations are rounded before they are multiplied with quantized weights.
enum attamba_activations
#if defined(__cplusplus) || defined(__swift__) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // 14 bits: the logits are those of the weights in the file.
    ATTAMBA_ACTIVATIONS_INT14 = 0,
    // 8 bits: faster, above all in prefill, with logits that are less exact. On a GPU with matrix units:
    // half precision in prefill.
    ATTAMBA_ACTIVATIONS_INT8 = 1,
};
#ifndef __cplusplus
#if defined(__swift__) || __STDC_VERSION__ >= 202311L
typedef enum attamba_activations attamba_activations;
#else
typedef int32_t attamba_activations;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// The unit of attamba_session_options.budget.
enum attamba_budget
#if defined(__cplusplus) || defined(__swift__) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // No budget: the session remembers as much as the model was trained with.
    ATTAMBA_BUDGET_CONTEXT = 0,
    // Chunk states per layer.
    ATTAMBA_BUDGET_STATES = 1,
    // Tokens.
    ATTAMBA_BUDGET_TOKENS = 2,
    // Bytes of the session's state.
    ATTAMBA_BUDGET_BYTES = 3,
};
#ifndef __cplusplus
#if defined(__swift__) || __STDC_VERSION__ >= 202311L
typedef enum attamba_budget attamba_budget;
#else
typedef int32_t attamba_budget;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How keys and values are stored.
enum attamba_kv
#if defined(__cplusplus) || defined(__swift__) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Half precision, or fewer bits where only these fit a budget in bytes and some KV heads are to
    // see far.
    ATTAMBA_KV_DEFAULT = 0,
    // Single precision, 4 bytes per value.
    ATTAMBA_KV_F32 = 1,
    // Chunk states as 8-bit integers with a scale per head; the latest tokens in half precision.
    ATTAMBA_KV_I8 = 2,
    // Half precision, 2 bytes per value.
    ATTAMBA_KV_F16 = 3,
    // Chunk states as 4-bit integers, rotated within heads of 32, 64, 128 or 256 values, with a
    // scale for every 32; the latest tokens in half precision.
    ATTAMBA_KV_I4 = 4,
};
#ifndef __cplusplus
#if defined(__swift__) || __STDC_VERSION__ >= 202311L
typedef enum attamba_kv attamba_kv;
#else
typedef int32_t attamba_kv;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// The eviction policy: what goes when a session's memory is full.
enum attamba_policy
#if defined(__cplusplus) || defined(__swift__) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // The oldest chunk state except the very first.
    ATTAMBA_POLICY_DROP = 0,
    // Every second chunk state of the older half: the distant past becomes coarser before it is
    // dropped.
    ATTAMBA_POLICY_THIN = 1,
    // What the model's retention gates score lowest, head by head: for transformers whose file has such
    // gates.
    ATTAMBA_POLICY_RETAIN = 2,
};
#ifndef __cplusplus
#if defined(__swift__) || __STDC_VERSION__ >= 202311L
typedef enum attamba_policy attamba_policy;
#else
typedef int32_t attamba_policy;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// A stage of the sampler chain.
enum attamba_stage
#if defined(__cplusplus) || defined(__swift__) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Repetition, frequency and presence penalty.
    ATTAMBA_STAGE_PENALTIES = 0,
    // DRY.
    ATTAMBA_STAGE_DRY = 1,
    // Top-k.
    ATTAMBA_STAGE_TOP_K = 2,
    // Typical-p.
    ATTAMBA_STAGE_TYPICAL_P = 3,
    // Top-p.
    ATTAMBA_STAGE_TOP_P = 4,
    // Min-p.
    ATTAMBA_STAGE_MIN_P = 5,
    // XTC.
    ATTAMBA_STAGE_XTC = 6,
    // The temperature.
    ATTAMBA_STAGE_TEMPERATURE = 7,
};
#ifndef __cplusplus
#if defined(__swift__) || __STDC_VERSION__ >= 202311L
typedef enum attamba_stage attamba_stage;
#else
typedef int32_t attamba_stage;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Log levels.
enum attamba_log_level
#if defined(__cplusplus) || defined(__swift__) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Nothing.
    ATTAMBA_LOG_LEVEL_OFF = 0,
    // Failures that no call can report.
    ATTAMBA_LOG_LEVEL_ERROR = 1,
    // Unexpected, but works.
    ATTAMBA_LOG_LEVEL_WARN = 2,
    // What was chosen.
    ATTAMBA_LOG_LEVEL_INFO = 3,
    // Details that help to find a bug.
    ATTAMBA_LOG_LEVEL_DEBUG = 4,
    // Everything.
    ATTAMBA_LOG_LEVEL_TRACE = 5,
};
#ifndef __cplusplus
#if defined(__swift__) || __STDC_VERSION__ >= 202311L
typedef enum attamba_log_level attamba_log_level;
#else
typedef int32_t attamba_log_level;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How the hidden states of a text become one vector.
enum attamba_pooling
#if defined(__cplusplus) || defined(__swift__) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // As the model's file says; their mean if it says nothing.
    ATTAMBA_POOLING_DEFAULT = 0,
    // Their mean.
    ATTAMBA_POOLING_MEAN = 1,
    // That of the last token.
    ATTAMBA_POOLING_LAST = 2,
};
#ifndef __cplusplus
#if defined(__swift__) || __STDC_VERSION__ >= 202311L
typedef enum attamba_pooling attamba_pooling;
#else
typedef int32_t attamba_pooling;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// A part of loading a model that takes time in proportion to bytes.
enum attamba_loading_part
#if defined(__cplusplus) || defined(__swift__) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Reading the file, with `in_memory` or `preload`.
    ATTAMBA_LOADING_PART_READ = 0,
    // Uploading weights to a GPU.
    ATTAMBA_LOADING_PART_UPLOAD = 1,
};
#ifndef __cplusplus
#if defined(__swift__) || __STDC_VERSION__ >= 202311L
typedef enum attamba_loading_part attamba_loading_part;
#else
typedef int32_t attamba_loading_part;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// An open model file, with its tokenizer and its engines.
typedef struct attamba_model attamba_model;

// One conversation, or one text, on a model.
typedef struct attamba_session attamba_session;

// A session at some point in time.
typedef struct attamba_snapshot attamba_snapshot;

// Receives one message of a level: `bytes` bytes of UTF-8, followed by a zero byte, valid until the
// function returns. It may be called on any thread, on several at once, and must not call the
// library.
typedef void (*attamba_log_fn)(void *user, int32_t level, const char *text, size_t bytes);

// A value added to the logit of a token; minus infinity forbids it.
typedef struct attamba_bias {
    // The token.
    uint32_t token;
    // What is added.
    float bias;
} attamba_bias;

// How tokens are chosen. attamba_sampling_init or attamba_sampling_init_chat sets the defaults;
// every field is used as it is. Fields beyond `struct_size` are off.
//
// The stages run in the order of attamba_stage, which is that of llama.cpp, or in the order of
// `stages`.
typedef struct attamba_sampling {
    // sizeof(attamba_sampling).
    uint32_t struct_size;
    // Number of recent tokens that the three penalties consider; 0 turns them off.
    uint32_t repeat_last;
    // Seed of the draws; the same seed gives the same draws in every version. ATTAMBA_SEED_RANDOM,
    // the default, is another one for each session: attamba_session_get_info tells which.
    uint64_t seed;
    // Divides logits of recent tokens that are positive, multiplies those that are not; 1 is off.
    float repeat_penalty;
    // Keeps only this many most likely tokens; 0 keeps all.
    uint32_t top_k;
    // Keeps only the most likely tokens that together have this probability; 1 keeps all.
    float top_p;
    // Keeps only tokens at least this many times as likely as the most likely one; 0 keeps all.
    float min_p;
    // Divides logits before the draw; 0 takes the most likely token.
    float temperature;
    // 0.
    uint32_t reserved;
    // Added to logits before anything else; read when the struct is passed. NULL for none.
    const struct attamba_bias *bias;
    // Number of entries in `bias`.
    uint64_t bias_count;
    // Subtracted from the logit of a recent token for each of its occurrences; 0 is off.
    float frequency_penalty;
    // Subtracted from the logit of a recent token; 0 is off.
    float presence_penalty;
    // Keeps only the most typical tokens that together have this probability; 1 keeps all.
    float typical_p;
    // The probability that XTC acts on a token; 0 is off.
    float xtc_probability;
    // Of the tokens of at least this probability XTC keeps only the least likely; above 0.5 it is
    // off.
    float xtc_threshold;
    // DRY: a token that would extend a repetition of n tokens loses
    // `dry_multiplier * dry_base ^ (n - dry_allowed_length)` of its logit; 0 is off.
    float dry_multiplier;
    // At least 1.
    float dry_base;
    // Shorter repetitions are ignored.
    uint32_t dry_allowed_length;
    // Number of recent tokens in which DRY looks for repetitions; 0 turns it off.
    uint32_t dry_penalty_last_n;
    // Number of entries in `stages`.
    uint32_t stage_count;
    // Stages, each an attamba_stage, in the order in which they run; read when the struct is
    // passed. NULL for all of them in the order of their numbers.
    const int32_t *stages;
    // Texts that no repetition extends across, UTF-8, zero-terminated; read when the struct is
    // passed. NULL for line feed, colon, quote and asterisk. Special tokens always count as such.
    const char *const *dry_breakers;
    // Number of entries; 0 with a non-NULL pointer for none.
    uint64_t dry_breaker_count;
    // Texts that end what is generated, UTF-8, zero-terminated; read when the struct is passed.
    // They are neither passed to the callback nor part of an answer's message; what could be the
    // beginning of one waits for the next token. NULL for none.
    const char *const *stop;
    // Number of entries in `stop`.
    uint64_t stop_count;
} attamba_sampling;

// Called while a model is loaded, on the thread that loads it, with the fraction that is done, 0
// to 1. Returns 0 to cancel, anything else to continue.
typedef int32_t (*attamba_progress_fn)(void *user, float done);

// How far a part of loading is.
typedef struct attamba_loading {
    // sizeof(attamba_loading) of the library. A function that was compiled with another header
    // reads no more than this.
    uint32_t struct_size;
    // An attamba_loading_part.
    int32_t part;
    // Bytes that are done.
    uint64_t done;
    // Bytes in all.
    uint64_t all;
} attamba_loading;

// Called while a model is loaded, on the thread that loads it, after every few megabytes; the struct
// is valid until the function returns. Returns 0 to cancel, anything else to continue.
typedef int32_t (*attamba_loading_fn)(void *user, const struct attamba_loading *loading);

// How to open a model. Zeros are the defaults; NULL in place of the struct means the same.
typedef struct attamba_model_options {
    // sizeof(attamba_model_options).
    uint32_t struct_size;
    // An attamba_engine.
    int32_t engine;
    // Threads of the CPU engine; 0 uses the performance cores, on phones at most 4.
    uint32_t threads;
    // Not 0: read the whole file now, so that the first answer need not wait for the disk.
    int32_t preload;
    // Receives the loading progress; may be NULL.
    attamba_progress_fn progress;
    // Passed to `progress` and to `loading`.
    void *progress_user;
    // Part of the name of the GPU to use, case-insensitive, zero-terminated; NULL for the fastest.
    // A software driver is used only if it is named, or if ATTAMBA_ENGINE_GPU is requested and
    // there is nothing else.
    const char *adapter;
    // Not 0: read the file into memory instead of mapping it, so that it may change while the model
    // is open. The system cannot reclaim that memory.
    int32_t in_memory;
    // Not 0: sessions of the CPU engine that generate on several threads at the same time decode
    // together, so that the weights are read once for all of them. Each may wait for others for up
    // to a quarter of the time of a token.
    int32_t batching;
    // A folder for compiled kernels of Vulkan GPUs, zero-terminated, created if needed, such as one
    // in the application's cache folder: later starts take less time. NULL keeps them nowhere.
    const char *cache;
    // Receives the progress of each part in bytes; may be NULL.
    attamba_loading_fn loading;
    // An attamba_activations.
    int32_t activations;
    // Zero.
    int32_t reserved;
} attamba_model_options;

// Dimensions of a model.
typedef struct attamba_model_info {
    // sizeof(attamba_model_info).
    uint32_t struct_size;
    // Tokens in the vocabulary: the length of a row of logits.
    uint32_t vocab;
    // Layers.
    uint32_t layers;
    // Context length in tokens that the model was trained with.
    uint32_t context;
    // Tokens per chunk, which become one state; 1 for a transformer.
    uint32_t chunk;
    // Latest tokens that are kept individually, in addition to the chunk states.
    uint32_t window;
    // Bytes of the file.
    uint64_t file_bytes;
    // Width of the residual stream: the length of an embedding.
    uint32_t width;
    // 1 if the file has a chat template that can be used. Without one a chat is written as plain
    // text, or with the role tokens that the vocabulary has.
    int32_t has_template;
    // 1 if that template mentions tools.
    int32_t has_tools;
    // 1 if the model was made for embeddings.
    int32_t embeds;
} attamba_model_info;

// How to open a session. Zeros are the defaults; NULL in place of the struct means the same.
typedef struct attamba_session_options {
    // sizeof(attamba_session_options).
    uint32_t struct_size;
    // An attamba_engine.
    int32_t engine;
    // An attamba_budget: the unit of `budget`.
    int32_t budget_kind;
    // An attamba_kv.
    int32_t kv;
    // How much the session may remember. It determines the session's memory, which is known in
    // advance.
    uint64_t budget;
    // An attamba_policy.
    int32_t policy;
    // Tokens per chunk; 0 for what the model was trained with. Other lengths work, but worse.
    uint32_t chunk;
    // How tokens are chosen; NULL for the defaults: those of attamba_sampling_init for raw text
    // and of attamba_sampling_init_chat in a chat, except for what the model's file recommends
    // (its keys general.sampling.*, as in llama.cpp).
    const struct attamba_sampling *sampling;
    // Not 0: messages of a chat that spell special tokens, such as `<|im_end|>`, become these
    // tokens. For messages that the application writes itself. With 0 they are ordinary text.
    int32_t parse_special;
    // An attamba_kv: how keys and values of heads that see far are stored.
    int32_t far_kv;
    // How many KV heads see far, the first ones of the model's profile. 0: with a budget in bytes,
    // as many as are worth it; for other budgets those of a model with mixers, which was trained
    // with them, else none. Negative: none.
    int32_t far_heads;
    // Tokens that the other heads see at least; 0 for what the profile says.
    uint32_t near_tokens;
    // Tokens that heads see if they see far; 0 for the training context.
    uint64_t horizon;
    // The most bytes of the snapshots that a chat keeps in order to go back; 0 for 32 MiB. With fewer
    // than one takes it keeps none, and undoing a message processes the chat again.
    uint64_t checkpoint_bytes;
} attamba_session_options;

// State of a session, and the speed of its last answer.
typedef struct attamba_session_info {
    // sizeof(attamba_session_info).
    uint32_t struct_size;
    // 1 while paused.
    int32_t paused;
    // Tokens processed since the start.
    uint64_t position;
    // Chunk states in the memory of the fullest layer.
    uint64_t states;
    // Capacity in chunk states; once it is reached, the eviction policy decides which ones go.
    uint64_t states_room;
    // Messages of the chat, including the instruction; 0 for raw text.
    uint64_t messages;
    // Tokens of the last message as it was fed, including what the template puts around it.
    uint64_t prompt_tokens;
    // Seconds that they took.
    double prompt_seconds;
    // Tokens of the last answer.
    uint64_t answer_tokens;
    // Seconds that they took.
    double answer_seconds;
    // Seed of the draws.
    uint64_t seed;
} attamba_session_info;

// A message of a chat.
typedef struct attamba_message {
    // sizeof(attamba_message); the same for all of an array.
    uint32_t struct_size;
    // 0.
    uint32_t reserved;
    // Who speaks: `system`, `user`, `assistant`, or any other role that the template knows;
    // zero-terminated.
    const char *role;
    // UTF-8.
    const char *text;
    // Bytes of `text`.
    uint64_t bytes;
} attamba_message;

// Receives text as it is generated: `bytes` bytes of UTF-8 at `text`, whole characters only,
// followed by a zero byte. They belong to the library and are valid until the function returns.
// Returns 0 to stop, anything else to continue.
//
// It is called on the thread of the call that generates the text, which is still in progress: of
// the session's functions only cancel, pause, resume, shrink, close and the message of the last
// error may be called from it, and it must not throw or longjmp.
typedef int32_t (*attamba_text_fn)(void *user, const char *text, size_t bytes);

// Receives one message of a chat: UTF-8 with the lengths in bytes, followed by zero bytes, valid
// until the function returns. Returns 0 to stop. It must not call functions of the session.
typedef int32_t (*attamba_message_fn)(void *user,
                                      const char *role,
                                      size_t role_bytes,
                                      const char *text,
                                      size_t text_bytes);

// A token and its log probability.
typedef struct attamba_likely {
    // The token.
    uint32_t token;
    // The natural logarithm of its probability, before any stage of the sampler.
    float logprob;
} attamba_likely;

// A token that was generated.
typedef struct attamba_token {
    // sizeof(attamba_token) of the library. A function that was compiled with another header reads
    // no more than this.
    uint32_t struct_size;
    // Number of entries in `top`.
    uint32_t count;
    // The token.
    struct attamba_likely chosen;
    // The most likely ones, most likely first.
    const struct attamba_likely *top;
} attamba_token;

// Receives a token once the session has processed it, before its text, which may wait for that of
// later tokens. The rules are those of attamba_text_fn.
typedef void (*attamba_token_fn)(void *user, const struct attamba_token *token);

// What attamba_session_run generates, and who gets it.
typedef struct attamba_run {
    // sizeof(attamba_run).
    uint32_t struct_size;
    // The most tokens.
    uint32_t most;
    // A message to answer in a chat, UTF-8; NULL to continue raw text.
    const char *message;
    // Bytes of `message`.
    uint64_t bytes;
    // Receives the text; may be NULL.
    attamba_text_fn each;
    // Receives the tokens; may be NULL.
    attamba_token_fn token;
    // Passed to both.
    void *user;
    // How many of the most likely tokens `token` gets.
    uint32_t top;
    // 0.
    uint32_t reserved;
} attamba_run;

// Bytes that a model and a session take.
typedef struct attamba_memory {
    // sizeof(attamba_memory).
    uint32_t struct_size;
    // 0.
    uint32_t reserved;
    // The weights as stored in the file. With the CPU engine they are pages of the file: shared by
    // all sessions, and reclaimable by the system, without harm, when memory is short.
    uint64_t weights;
    // Weights that the engine keeps in addition to the file; shared by all sessions.
    uint64_t copied;
    // The session's state: its memory of the text.
    uint64_t state;
    // The session's scratch buffers.
    uint64_t scratch;
    // Snapshots that a chat keeps in order to go back; in an estimate the maximum that they can
    // take, never more than `checkpoint_bytes`.
    uint64_t checkpoints;
    // Weights on the GPU, shared by all sessions; 0 with the CPU engine. Pages of the file are
    // released once they are uploaded, except those of the embedding.
    uint64_t device;
} attamba_memory;

// A device that an engine runs on.
typedef struct attamba_adapter {
    // sizeof(attamba_adapter) of the library. A function that was compiled with another header
    // reads no more than this.
    uint32_t struct_size;
    // The attamba_engine that runs on it.
    int32_t engine;
    // Its name, zero-terminated, valid until the function returns.
    const char *name;
    // Bytes of memory that it computes in: its own, or of the host's, where it shares that, as much
    // as it may use. 0 if its driver, or for the CPU the system, does not tell.
    uint64_t memory;
} attamba_adapter;

// Receives one adapter, valid until the function returns. Returns 0 to stop.
typedef int32_t (*attamba_adapter_fn)(void *user, const struct attamba_adapter *adapter);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The message of the last call that failed: on `handle`, a model, session or snapshot, or with
// NULL on this thread, whatever the handle. Empty if none has failed. A call that succeeds does
// not change the message.
//
// Writes at most `capacity` bytes to `buffer`, including the terminating zero byte, and truncates
// between characters. `*length`, unless `length` is NULL, gets the length of the whole message in
// bytes without the zero byte: with `capacity` 0 (and `buffer` NULL) the call only queries it.
//
// Any thread, at any time, even while a call is in progress.
attamba_status attamba_error_message(const void *handle,
                                     char *buffer,
                                     size_t capacity,
                                     size_t *length);

// The ABI_VERSION that the library was built with. A program should continue only if it equals
// that of its header.
//
// Any thread.
uint32_t attamba_abi_version(void);

// The version of the library, such as `0.1.0`, zero-terminated; never freed.
//
// Any thread.
const char *attamba_version(void);

// Sends log messages up to a level to `log`, or nowhere if it is NULL or the level is
// ATTAMBA_LOG_LEVEL_OFF, which is the initial setting. It applies to the whole process; a call in
// progress may still use the function that was set before.
//
// Any thread. ATTAMBA_STATUS_ARGUMENT if there is no such level.
attamba_status attamba_log_set(int32_t level, attamba_log_fn log, void *user);

// Fills the fields of `sampling` except `struct_size`, which the caller has set, with the defaults
// for raw text: temperature 0.8, the 40 most likely, top-p 0.95, min-p 0.05, no penalties, a random seed.
//
// Any thread.
attamba_status attamba_sampling_init(struct attamba_sampling *sampling);

// The same with the defaults for a chat: those of attamba_sampling_init plus DRY with multiplier
// 0.8, and a repetition penalty of 1.05, without which small models often end up in a loop.
//
// Any thread.
attamba_status attamba_sampling_init_chat(struct attamba_sampling *sampling);

// Opens the model file at `path`, which is zero-terminated. Unless the options set `in_memory`,
// the file is mapped, not copied: while the model or a session of it is open, nobody may write to
// the file or truncate it, neither this process nor another. Otherwise the behavior is undefined;
// at best the system terminates the process. The file may be deleted, and another put in its
// place.
//
// `*model` gets the handle, to be closed with attamba_model_close, or NULL on an error.
//
// Any thread. ATTAMBA_STATUS_IO, ATTAMBA_STATUS_FILE or ATTAMBA_STATUS_UNSUPPORTED if the file
// can't be read, is invalid, or requires what this runtime does not support;
// ATTAMBA_STATUS_CANCELLED if the progress function cancels. The message is that of the thread.
attamba_status attamba_model_open(const char *path,
                                  const struct attamba_model_options *options,
                                  struct attamba_model **model);

// Like attamba_model_open, for `length` bytes starting at byte `offset` of an open file: a model
// inside another file, such as an asset of an Android application, or a document received as a
// descriptor. `length` 0 means everything up to the end. Any `offset` is allowed.
//
// The descriptor still belongs to the caller, who may close it once the call has returned.
//
// Not on Windows: ATTAMBA_STATUS_UNSUPPORTED.
attamba_status attamba_model_open_fd(int32_t fd,
                                     uint64_t offset,
                                     uint64_t length,
                                     const struct attamba_model_options *options,
                                     struct attamba_model **model);

// Closes a model. Its sessions and snapshots stay usable; the memory is freed with the last of
// them.
//
// Any thread. A call in progress on the model completes as if it were open.
attamba_status attamba_model_close(struct attamba_model *model);

// Fills `info`, whose `struct_size` the caller has set.
//
// Any thread.
attamba_status attamba_model_get_info(const struct attamba_model *model,
                                      struct attamba_model_info *info);

// The model's name as given in its file. `buffer`, `capacity` and `length` as in
// attamba_error_message.
//
// Any thread.
attamba_status attamba_model_name(const struct attamba_model *model,
                                  char *buffer,
                                  size_t capacity,
                                  size_t *length);

// The value of a key of the file's metadata, as text: `general.architecture` for the family, any
// other key of the file, or `quantization`, the type that most of the weights have, such as
// `Q4_K`. Of an array the first elements. `key` is zero-terminated; `buffer`, `capacity` and
// `length` as in attamba_error_message.
//
// Any thread. ATTAMBA_STATUS_ARGUMENT if there is no such key.
attamba_status attamba_model_metadata(const struct attamba_model *model,
                                      const char *key,
                                      char *buffer,
                                      size_t capacity,
                                      size_t *length);

// A description of the model's engine, such as `CPU, AVX2, 4 threads`. `buffer`, `capacity` and
// `length` as in attamba_error_message.
//
// Any thread.
attamba_status attamba_model_engine(const struct attamba_model *model,
                                    char *buffer,
                                    size_t capacity,
                                    size_t *length);

// Converts `bytes` bytes of UTF-8 into tokens. With `special` not 0, text such as `<|im_start|>`
// becomes the token of that name; with 0 it is ordinary text, as it should be for text written by
// users. No token is added before or after.
//
// Writes at most `capacity` tokens; `*count`, unless `count` is NULL, gets the total number, even
// if not all fit.
//
// Any thread. ATTAMBA_STATUS_TEXT if the file has no usable tokenizer.
attamba_status attamba_model_tokenize(const struct attamba_model *model,
                                      const char *text,
                                      size_t bytes,
                                      int32_t special,
                                      uint32_t *tokens,
                                      size_t capacity,
                                      size_t *count);

// The text that the model's template makes of messages in JSON, as in attamba_session_begin_json, and
// of `variables`, as in attamba_session_set_variables (NULL and 0 for none). With `prompt` not 0 it
// ends where the answer begins. `buffer`, `capacity` and `length` as in attamba_error_message.
//
// Messages that spell special tokens can't be told from the template's own in it: a chat keeps them
// apart.
//
// Any thread. ATTAMBA_STATUS_TEXT if the template refuses these messages.
attamba_status attamba_model_render(const struct attamba_model *model,
                                    const char *messages,
                                    size_t messages_bytes,
                                    const char *variables,
                                    size_t variables_bytes,
                                    int32_t prompt,
                                    char *buffer,
                                    size_t capacity,
                                    size_t *length);

// The text of `count` tokens. With `special` not 0, special tokens give their names, such as
// `<|im_start|>`; with 0 they give nothing. What is not UTF-8 becomes U+FFFD, and a token beyond
// the vocabulary gives no text. `buffer`, `capacity` and `length` as in attamba_error_message.
//
// Any thread. ATTAMBA_STATUS_TEXT if the file has no usable tokenizer.
attamba_status attamba_model_detokenize(const struct attamba_model *model,
                                        const uint32_t *tokens,
                                        size_t count,
                                        int32_t special,
                                        char *buffer,
                                        size_t capacity,
                                        size_t *length);

// The bytes of a token. They need not be whole characters: an emoji is often several tokens.
//
// Writes at most `capacity` bytes, not zero-terminated; `*length`, unless `length` is NULL, gets
// the total number.
//
// Any thread. ATTAMBA_STATUS_ARGUMENT if the token is beyond the vocabulary.
attamba_status attamba_model_token_bytes(const struct attamba_model *model,
                                         uint32_t token,
                                         uint8_t *buffer,
                                         size_t capacity,
                                         size_t *length);

// Whether the token ends a text or a turn: `*ends` gets 1 or 0.
//
// Any thread.
attamba_status attamba_model_token_is_end(const struct attamba_model *model,
                                          uint32_t token,
                                          int32_t *ends);

// A text of `bytes` bytes as a vector of length 1, to compare texts by: the hidden states after the
// last layer, pooled as `pooling`, an attamba_pooling, says. It has `width` numbers, of
// attamba_model_info; for a model whose `embeds` is 0, which was not made for it, the log has a
// warning. It is computed on the CPU, and takes the memory of a session that keeps the whole text.
//
// Writes at most `capacity` numbers; `*count`, unless `count` is NULL, gets the total number.
//
// Any thread. ATTAMBA_STATUS_ARGUMENT for a text without tokens, ATTAMBA_STATUS_MEMORY.
attamba_status attamba_model_embed(const struct attamba_model *model,
                                   const char *text,
                                   size_t bytes,
                                   int32_t pooling,
                                   float *vector,
                                   size_t capacity,
                                   size_t *count);

// Opens a session. All of its memory is allocated now; attamba_estimate reports in advance how
// much.
//
// `*session` gets the handle, to be closed with attamba_session_close, or NULL on an error.
//
// Any thread. ATTAMBA_STATUS_BUDGET if the smallest session is larger than the budget,
// ATTAMBA_STATUS_MEMORY if the system has no more memory. The message is that of the model.
attamba_status attamba_session_open(const struct attamba_model *model,
                                    const struct attamba_session_options *options,
                                    struct attamba_session **session);

// Closes a session. A call in progress on it is cancelled, and this one returns when that one has
// returned: from then on no callback of the session runs any more. Called from a callback of the
// session it returns at once, and the session is freed when the callback's call ends.
//
// Any thread.
attamba_status attamba_session_close(struct attamba_session *session);

// Forgets everything: text, chat and instruction. The memory stays allocated.
//
// One thread at a time.
attamba_status attamba_session_reset(const struct attamba_session *session);

// Changes how tokens are chosen from now on; NULL for the defaults: those of attamba_sampling_init
// for raw text and of attamba_sampling_init_chat in a chat, except for what the model's file
// recommends. The tokens that a repetition penalty has counted so far stay counted.
//
// One thread at a time. ATTAMBA_STATUS_ARGUMENT if a number is out of range; the session continues
// to choose as before.
attamba_status attamba_session_set_sampling(const struct attamba_session *session,
                                            const struct attamba_sampling *sampling);

// Once this call has returned nothing is computed until attamba_session_resume: for an application
// that leaves the foreground, since some systems terminate those that use the GPU then. It waits
// for the current block, milliseconds. A call that feeds or generates waits meanwhile, and can be
// cancelled; one that copies the state (snapshot, rewind, fork, save) fails with
// ATTAMBA_STATUS_PAUSED.
//
// Any thread, and from a callback.
attamba_status attamba_session_pause(const struct attamba_session *session);

// Ends a pause; without one nothing happens.
//
// Any thread, and from a callback.
attamba_status attamba_session_resume(const struct attamba_session *session);

// Fills `info`, whose `struct_size` the caller has set.
//
// One thread at a time.
attamba_status attamba_session_get_info(const struct attamba_session *session,
                                        struct attamba_session_info *info);

// A sentence for people about what the session remembers, such as `14 of 90 heads see the last 8,192
// tokens, the others the last 2,798; 22.5 MiB in int4`. `buffer`, `capacity` and `length` as in
// attamba_error_message.
//
// One thread at a time.
attamba_status attamba_session_reach(const struct attamba_session *session,
                                     char *buffer,
                                     size_t capacity,
                                     size_t *length);

// Saves the session at `path`: its state, and the messages of its chat. An existing file stays
// intact until the new one is complete, and is replaced only if it is a saved session.
//
// One thread at a time. ATTAMBA_STATUS_IO if the file can't be written, ATTAMBA_STATUS_PAUSED
// while paused; the session is unchanged.
attamba_status attamba_session_save(const struct attamba_session *session, const char *path);

// Resumes the session that was saved at `path`, with the budget that it had; nothing is computed
// again. Of `options` the engine, the sampling, `parse_special` and `checkpoint_bytes` are used.
//
// `*session` gets the handle, to be closed with attamba_session_close, or NULL on an error.
//
// Any thread. ATTAMBA_STATUS_SAVED if the file is damaged, is not a saved session, or is of
// another model; ATTAMBA_STATUS_IO if it can't be read. The message is that of the model.
attamba_status attamba_session_load(const struct attamba_model *model,
                                    const char *path,
                                    const struct attamba_session_options *options,
                                    struct attamba_session **session);

// Cancels the call in progress on the session, or, if there is none, the next one that processes
// or generates tokens: a cancel that comes just before the call that it is meant for is not lost.
// A call ends within a block of tokens, milliseconds, also while it converts a long text into
// tokens. The session stays usable.
//
// Any thread, from a callback, and from a signal handler: it takes no lock, allocates nothing and
// does not wait. ATTAMBA_STATUS_CLOSED, without a message, if the session is closed.
attamba_status attamba_session_cancel(const struct attamba_session *session);

// Withdraws a cancel that no call has met, such as one that came after the end of the call that it
// was meant for.
//
// Any thread, and from a callback.
attamba_status attamba_session_clear_cancel(const struct attamba_session *session);

// Begins a chat with a system instruction, whatever the session held before, and processes the
// instruction now: a document to be asked about is processed once, and can be saved in that state.
// `bytes` 0 begins a chat without an instruction.
//
// One thread at a time; cancel from any. ATTAMBA_STATUS_CANCELLED: the chat has begun
// nevertheless, and the first message processes the instruction.
attamba_status attamba_session_instruct(const struct attamba_session *session,
                                        const char *text,
                                        size_t bytes);

// Begins a chat with `count` messages, whatever the session held before, and processes them now:
// a chat that the application has kept, or this session's messages with another instruction.
// Nothing is generated: the next message follows them.
//
// One thread at a time; cancel from any. ATTAMBA_STATUS_TEXT if the template refuses these
// messages; the session is unchanged. ATTAMBA_STATUS_CANCELLED: the chat has begun nevertheless,
// and the next message processes them.
attamba_status attamba_session_begin(const struct attamba_session *session,
                                     const struct attamba_message *messages,
                                     size_t count);

// attamba_session_begin with messages in JSON, `bytes` bytes of UTF-8: an array of objects with
// `role`, `content` (a text, a list of parts, or null) and whatever else the template reads, such as
// `tool_calls`, `tool_call_id` or `reasoning_content`.
//
// As attamba_session_begin. ATTAMBA_STATUS_ARGUMENT if the JSON is not that of messages.
attamba_status attamba_session_begin_json(const struct attamba_session *session,
                                          const char *messages,
                                          size_t bytes);

// Tells the template what it should know beside the messages, from the next message on: an object
// in JSON, `bytes` bytes of UTF-8, such as `{"tools": [...], "enable_thinking": false}`; `bytes` 0
// for nothing, as at first. It stays until it is set again, also after attamba_session_reset. The
// next message processes the chat again if that changes what comes before it.
//
// One thread at a time. ATTAMBA_STATUS_ARGUMENT if it is not an object in JSON, or names something
// that comes from the chat, such as `messages`.
attamba_status attamba_session_set_variables(const struct attamba_session *session,
                                             const char *variables,
                                             size_t bytes);

// attamba_session_chat for messages in JSON, `bytes` bytes of UTF-8: one object as in
// attamba_session_begin_json, such as what a tool returned, or an array of several; an empty array
// answers the messages there are.
//
// As attamba_session_chat. ATTAMBA_STATUS_ARGUMENT if the JSON is not that of messages.
attamba_status attamba_session_chat_json(const struct attamba_session *session,
                                         const char *messages,
                                         size_t bytes,
                                         uint32_t most,
                                         attamba_text_fn each,
                                         void *user,
                                         attamba_finish *finish);

// Counts the tokens of `count` messages as attamba_session_begin would process them. `*tokens`,
// unless `tokens` is NULL, gets the number.
//
// One thread at a time. ATTAMBA_STATUS_TEXT if the template refuses these messages.
attamba_status attamba_session_count(const struct attamba_session *session,
                                     const struct attamba_message *messages,
                                     size_t count,
                                     uint64_t *tokens);

// Answers a message of `bytes` bytes of UTF-8 with at most `most` tokens, and passes the text of
// the answer to `each` as it is generated. What the template writes around messages is fed as
// well. A message that spells a special token, such as `<|im_end|>`, is plain text, unless the
// session was opened with `parse_special`.
//
// `*finish`, unless `finish` is NULL, gets the reason why the answer ended. The chat continues
// from there, except after ATTAMBA_FINISH_DROPPED.
//
// One thread at a time; cancel from any. ATTAMBA_STATUS_STATE if the session holds raw text. On
// any error the chat is as it was before the call.
attamba_status attamba_session_chat(const struct attamba_session *session,
                                    const char *message,
                                    size_t bytes,
                                    uint32_t most,
                                    attamba_text_fn each,
                                    void *user,
                                    attamba_finish *finish);

// Removes the last message and its answer. `*undone`, unless `undone` is NULL, gets 1, or 0 if
// there was none.
//
// One thread at a time. ATTAMBA_STATUS_STATE if the session holds raw text.
attamba_status attamba_session_undo(const struct attamba_session *session, int32_t *undone);

// Passes the messages of the chat to `each`, oldest first: what an application displays of a
// session that it has loaded. None for raw text, and of a very long chat without the oldest ones.
//
// One thread at a time.
attamba_status attamba_session_messages(const struct attamba_session *session,
                                        attamba_message_fn each,
                                        void *user);

// Processes `bytes` bytes of UTF-8. With `special` not 0, text such as `<|im_start|>` becomes the
// token of that name. At the very start the token that begins a text is prepended if the model
// expects one.
//
// One thread at a time; cancel from any. ATTAMBA_STATUS_CANCELLED: the tokens up to the position
// in attamba_session_get_info have been processed. ATTAMBA_STATUS_STATE if the session holds a
// chat. On any other error nothing is processed.
attamba_status attamba_session_feed_text(const struct attamba_session *session,
                                         const char *text,
                                         size_t bytes,
                                         int32_t special);

// Processes `count` tokens as they are.
//
// One thread at a time; cancel from any. Errors as attamba_session_feed_text, and
// ATTAMBA_STATUS_ARGUMENT if a token is beyond the vocabulary.
attamba_status attamba_session_feed_tokens(const struct attamba_session *session,
                                           const uint32_t *tokens,
                                           size_t count);

// Continues what has been fed with at most `most` tokens, and passes the text to `each`.
// `*finish`, unless `finish` is NULL, gets the reason why it ended; the session has processed what
// was generated, and a stop text that ended it.
//
// One thread at a time; cancel from any. ATTAMBA_STATUS_STATE if nothing has been fed yet, if the
// last feed was cancelled and nothing was fed since, or if the session holds a chat. After another
// error the session may lack the last token, or all of them if the GPU was lost:
// attamba_session_get_info reports the position.
attamba_status attamba_session_generate(const struct attamba_session *session,
                                        uint32_t most,
                                        attamba_text_fn each,
                                        void *user,
                                        attamba_finish *finish);

// Answers a message as attamba_session_chat does, or continues raw text as attamba_session_generate
// does, and also passes the tokens on, with their log probabilities. `*finish`, unless `finish` is
// NULL, gets the reason why it ended.
//
// One thread at a time; cancel from any. Errors as those of attamba_session_chat and
// attamba_session_generate.
attamba_status attamba_session_run(const struct attamba_session *session,
                                   const struct attamba_run *run,
                                   attamba_finish *finish);

// The logits of the last token that was processed: as many floats as the vocabulary has tokens,
// none before the first token.
//
// Writes at most `capacity` of them; `*count`, unless `count` is NULL, gets the total number.
//
// One thread at a time. ATTAMBA_STATUS_STATE if the session holds a chat, or has no logits because
// the last feed was cancelled.
attamba_status attamba_session_logits(const struct attamba_session *session,
                                      float *logits,
                                      size_t capacity,
                                      size_t *count);

// Keeps a copy of the session as it is now, in memory: as large as the filled part of its state.
//
// `*snapshot` gets the handle, to be closed with attamba_snapshot_close, or NULL on an error.
//
// One thread at a time. ATTAMBA_STATUS_MEMORY, ATTAMBA_STATUS_PAUSED; the session is unchanged.
attamba_status attamba_session_snapshot(const struct attamba_session *session,
                                        struct attamba_snapshot **snapshot);

// Restores the session, or another one of the same model and budget, to where the snapshot was
// made. What is computed from there on is bit-identical to what was computed then. The snapshot is
// kept.
//
// One thread at a time for the session. ATTAMBA_STATUS_ARGUMENT if the snapshot is of another
// model or budget, ATTAMBA_STATUS_STATE if one is of a chat and the other of raw text; the session
// is unchanged.
attamba_status attamba_session_rewind(const struct attamba_session *session,
                                      const struct attamba_snapshot *snapshot);

// A second session at the same point as this one, independent from here on: what both have
// processed is computed once. It takes as much memory as the first.
//
// `*fork` gets the handle, to be closed with attamba_session_close, or NULL on an error.
//
// One thread at a time. ATTAMBA_STATUS_MEMORY, ATTAMBA_STATUS_PAUSED; the session is unchanged.
attamba_status attamba_session_fork(const struct attamba_session *session,
                                    struct attamba_session **fork);

// Bytes that the snapshot holds.
//
// Any thread.
attamba_status attamba_snapshot_bytes(const struct attamba_snapshot *snapshot, uint64_t *bytes);

// Closes a snapshot and frees its memory.
//
// Any thread.
attamba_status attamba_snapshot_close(struct attamba_snapshot *snapshot);

// Estimates the memory of the model at `path` and of a session of it, without loading it: only the
// tables of the file are read. Of `loading` engine, adapter and threads are used; anything other
// than ATTAMBA_ENGINE_GPU, in `options` or else in `loading`, is estimated for the CPU engine. For a
// GPU the adapters are enumerated, since large ones take more scratch memory; one that is not there
// is estimated as if it were integrated.
// Fills `memory`, whose `struct_size` the caller has set.
//
// Any thread. Errors of the file as in attamba_model_open, of the options as in
// attamba_session_open. The message is that of the thread.
attamba_status attamba_estimate(const char *path,
                                const struct attamba_model_options *loading,
                                const struct attamba_session_options *options,
                                struct attamba_memory *memory);

// Like attamba_estimate, for a model located as in attamba_model_open_fd.
attamba_status attamba_estimate_fd(int32_t fd,
                                   uint64_t offset,
                                   uint64_t length,
                                   const struct attamba_model_options *loading,
                                   const struct attamba_session_options *options,
                                   struct attamba_memory *memory);

// The memory of the session; while a call is in progress, its memory before that call. Fills
// `memory`, whose `struct_size` the caller has set.
//
// Any thread.
attamba_status attamba_session_get_memory(const struct attamba_session *session,
                                          struct attamba_memory *memory);

// Shrinks the session's state to at most `bytes`, at once: states are dropped or thinned according
// to its eviction policy, oldest first. No token is processed again, and the session continues.
// Earlier snapshots can't be restored. If the state is smaller already, nothing changes.
//
// Any thread, also while paused. While another call is in progress the session is shrunk within
// that call, at its next block of tokens or while it waits for the end of a pause; then this one
// returns at once, and only the log reports if it could not be done. A paused session on a GPU,
// which must not be used then, is shrunk by the next call that processes tokens.
// ATTAMBA_STATUS_BUDGET if the smallest session does not fit in `bytes`; the session is unchanged.
attamba_status attamba_session_shrink(const struct attamba_session *session, uint64_t bytes);

// Passes the devices that the machine can compute on to `each`: GPUs, the fastest kinds first, and
// the CPU last. Software GPU drivers are included.
//
// Any thread.
attamba_status attamba_adapters(attamba_adapter_fn each, void *user);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* ATTAMBA_H */
