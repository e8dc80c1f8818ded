/*
 * attamba: on-device inference for Attamba language models, from C and C++.
 *
 * Made from the Rust sources by cbindgen: change those, not this file.
 *
 * Status. Functions return an attamba_status: 0, or why nothing else was done. The sentence that
 * belongs to it, with its numbers, is read with attamba_error_message.
 *
 * Handles. attamba_model, attamba_session and attamba_snapshot are closed by the caller, in any order.
 * NULL, a closed handle and one of another kind are ATTAMBA_STATUS_CLOSED everywhere; a handle is
 * never given out twice. Handles are no addresses: don't look behind them.
 *
 * Threads. Each function says who may call it. "Any thread" means at any time, side by side. "One
 * thread at a time" means that a second call meanwhile is refused with ATTAMBA_STATUS_BUSY and changes
 * nothing: from another thread, or from a callback of the first. Sessions of one model may be used
 * side by side; they share its threads.
 *
 * Structs. Every struct begins with struct_size, set by the caller to sizeof the struct, so that
 * libraries and programs of different age understand each other. Zero the rest:
 *
 *     attamba_session_options options = {sizeof options};
 *
 * Enumerations in structs and parameters are int32_t, so that their size is the same everywhere.
 *
 * Text is UTF-8 with its length in bytes. Text that the library hands out never ends within a
 * character. Paths end with a zero byte.
 *
 * Defects. Nothing that a caller or a file does makes the library abort. A defect of its own is
 * ATTAMBA_STATUS_INTERNAL, and the handle is good for nothing but being closed.
 */


#ifndef ATTAMBA_H
#define ATTAMBA_H

#include <stddef.h>
#include <stdint.h>

// Grows whenever a program that was compiled with the header before it would no longer work.
#define ATTAMBA_ABI_VERSION 1

