"""llama.cpp as the PyPI package llama-cpp-py-sync brings it, already built. For what needs exact agreement, not speed."""

import os

import numpy as np
from llama_cpp_py_sync._cffi_bindings import get_ffi, get_lib

ffi, lib = get_ffi(), get_lib()


@ffi.callback("void(enum ggml_log_level, char *, void *)")
def _quiet(_level, _text, _user):
    pass


lib.llama_log_set(_quiet, ffi.NULL)
lib.llama_backend_init()


class LlamaCpp:
    """A model and one session of it, without flash attention."""

    def __init__(self, file, context, single=False):
        """`single`: whether keys and values are in single precision instead of half."""
        self.model = lib.llama_model_load_from_file(str(file).encode(), lib.llama_model_default_params())
        if self.model == ffi.NULL:
            raise SystemExit(f"llama.cpp can't load {file}.")
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
