"""llama.cpp as built by setup.sh: its library through llama-cpp-python's low-level calls, and llama-bench."""

import ctypes
import json
import os
import re
import subprocess
import time

import numpy as np

import paths

os.environ.setdefault("LLAMA_CPP_LIB_PATH", str(paths.BUILD))
try:
    import llama_cpp as lib
except (ImportError, OSError, FileNotFoundError) as error:
    raise SystemExit(f"llama-cpp-python does not load ({error}); run benches/peers/setup.sh and "
                     f"use {paths.PEERS}/venv/bin/python.") from None

NAME = f"llama.cpp from llama-cpp-python {paths.RELEASE}, built for this CPU"
_log = []


@lib.llama_log_callback
def _on_log(_level, text, _user):
    _log.append(text.decode("utf-8", "replace"))


lib.llama_log_set(_on_log, ctypes.c_void_p(0))
lib.llama_backend_init()


def load(path, repack=True):
    _log.clear()
    params = lib.llama_model_default_params()
    params.use_extra_bufts = repack
    model = lib.llama_model_load_from_file(str(path).encode(), params)
    if not model:
        raise SystemExit(f"llama.cpp can't load {path}:\n{''.join(_log[-12:])}")
    return model


class LlamaCpp:
    """A model and one session of it. K and V in f16 and flash attention on `auto`, llama.cpp's defaults.

    `repack`: whether weights may be rearranged for AMX or wide vectors, as llama.cpp does unless told not to.
    """

    def __init__(self, path, threads=2, context=2048, repack=True, flash=lib.LLAMA_FLASH_ATTN_TYPE_AUTO):
        self.model = load(path, repack)
        self.vocab = lib.llama_model_get_vocab(self.model)
        self.vocab_size = lib.llama_vocab_n_tokens(self.vocab)
        self.block = 512  # tokens per call, as in llama-bench
        params = lib.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = context, self.block, self.block
        params.n_seq_max, params.kv_unified = 2, True  # the second for `fill`
        params.flash_attn_type = flash
        params.n_threads = params.n_threads_batch = threads
        self.context = lib.llama_init_from_model(self.model, params)
        if not self.context:
            raise SystemExit(f"llama.cpp can't open a session of {context} tokens:\n{''.join(_log[-12:])}")
        self.batch = lib.llama_batch_init(self.block, 0, 1)
        self.position = 0

    def close(self):
        lib.llama_batch_free(self.batch)
        lib.llama_free(self.context)
        lib.llama_model_free(self.model)

    def tokenize(self, text, special=False):
        """Ids without BOS. `special`: whether names of special tokens in the text become those tokens."""
        data = text.encode()
        ids = (ctypes.c_int32 * (len(data) + 8))()
        count = lib.llama_tokenize(self.vocab, data, len(data), ids, len(ids), False, special)
        if count < 0:
            raise SystemExit(f"llama.cpp can't tokenize {len(data)} bytes of text.")
        return list(ids[:count])

    def text(self, tokens):
        ids = (ctypes.c_int32 * len(tokens))(*tokens)
        out = ctypes.create_string_buffer(64 * len(tokens) + 64)
        count = lib.llama_detokenize(self.vocab, ids, len(tokens), out, len(out), False, True)
        return out.raw[:max(count, 0)].decode("utf-8", "replace")

    def is_stop(self, token):
        return lib.llama_vocab_is_eog(self.vocab, token)

    def reset(self):
        lib.llama_memory_clear(lib.llama_get_memory(self.context), True)
        self.position = 0

    def feed(self, tokens, every=False):
        """Logits after the last token, [1, V], or after each of them, [T, V]."""
        out = []
        for start in range(0, len(tokens), self.block):
            block = tokens[start:start + self.block]
            for i, token in enumerate(block):
                self.batch.token[i] = token
                self.batch.pos[i] = self.position + i
                self.batch.n_seq_id[i] = 1
                self.batch.seq_id[i][0] = 0
                self.batch.logits[i] = every or start + i == len(tokens) - 1
            self.batch.n_tokens = len(block)
            status = lib.llama_decode(self.context, self.batch)
            if status != 0:
                raise SystemExit(f"llama_decode returned {status} at position {self.position} ({len(block)} tokens).")
            self.position += len(block)
            rows = sum(self.batch.logits[i] for i in range(len(block)))
            if rows:
                logits = lib.llama_get_logits(self.context)
                out.append(np.ctypeslib.as_array(logits, (rows, self.vocab_size)).copy())
        return np.concatenate(out)


    def fill(self, tokens):
        """A session as if it had processed so many tokens: the keys and values of the first block over and over, each
        time rotated to where they are. `tokens` is a multiple of the block."""
        memory = lib.llama_get_memory(self.context)
        self.reset()
        self.feed([token % self.vocab_size for token in range(1, self.block + 1)])
        size = lib.llama_state_seq_get_size(self.context, 0)
        state = (ctypes.c_uint8 * size)()
        lib.llama_state_seq_get_data(self.context, state, size, 0)
        for start in range(self.block, tokens, self.block):
            if not lib.llama_state_seq_set_data(self.context, state, size, 1):
                raise SystemExit(f"llama.cpp has no room for {self.block} tokens at position {start}.")
            lib.llama_memory_seq_add(memory, 1, -1, -1, start)
            lib.llama_memory_seq_cp(memory, 1, 0, -1, -1)
            lib.llama_memory_seq_rm(memory, 1, -1, -1)
        self.position = tokens