// What a call came to.
enum attamba_status
#if defined(__cplusplus) || defined(__swift__) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // It did what it should.
    ATTAMBA_STATUS_OK = 0,
    // An argument makes no sense: a null pointer, a number out of range, text that is not UTF-8, a
    // struct_size that can't be. Nothing was done.
    ATTAMBA_STATUS_ARGUMENT = 1,
    // The handle is null, closed, or of another kind. Nothing was done.
    ATTAMBA_STATUS_CLOSED = 2,
    // Another call is at work on the session, or this one was made from its callback. Nothing was
    // done.
    ATTAMBA_STATUS_BUSY = 3,
    // The session is not in the state for this call, such as a chat that is fed raw text. Nothing
    // was done.
    ATTAMBA_STATUS_STATE = 4,
    // The system refused to open, read or write a file.
    ATTAMBA_STATUS_IO = 5,
    // The file is not a GGUF file, contradicts itself, or computes numbers that no token can be
    // chosen by.
    ATTAMBA_STATUS_FILE = 6,
    // The file, or the option, asks for something that this build does not do.
    ATTAMBA_STATUS_UNSUPPORTED = 7,
    // The tokenizer or the chat template of the file failed.
    ATTAMBA_STATUS_TEXT = 8,
    // The smallest session of this model is larger than the budget; the message says by how much.
    ATTAMBA_STATUS_BUDGET = 9,
    // The saved session is not one, is damaged, or is of another model.
    ATTAMBA_STATUS_SAVED = 10,
    // The system has no more memory to give.
    ATTAMBA_STATUS_MEMORY = 11,
    // Cancelled from another thread, or by the callback.
    ATTAMBA_STATUS_CANCELLED = 12,
    // The session is paused, and this call is not one that waits.
    ATTAMBA_STATUS_PAUSED = 13,
    // There is no GPU that can be used, or it failed, or it is gone. A session whose call failed so
    // takes attamba_session_reset, or a new session, to be usable again. After the loss of the GPU
    // that is the CPU's where the model was opened with ATTAMBA_ENGINE_AUTO, and a chat goes on
    // there of itself; otherwise the model must be opened anew.
    ATTAMBA_STATUS_DEVICE = 14,
    // A defect of the library. The handle answers nothing else from now on: close it.
    ATTAMBA_STATUS_INTERNAL = 15,
};
#ifndef __cplusplus
#if defined(__swift__) || __STDC_VERSION__ >= 202311L
typedef enum attamba_status attamba_status;
#else
typedef int32_t attamba_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Why a text came to its end.
enum attamba_finish
#if defined(__cplusplus) || defined(__swift__) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // The model ended it.
    ATTAMBA_FINISH_ENDED = 0,
    // As many tokens as were asked for.
    ATTAMBA_FINISH_LIMIT = 1,
    // The callback said so.
    ATTAMBA_FINISH_STOPPED = 2,
    // attamba_session_cancel, after the text had begun. What has come so far counts.
    ATTAMBA_FINISH_CANCELLED = 3,
    // attamba_session_cancel, before the answer of a chat began: the message does not count.
    ATTAMBA_FINISH_DROPPED = 4,
};
#ifndef __cplusplus
#if defined(__swift__) || __STDC_VERSION__ >= 202311L
typedef enum attamba_finish attamba_finish;
#else
typedef int32_t attamba_finish;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Which engine computes.
enum attamba_engine
#if defined(__cplusplus) || defined(__swift__) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // For a model: a GPU where there is one that computes what it should, else the CPU, which also
    // takes over should the GPU be lost. For a session: that of the model.
    ATTAMBA_ENGINE_AUTO = 0,
    // The CPU.
    ATTAMBA_ENGINE_CPU = 1,
    // A GPU. ATTAMBA_STATUS_DEVICE where there is none that can be used.
    ATTAMBA_ENGINE_GPU = 2,
};
#ifndef __cplusplus
#if defined(__swift__) || __STDC_VERSION__ >= 202311L
typedef enum attamba_engine attamba_engine;
#else
typedef int32_t attamba_engine;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What the number in attamba_session_options.budget counts.
enum attamba_budget
#if defined(__cplusplus) || defined(__swift__) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Nothing: the session remembers as much as the model was trained with.
    ATTAMBA_BUDGET_CONTEXT = 0,
    // Chunk states a layer.
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
    // Half precision, 2 bytes a number.
    ATTAMBA_KV_F16 = 0,
    // Single precision, 4 bytes a number.
    ATTAMBA_KV_F32 = 1,
    // Chunk states in integers of eight bits with a scale for each head; the newest tokens in half
    // precision.
    ATTAMBA_KV_I8 = 2,
};
#ifndef __cplusplus
#if defined(__swift__) || __STDC_VERSION__ >= 202311L
typedef enum attamba_kv attamba_kv;
#else
typedef int32_t attamba_kv;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What goes when a session's memory is full.
enum attamba_policy
#if defined(__cplusplus) || defined(__swift__) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // The oldest chunk state but the very first.
    ATTAMBA_POLICY_DROP = 0,
    // Of the older half, every second chunk state: what is long ago grows coarse before it goes.
    ATTAMBA_POLICY_THIN = 1,
};
#ifndef __cplusplus
#if defined(__swift__) || __STDC_VERSION__ >= 202311L
typedef enum attamba_policy attamba_policy;
#else
typedef int32_t attamba_policy;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// A stage of the chain that tokens are chosen by.
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

// How much is noted.
enum attamba_log_level
#if defined(__cplusplus) || defined(__swift__) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Nothing.
    ATTAMBA_LOG_LEVEL_OFF = 0,
    // What went wrong and has no call to report it.
    ATTAMBA_LOG_LEVEL_ERROR = 1,
    // What is not as it should be, but works.
    ATTAMBA_LOG_LEVEL_WARN = 2,
    // What was chosen.
    ATTAMBA_LOG_LEVEL_INFO = 3,
    // What helps to find a defect.
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

// A model file that is open, with its tokenizer and its engines.
typedef struct attamba_model attamba_model;

// One conversation, or one text, on a model.
typedef struct attamba_session attamba_session;

// A session as it was at some moment.
typedef struct attamba_snapshot attamba_snapshot;

// Gets one note of a level: `bytes` bytes of UTF-8, no zero byte behind them, gone when the function
// returns. It may be called on any thread, on several at once, and must call nothing of the library.
typedef void (*attamba_log_fn)(void *user, int32_t level, const char *text, size_t bytes);

