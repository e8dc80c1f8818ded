"""llama.cpp as the PyPI package llama-cpp-py-sync brings it, already built: it needs no compiler, but glibc 2.38."""

import importlib.metadata
import multiprocessing
import os
import re
import time

import numpy as np
from llama_cpp_py_sync._cffi_bindings import get_ffi, get_lib

NAME = f"llama.cpp as built for the package llama-cpp-py-sync {importlib.metadata.version('llama-cpp-py-sync')}"
# Tokens per call, as in llama-bench.
BLOCK = 512

ffi, lib = get_ffi(), get_lib()
_log = []


@ffi.callback("void(enum ggml_log_level, char *, void *)")
def _on_log(_level, text, _user):
    _log.append(ffi.string(text).decode("utf-8", "replace"))


lib.llama_log_set(_on_log, ffi.NULL)
lib.llama_backend_init()


def load(file):
    _log.clear()
    model = lib.llama_model_load_from_file(os.fsencode(file), lib.llama_model_default_params())
    if model == ffi.NULL:
        raise SystemExit(f"llama.cpp can't load {file}:\n{''.join(_log[-12:])}")
    return model


def open_session(model, context, threads):
    """A session as llama.cpp's own commands open it, but always with flash attention."""
    params = lib.llama_context_default_params()
    params.n_ctx = context
    params.n_batch = params.n_ubatch = BLOCK
    params.n_threads = params.n_threads_batch = threads
    params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_ENABLED
    session = lib.llama_init_from_model(model, params)
    if session == ffi.NULL:
        raise SystemExit(f"llama.cpp can't open a session of {context} tokens:\n{''.join(_log[-12:])}")
    return session


def process(session, tokens):
    """Processes tokens after those that are there; logits are computed for the last of each call."""
    for start in range(0, len(tokens), BLOCK):
        block = ffi.new("llama_token[]", tokens[start:start + BLOCK])
        status = lib.llama_decode(session, lib.llama_batch_get_one(block, len(block)))
        if status != 0:
            raise SystemExit(f"llama_decode returned {status}.")
    lib.llama_synchronize(session)


class LlamaCpp:
    """A model and one session of it, without flash attention."""

    def __init__(self, file, context, single=False):
        """`single`: whether keys and values are in single precision instead of half."""
        self.model = load(file)
        self.vocab = lib.llama_model_get_vocab(self.model)
        params = lib.llama_context_default_params()
        params.n_ctx = params.n_batch = context
        params.flash_attn_type = 0
        if single:
            params.type_k = params.type_v = 0
        self.context = lib.llama_init_from_model(self.model, params)
        self.batch = lib.llama_batch_init(context, 0, 1)
        self.position = 0

    def close(self):
        lib.llama_batch_free(self.batch)
        lib.llama_free(self.context)
        lib.llama_model_free(self.model)

    def tokenize(self, text):
        """Ids, after BOS if the model wants one."""
        data = text.encode()
        ids = ffi.new("llama_token[]", len(data) + 8)
        count = lib.llama_tokenize(self.vocab, data, len(data), ids, len(data) + 8, True, False)
        return list(ids)[:count]

    def is_stop(self, token):
        return lib.llama_vocab_is_eog(self.vocab, token)

    def reset(self):
        lib.llama_memory_clear(lib.llama_get_memory(self.context), True)
        self.position = 0

    def feed(self, tokens):
        """Logits after each token, [T, V]."""
        b = self.batch
        for i, token in enumerate(tokens):
            b.token[i], b.pos[i], b.n_seq_id[i], b.seq_id[i][0], b.logits[i] = token, self.position + i, 1, 0, 1
        b.n_tokens = len(tokens)
        if lib.llama_decode(self.context, b) != 0:
            raise SystemExit(f"llama.cpp can't decode {len(tokens)} tokens.")
        self.position += len(tokens)
        width = lib.llama_vocab_n_tokens(self.vocab)
        rows = ffi.buffer(lib.llama_get_logits(self.context), 4 * width * len(tokens))
        return np.frombuffer(rows, np.float32).reshape(len(tokens), width).copy()