def weight_buffers(path):
    """Where the weights are once loaded, e.g. `AMX 87.75 MiB, CPU_Mapped 93.80 MiB`; it shows which kernels will run."""
    lib.llama_model_free(load(path))
    return ", ".join(" ".join(b) for b in re.findall(r"(\S+) model buffer size = *([\d.]+ \S+)", "".join(_log)))


def in_f32(path):
    """The same weights as an F32 file, so that no activation is rounded to 8 bits; made once, 4 bytes per weight."""
    copy = paths.PEERS / "f32" / path.name
    if not copy.is_file():
        copy.parent.mkdir(parents=True, exist_ok=True)
        temporary = copy.with_suffix(".partial")
        params = lib.llama_model_quantize_default_params()
        params.ftype, params.allow_requantize = lib.LLAMA_FTYPE_ALL_F32, True
        status = lib.llama_model_quantize(str(path).encode(), str(temporary).encode(), ctypes.byref(params))
        if status != 0:
            raise SystemExit(f"llama.cpp can't write {copy} ({status}):\n{''.join(_log[-12:])}")
        os.replace(temporary, copy)
    return copy


def trained_context(path):
    """Tokens of the context that the model was trained with."""
    model = load(path)
    tokens = lib.llama_model_n_ctx_train(model)
    lib.llama_model_free(model)
    return tokens


def system_info():
    """The CPU features the build uses."""
    return lib.llama_print_system_info().decode()


def bench(path, threads, prompt, decode, depth, repetitions, repack=True):
    """llama-bench: tokens per second, `{"pp512": [..], "tg64": [..]}`; a test of 0 tokens is left out."""
    command = [str(paths.BUILD / "llama-bench"), "-m", str(path), "-t", str(threads), "-p", str(prompt),
               "-n", str(decode), "-d", str(depth), "-fa", "1", "-r", str(repetitions), "-o", "json"]
    if not repack:
        command += ["--repack", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} exited with status {done.returncode}:\n{done.stderr.strip()[-800:]}")
    rows = json.loads(done.stdout)
    return {f"pp{r['n_prompt']}" if r["n_prompt"] else f"tg{r['n_gen']}": r["samples_ts"] for r in rows}


def deep(path, threads, decode, depth, repetitions):
    """Tokens per second of decode from `depth` on, with flash attention: `{"tg64": [..]}`. Warms up first, and goes back to
    that depth for each repetition, as llama-bench does. `depth` is a multiple of 512."""
    session = LlamaCpp(path, threads, depth + decode, flash=lib.LLAMA_FLASH_ATTN_TYPE_ENABLED)
    session.fill(depth)
    samples = []
    for repetition in range(repetitions + 1):
        start = time.perf_counter()
        for token in range(decode):
            session.feed([token * 7919 % session.vocab_size])
        if repetition:
            samples.append(decode / (time.perf_counter() - start))
        lib.llama_memory_seq_rm(lib.llama_get_memory(session.context), 0, depth, -1)
        session.position = depth
    session.close()
    return {f"tg{decode}": samples}