// What is added to the logit of a token; minus infinity forbids it.
typedef struct attamba_bias {
    // The token.
    uint32_t token;
    // What is added.
    float bias;
} attamba_bias;

// How tokens are chosen; attamba_sampling_init or attamba_sampling_init_chat sets the defaults, and
// every field counts as it stands. Fields that `struct_size` leaves out are off.
//
// The stages run in the order of attamba_stage, which is that of llama.cpp, or as `stages` has them.
typedef struct attamba_sampling {
    // sizeof(attamba_sampling).
    uint32_t struct_size;
    // Recent tokens that the three penalties look at; 0 turns them off.
    uint32_t repeat_last;
    // Seed of the draws; a seed means the same in every version.
    uint64_t seed;
    // Logits of recent tokens are divided by it where positive, else multiplied; 1 is off.
    float repeat_penalty;
    // Only the most likely are kept; 0 keeps all.
    uint32_t top_k;
    // Only the most likely that together have this probability are kept; 1 keeps all.
    float top_p;
    // Only those at least this many times as likely as the most likely are kept; 0 keeps all.
    float min_p;
    // Logits are divided by it before the draw; 0 takes the most likely.
    float temperature;
    // 0.
    uint32_t reserved;
    // Added to logits before all else; read when the struct is handed over. NULL for none.
    const struct attamba_bias *bias;
    // How many there are.
    uint64_t bias_count;
    // Subtracted from the logit of a recent token for each of its occurrences; 0 is off.
    float frequency_penalty;
    // Subtracted from the logit of a recent token; 0 is off.
    float presence_penalty;
    // Only the most typical tokens that together have this probability are kept; 1 keeps all.
    float typical_p;
    // How probable it is that XTC acts on a token; 0 is off.
    float xtc_probability;
    // Of the tokens of at least this probability XTC keeps only the least likely; above 0.5 it is off.
    float xtc_threshold;
    // DRY: a token that would make a repetition of n tokens longer loses
    // `dry_multiplier * dry_base ^ (n - dry_allowed_length)` of its logit; 0 is off.
    float dry_multiplier;
    // At least 1.
    float dry_base;
    // Shorter repetitions are not looked at.
    uint32_t dry_allowed_length;
    // How many tokens DRY looks for repetitions in; 0 turns it off.
    uint32_t dry_penalty_last_n;
    // How many `stages` there are.
    uint32_t stage_count;
    // Stages, each an attamba_stage, in the order in which they run; read when the struct is handed
    // over. NULL for all of them in the order of their numbers.
    const int32_t *stages;
    // Texts that no repetition reaches across, UTF-8 with a zero byte behind; read when the struct is
    // handed over. NULL for line end, colon, quote and asterisk. Special tokens always are such.
    const char *const *dry_breakers;
    // How many there are; 0 with a pointer for none.
    uint64_t dry_breaker_count;
} attamba_sampling;

// Called while a model is loaded, on the thread that loads it, with the part that is done, 0 to 1.
// Returns 0 to cancel, anything else to go on.
typedef int32_t (*attamba_progress_fn)(void *user, float done);

// How a model is opened. Zeros are the defaults; so is a NULL instead of the struct.
typedef struct attamba_model_options {
    // sizeof(attamba_model_options).
    uint32_t struct_size;
    // An attamba_engine.
    int32_t engine;
    // Threads of the CPU engine; 0 takes the fast cores, on phones at most 4.
    uint32_t threads;
    // Not 0: read all of the file now, so that the first answer need not wait for the disk.
    int32_t preload;
    // Told how far loading has come; NULL for nobody.
    attamba_progress_fn progress;
    // Handed to `progress`.
    void *progress_user;
    // A part of the name of the GPU to take, in any case, with a zero byte behind; NULL for the
    // fastest. A program that acts as a GPU is taken only if it is named, or if ATTAMBA_ENGINE_GPU
    // is asked for and there is nothing else.
    const char *adapter;
    // Not 0: read the file into memory instead of mapping it, so that it may change while the model
    // is open. The system cannot reclaim that memory.
    int32_t in_memory;
    // 0.
    uint32_t reserved;
} attamba_model_options;