def in_f32(file, copy):
    """Writes the same weights in F32, so that llama.cpp rounds no activation to 8 bits."""
    params = lib.llama_model_quantize_default_params()
    pointer = ffi.new("llama_model_quantize_params *", params)
    pointer.ftype, pointer.allow_requantize = 0, True
    if lib.llama_model_quantize(os.fsencode(file), os.fsencode(copy), pointer) != 0:
        raise SystemExit(f"llama.cpp can't write {copy}.")


def in_child(work, *args):
    """The result of `work(*args)` in a process of its own, whose memory and threads go away with it."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)

    def run():
        theirs.send(work(*args))

    child = context.Process(target=run)
    child.start()
    theirs.close()
    try:
        result = ours.recv()
    except EOFError:
        result = None
    child.join()
    if child.exitcode:
        raise SystemExit(f"llama.cpp ended with status {child.exitcode}.")
    return result


def system_info():
    """The CPU features the build uses."""
    return ffi.string(lib.llama_print_system_info()).decode()


def weight_buffers(file):
    """Where the weights are once loaded; it shows whether they are rearranged."""
    return in_child(_weight_buffers, file)


def _weight_buffers(file):
    lib.llama_model_free(load(file))
    sizes = {}
    for buffer, size in re.findall(r"(\S+) model buffer size = *([\d.]+) MiB", "".join(_log)):
        sizes[buffer] = sizes.get(buffer, 0) + float(size)
    return ", ".join(f"{buffer} {size:.0f} MiB" for buffer, size in sizes.items())


def trained_context(file):
    """Tokens of the context that the model was trained with."""
    return in_child(lambda: lib.llama_model_n_ctx_train(load(file)))


def bench(file, threads, prompt, decode, depth, repetitions):
    """Tokens per second, `{"pp512": [..], "tg64": [..]}`, as llama-bench measures them; a test of 0 tokens is left out. The
    depth is processed once; each repetition continues from there."""
    return in_child(_bench, file, threads, prompt, decode, depth, repetitions)


def _bench(file, threads, prompt, decode, depth, repetitions):
    model = load(file)
    session = open_session(model, depth + max(prompt, decode) + 1, threads)
    memory = lib.llama_get_memory(session)
    words = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))
    tokens = [int(t) for t in np.random.default_rng(7).integers(words, size=depth + max(prompt, decode))]
    before, after = tokens[:depth], tokens[depth:]
    process(session, before)

    def timed(count, calls):
        samples = []
        for _ in range(1 + repetitions):  # the first warms up
            start = time.perf_counter()
            for call in calls:
                process(session, call)
            samples.append(count / (time.perf_counter() - start))
            lib.llama_memory_seq_rm(memory, 0, depth, -1)
        return samples[1:]

    results = {}
    if prompt:
        results[f"pp{prompt}"] = timed(prompt, [after[:prompt]])
    if decode:
        results[f"tg{decode}"] = timed(decode, [[token] for token in after[:decode]])
    return results


def first_token(file, threads, context, messages):
    """Seconds from nothing to the first token of an answer to a chat, and the tokens of the prompt: the model is loaded, a
    session opened, the chat written with the model's template and processed."""
    return in_child(_first_token, file, threads, context, messages)


def _first_token(file, threads, context, messages):
    start = time.perf_counter()
    model = load(file)
    session = open_session(model, context, threads)
    template = lib.llama_model_chat_template(model, ffi.NULL)
    if template == ffi.NULL:
        raise SystemExit(f"{file} has no chat template.")
    alive = [[ffi.new("char[]", text.encode()) for text in message] for message in messages]
    chat = ffi.new("llama_chat_message[]", [dict(role=role, content=content) for role, content in alive])
    room = 2 * sum(len(content) for _, content in messages) + 4096
    text = ffi.new("char[]", room)
    length = lib.llama_chat_apply_template(template, chat, len(messages), True, text, room)
    if not 0 <= length <= room:
        raise SystemExit(f"llama.cpp does not know the chat template of {file}.")
    vocab = lib.llama_model_get_vocab(model)
    ids = ffi.new("llama_token[]", length + 8)
    count = lib.llama_tokenize(vocab, text, length, ids, length + 8, True, True)
    process(session, list(ids)[:count])
    row = np.frombuffer(ffi.buffer(lib.llama_get_logits_ith(session, -1), 4 * lib.llama_vocab_n_tokens(vocab)), np.float32)
    row.argmax()
    return time.perf_counter() - start, count