// Sizes of a model.
typedef struct attamba_model_info {
    // sizeof(attamba_model_info).
    uint32_t struct_size;
    // Tokens in the vocabulary: the length of a row of logits.
    uint32_t vocab;
    // Layers.
    uint32_t layers;
    // Tokens of context that the model was trained with.
    uint32_t context;
    // Tokens of a chunk, which become one state; 1 for a transformer.
    uint32_t chunk;
    // The newest tokens that are kept one by one, beside the chunk states.
    uint32_t window;
    // Bytes of the file.
    uint64_t file_bytes;
} attamba_model_info;

// How a session is opened. Zeros are the defaults; so is a NULL instead of the struct.
typedef struct attamba_session_options {
    // sizeof(attamba_session_options).
    uint32_t struct_size;
    // An attamba_engine.
    int32_t engine;
    // An attamba_budget: what `budget` counts.
    int32_t budget_kind;
    // An attamba_kv.
    int32_t kv;
    // How much the session may remember. Its memory is fixed by this, and known beforehand.
    uint64_t budget;
    // An attamba_policy.
    int32_t policy;
    // Tokens a chunk; 0 for what the model was trained with. Other lengths work, but worse.
    uint32_t chunk;
    // How tokens are chosen; NULL for the defaults, of attamba_sampling_init for raw text and of
    // attamba_sampling_init_chat in a chat.
    const struct attamba_sampling *sampling;
    // Not 0: messages of a chat that spell special tokens, such as `<|im_end|>`, become these tokens.
    // For messages that the application writes itself. With 0 they are text like any other.
    int32_t parse_special;
    // 0.
    uint32_t reserved;
} attamba_session_options;

// How a session stands, and how fast its last answer was.
typedef struct attamba_session_info {
    // sizeof(attamba_session_info).
    uint32_t struct_size;
    // 1 while paused.
    int32_t paused;
    // Tokens taken in since the start.
    uint64_t position;
    // Chunk states in the fullest layer's memory.
    uint64_t states;
    // Chunk states that there is room for; once there are as many, the policy says what goes.
    uint64_t states_room;
    // Messages of the chat, the instruction counted; 0 for raw text.
    uint64_t messages;
    // Tokens of the last message as it was fed, with what the template puts around it.
    uint64_t prompt_tokens;
    // Seconds that they took.
    double prompt_seconds;
    // Tokens of the last answer.
    uint64_t answer_tokens;
    // Seconds that they took.
    double answer_seconds;
} attamba_session_info;

// Gets text as it is made: `bytes` bytes of UTF-8 at `text`, whole characters only, no zero byte
// behind them. They are the library's, and gone when the function returns. Returns 0 to stop,
// anything else to go on.
//
// It is called on the thread of the call that makes the text, which is at work meanwhile: of the
// session's functions only cancel, pause, resume, shrink, close and the message of the last error
// may be called from it, and it must not throw or longjmp.
typedef int32_t (*attamba_text_fn)(void *user, const char *text, size_t bytes);

// Gets one message of a chat: UTF-8 with the lengths in bytes, no zero bytes behind, gone when the
// function returns. Returns 0 to get no more. It must not call functions of the session.
typedef int32_t (*attamba_message_fn)(void *user,
                                      const char *role,
                                      size_t role_bytes,
                                      const char *text,
                                      size_t text_bytes);

// Bytes that a model and a session take.
typedef struct attamba_memory {
    // sizeof(attamba_memory).
    uint32_t struct_size;
    // 0.
    uint32_t reserved;
    // The weights as the file has them. With the CPU engine they are pages of the file: shared by
    // all sessions, and taken away by the system, without harm, where memory is short.
    uint64_t weights;
    // What the engine keeps of the weights beside the file; shared by all sessions.
    uint64_t copied;
    // The session's state: what it remembers.
    uint64_t state;
    // The session's buffers to compute in.
    uint64_t scratch;
    // Snapshots that a chat keeps in order to go back; in an estimate the most that they can be, and
    // never more than 32 MiB.
    uint64_t checkpoints;
    // Weights on the GPU, shared by all sessions; 0 with the CPU engine. Pages of the file are let go
    // once they are there, but for the embedding's.
    uint64_t device;
} attamba_memory;

// Something that an engine runs on.
typedef struct attamba_adapter {
    // sizeof(attamba_adapter) of the library. A function that was compiled with another header
    // looks at no more than this.
    uint32_t struct_size;
    // The attamba_engine that runs on it.
    int32_t engine;
    // Its name, with a zero byte behind, gone when the function returns.
    const char *name;
} attamba_adapter;

// Gets one adapter, gone when the function returns. Returns 0 to get no more.
typedef int32_t (*attamba_adapter_fn)(void *user, const struct attamba_adapter *adapter);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The message of the last call that failed: on `handle`, a model, session or snapshot, or with
// NULL on this thread, whatever the handle. Empty if none has failed. A call that succeeds leaves
// the message as it is.
//
// Writes at most `capacity` bytes to `buffer`, the closing zero byte counted, and cuts between
// characters. `*length`, unless `length` is NULL, gets the bytes of the whole message without the
// zero byte: with `capacity` 0 (and `buffer` NULL) the call only asks for it.
//
// Any thread, at any time, while a call is at work too.
attamba_status attamba_error_message(const void *handle,
                                     char *buffer,
                                     size_t capacity,
                                     size_t *length);

// The ABI_VERSION that the library was built with. A program goes on if it is that of its header.
//
// Any thread.
uint32_t attamba_abi_version(void);

// The version of the library, such as `0.1.0`, with a zero byte behind; it is never freed.
//
// Any thread.
const char *attamba_version(void);

// Hands notes up to a level to `log`, or to nobody if it is NULL or the level ATTAMBA_LOG_LEVEL_OFF,
// as it is in the beginning. It holds for the whole process; a call that is at work may still use
// the function that was set before.
//
// Any thread. ATTAMBA_STATUS_ARGUMENT if there is no such level.
attamba_status attamba_log_set(int32_t level,
                               attamba_log_fn log,
                               void *user);

// Fills the fields of `sampling` but `struct_size`, which the caller has set, with the defaults for
// raw text: temperature 0.8, the 40 most likely, top-p 0.95, min-p 0.05, no penalties, seed 0.
//
// Any thread.
attamba_status attamba_sampling_init(struct attamba_sampling *sampling);

// The same with the defaults for a chat: those of attamba_sampling_init with DRY, of multiplier 0.8,
// and a repetition penalty of 1.05, without which small models often end in a loop.
//
// Any thread.
attamba_status attamba_sampling_init_chat(struct attamba_sampling *sampling);

// Opens the model file at `path`, which ends with a zero byte. Unless the options say `in_memory`,
// the file is mapped, not copied: while the model or a session of it is open, nobody may write to
// the file or shorten it, neither this process nor another. What happens then is undefined; at best
// the system ends the process. The file may be deleted, and another put in its place.
//
// `*model` gets the handle, which attamba_model_close takes back, or NULL on an error.
//
// Any thread. ATTAMBA_STATUS_IO, ATTAMBA_STATUS_FILE or ATTAMBA_STATUS_UNSUPPORTED if the file
// can't be read, makes no sense, or asks for what this runtime does not do;
// ATTAMBA_STATUS_CANCELLED if the progress function says so. The message is that of the thread.
attamba_status attamba_model_open(const char *path,
                                  const struct attamba_model_options *options,
                                  struct attamba_model **model);

// As attamba_model_open, of `length` bytes from byte `offset` of an open file on: a model inside
// another file, such as an asset of an Android application, or a document that came as a
// descriptor. `length` 0 takes all that follows. Any `offset` will do.
//
// The descriptor stays the caller's, who may close it once the call has returned.
//
// Not on Windows: ATTAMBA_STATUS_UNSUPPORTED.
attamba_status attamba_model_open_fd(int32_t fd,
                                     uint64_t offset,
                                     uint64_t length,
                                     const struct attamba_model_options *options,
                                     struct attamba_model **model);

// Closes a model. Its sessions and snapshots stay usable; the memory is given back with the last
// of them.
//
// Any thread. A call that is at work on the model ends as if it were open.
attamba_status attamba_model_close(struct attamba_model *model);

// Fills `info`, whose `struct_size` the caller has set.
//
// Any thread.
attamba_status attamba_model_get_info(const struct attamba_model *model,
                                      struct attamba_model_info *info);

// The name of the model as its file has it. `buffer`, `capacity` and `length` as in
// attamba_error_message.
//
// Any thread.
attamba_status attamba_model_name(const struct attamba_model *model,
                                  char *buffer,
                                  size_t capacity,
                                  size_t *length);

// The engine of the model in words, such as `CPU, AVX2, 4 threads`. `buffer`, `capacity` and
// `length` as in attamba_error_message.
//
// Any thread.
attamba_status attamba_model_engine(const struct attamba_model *model,
                                    char *buffer,
                                    size_t capacity,
                                    size_t *length);

// Turns `bytes` bytes of UTF-8 into tokens. With `special` not 0, text such as `<|im_start|>`
// becomes the token of that name; with 0 it is text like any other, as it should be where users
// write. No token is put before or behind.
//
// Writes at most `capacity` tokens; `*count`, unless `count` is NULL, gets the number of all, also
// where not all fit.
//
// Any thread. ATTAMBA_STATUS_TEXT if the file has no tokenizer that works.
attamba_status attamba_model_tokenize(const struct attamba_model *model,
                                      const char *text,
                                      size_t bytes,
                                      int32_t special,
                                      uint32_t *tokens,
                                      size_t capacity,
                                      size_t *count);

// The bytes of a token. They need not be whole characters: an emoji is often several tokens.
//
// Writes at most `capacity` bytes, no zero byte behind them; `*length`, unless `length` is NULL,
// gets the number of all.
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

// Opens a session. All of its memory is taken now; attamba_estimate says beforehand how much.
//
// `*session` gets the handle, which attamba_session_close takes back, or NULL on an error.
//
// Any thread. ATTAMBA_STATUS_BUDGET if the smallest session is larger than the budget,
// ATTAMBA_STATUS_MEMORY if the system has no more. The message is that of the model.
attamba_status attamba_session_open(const struct attamba_model *model,
                                    const struct attamba_session_options *options,
                                    struct attamba_session **session);

// Closes a session. A call that is at work on it is cancelled, and this one returns when that one
// has: then no callback of the session runs any more. From a callback of the session it returns at
// once, and the session goes when the callback's call ends.
//
// Any thread.
attamba_status attamba_session_close(struct attamba_session *session);

// Forgets everything: text, chat and instruction. The memory stays as it is.
//
// One thread at a time.
attamba_status attamba_session_reset(const struct attamba_session *session);

// Chooses tokens otherwise from now on; NULL for the defaults, of attamba_sampling_init for raw text
// and of attamba_sampling_init_chat in a chat. The tokens that a repetition penalty
// has counted so far stay counted.
//
// One thread at a time. ATTAMBA_STATUS_ARGUMENT if a number is out of range; the session goes on
// choosing as before.
attamba_status attamba_session_set_sampling(const struct attamba_session *session,
                                            const struct attamba_sampling *sampling);

// Cancels the call that is at work on the session; without one nothing happens. That call returns
// within a block of tokens: milliseconds. The session stays usable.
//
// Any thread, and from a callback. It does not wait.
attamba_status attamba_session_cancel(const struct attamba_session *session);

// Nothing is computed from the return of this call until attamba_session_resume: for an application
// that leaves the foreground, as some systems end those that use the GPU then. It waits for the
// block at hand, milliseconds. A call that feeds or generates waits meanwhile, and can be cancelled;
// one that copies the state (snapshot, rewind, fork, save) fails with ATTAMBA_STATUS_PAUSED.
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

// Saves the session at `path`: its state, and the messages of its chat. A file that is there stays
// whole until the new one is.
//
// One thread at a time. ATTAMBA_STATUS_IO if the file can't be written, ATTAMBA_STATUS_PAUSED while
// paused; the session is as it was.
attamba_status attamba_session_save(const struct attamba_session *session, const char *path);

// Takes up the session that was saved at `path`, with the budget that it had; nothing is computed
// anew. Of `options` the engine, the sampling and `parse_special` count.
//
// `*session` gets the handle, which attamba_session_close takes back, or NULL on an error.
//
// Any thread. ATTAMBA_STATUS_SAVED if the file is damaged, is no saved session, or is of another
// model; ATTAMBA_STATUS_IO if it can't be read. The message is that of the model.
attamba_status attamba_session_load(const struct attamba_model *model,
                                    const char *path,
                                    const struct attamba_session_options *options,
                                    struct attamba_session **session);

// Begins a chat with an instruction, whatever the session held before, and takes the instruction in
// now: a document that is to be asked about is read once, and can be saved as read. `bytes` 0 for a
// chat without one.
//
// One thread at a time; cancel from any. ATTAMBA_STATUS_CANCELLED: the chat has begun all the same,
// and the first message takes the instruction in.
attamba_status attamba_session_instruct(const struct attamba_session *session,
                                        const char *text,
                                        size_t bytes);

// Answers a message of `bytes` bytes of UTF-8 with at most `most` tokens, and hands the text of the
// answer to `each` as it comes. What the template writes around messages is fed as well. A message that
// spells a special token, such as `<|im_end|>`, is text all the same, unless the session was opened
// with `parse_special`.
//
// `*finish`, unless `finish` is NULL, says why the answer ended. The chat goes on from it, except
// after ATTAMBA_FINISH_DROPPED.
//
// One thread at a time; cancel from any. ATTAMBA_STATUS_STATE if the session holds raw text. On any
// error the chat is as it was before the call.
attamba_status attamba_session_chat(const struct attamba_session *session,
                                    const char *message,
                                    size_t bytes,
                                    uint32_t most,
                                    attamba_text_fn each,
                                    void *user,
                                    attamba_finish *finish);

// Takes the last message and its answer back. `*undone`, unless `undone` is NULL, gets 1, or 0 if
// there was none.
//
// One thread at a time. ATTAMBA_STATUS_STATE if the session holds raw text.
attamba_status attamba_session_undo(const struct attamba_session *session, int32_t *undone);

// Hands the messages of the chat to `each`, the oldest first: what an application shows of a session
// that it has loaded. None for raw text.
//
// One thread at a time.
attamba_status attamba_session_messages(const struct attamba_session *session,
                                        attamba_message_fn each,
                                        void *user);

// Takes in `bytes` bytes of UTF-8. With `special` not 0, text such as `<|im_start|>` becomes the
// token of that name. At the very start the token that begins a text is put before, where the model
// expects one.
//
// One thread at a time; cancel from any. ATTAMBA_STATUS_CANCELLED: what attamba_session_get_info
// counts as position is taken in. ATTAMBA_STATUS_STATE if the session holds a chat. On any other
// error nothing is taken in.
attamba_status attamba_session_feed_text(const struct attamba_session *session,
                                         const char *text,
                                         size_t bytes,
                                         int32_t special);

// Takes in `count` tokens as they are.
//
// One thread at a time; cancel from any. Errors as attamba_session_feed_text, and
// ATTAMBA_STATUS_ARGUMENT if a token is beyond the vocabulary.
attamba_status attamba_session_feed_tokens(const struct attamba_session *session,
                                           const uint32_t *tokens,
                                           size_t count);

// Goes on from what has been fed with at most `most` tokens, and hands the text to `each`.
// `*finish`, unless `finish` is NULL, says why it ended; what was made is taken in.
//
// One thread at a time; cancel from any. ATTAMBA_STATUS_STATE if nothing has been fed yet, if the
// last feed was cancelled and nothing was fed since, or if the session holds a chat. After another
// error the session may lack the last token, or all of them where the GPU was lost:
// attamba_session_get_info tells.
attamba_status attamba_session_generate(const struct attamba_session *session,
                                        uint32_t most,
                                        attamba_text_fn each,
                                        void *user,
                                        attamba_finish *finish);

// The logits of the last token that was taken in: as many floats as the vocabulary has tokens, none
// before the first.
//
// Writes at most `capacity` of them; `*count`, unless `count` is NULL, gets the number of all.
//
// One thread at a time. ATTAMBA_STATUS_STATE if the session holds a chat, or has no logits because
// the last feed was cancelled.
attamba_status attamba_session_logits(const struct attamba_session *session,
                                      float *logits,
                                      size_t capacity,
                                      size_t *count);

// Keeps the session as it is now, in memory: as much as the filled part of its state.
//
// `*snapshot` gets the handle, which attamba_snapshot_close takes back, or NULL on an error.
//
// One thread at a time. ATTAMBA_STATUS_MEMORY, ATTAMBA_STATUS_PAUSED; the session is as it was.
attamba_status attamba_session_snapshot(const struct attamba_session *session,
                                        struct attamba_snapshot **snapshot);

// Brings the session, or another of the same model and budget, to where the snapshot was made. What
// is computed from there on is what was computed then, to the bit. The snapshot stays.
//
// One thread at a time for the session. ATTAMBA_STATUS_ARGUMENT if the snapshot is of another model
// or budget, ATTAMBA_STATUS_STATE if one is of a chat and the other of raw text; the session is as
// it was.
attamba_status attamba_session_rewind(const struct attamba_session *session,
                                      const struct attamba_snapshot *snapshot);

// A second session that stands where this one does and goes its own way from here: what both have
// taken in is computed once. It takes as much memory as the first.
//
// `*fork` gets the handle, which attamba_session_close takes back, or NULL on an error.
//
// One thread at a time. ATTAMBA_STATUS_MEMORY, ATTAMBA_STATUS_PAUSED; the session is as it was.
attamba_status attamba_session_fork(const struct attamba_session *session,
                                    struct attamba_session **fork);

// Bytes that the snapshot holds.
//
// Any thread.
attamba_status attamba_snapshot_bytes(const struct attamba_snapshot *snapshot, uint64_t *bytes);

// Closes a snapshot and gives its memory back.
//
// Any thread.
attamba_status attamba_snapshot_close(struct attamba_snapshot *snapshot);

// What the model at `path` and a session of it would take, without loading it: reads the tables of the
// file only. Of `loading` the engine and the threads count; what is not ATTAMBA_ENGINE_GPU, in
// `options` or else in `loading`, is estimated for the CPU engine. Fills `memory`, whose `struct_size`
// the caller has set.
//
// Any thread. Errors of the file as in attamba_model_open, of the options as in
// attamba_session_open. The message is that of the thread.
attamba_status attamba_estimate(const char *path,
                                const struct attamba_model_options *loading,
                                const struct attamba_session_options *options,
                                struct attamba_memory *memory);

// As attamba_estimate, of a model that lies where attamba_model_open_fd finds it.
attamba_status attamba_estimate_fd(int32_t fd,
                                   uint64_t offset,
                                   uint64_t length,
                                   const struct attamba_model_options *loading,
                                   const struct attamba_session_options *options,
                                   struct attamba_memory *memory);

// What the session takes; while a call is at work, what it took before that call. Fills `memory`,
// whose `struct_size` the caller has set.
//
// Any thread.
attamba_status attamba_session_get_memory(const struct attamba_session *session,
                                          struct attamba_memory *memory);

// Makes the session's state at most `bytes` large, at once: what it remembers is dropped or thinned,
// as its policy says, the oldest first. Nothing is read anew, and the session goes on. Snapshots
// that were made before can't be gone back to. More bytes than it has change nothing.
//
// Any thread. While another call is at work the session grows smaller within that call, at its next
// block of tokens; then this one returns at once, and only the log tells if it could not be done.
// ATTAMBA_STATUS_BUDGET if `bytes` can't hold the smallest session, ATTAMBA_STATUS_PAUSED while
// paused; the session is as it was.
attamba_status attamba_session_shrink(const struct attamba_session *session,
                                      uint64_t bytes);

// Hands what the machine can compute with to `each`: GPUs, the fastest kinds first, and the CPU
// last. Programs that act as GPUs are among them.
//
// Any thread.
attamba_status attamba_adapters(attamba_adapter_fn each, void *user);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* ATTAMBA_H */
