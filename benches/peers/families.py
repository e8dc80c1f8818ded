#!/usr/bin/env python3
"""Whether llama.cpp reads the small models of public families that tests/families.rs compares attamba with as transformers
reads them, so that names, orders of rows and conventions are those of the public files.

    pip install numpy gguf llama-cpp-py-sync       llama.cpp, built; the package needs no compiler
    families.py

Prints the relative error of llama.cpp's logits, with keys and values in single precision. llama.cpp ignores the sliding
windows of some models: of those only positions within the window are compared. Exit code 1 if any differs.

One is left out: llama.cpp has windows in an EXAONE 4, and layers without rotation, only if it has 64 layers.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from llama_cpp_py_sync._cffi_bindings import get_ffi, get_lib

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/families"))
import families  # noqa: E402

BOUND = 1e-3
# It has no windows in these.
SEEN_ALL = ("mistral", "phi3")
LEFT_OUT = ("exaone4_windows",)

ffi, lib = get_ffi(), get_lib()


@ffi.callback("void(enum ggml_log_level, char *, void *)")
def quiet(_level, _text, _user):
    pass


def logits(file, tokens, context):
    """Of all tokens, [T, V]."""
    model = lib.llama_model_load_from_file(str(file).encode(), lib.llama_model_default_params())
    if model == ffi.NULL:
        raise SystemExit(f"llama.cpp can't load {file.name}")
    params = lib.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch = context, context, context
    params.type_k = params.type_v = 0  # F32
    params.flash_attn_type = 0
    session = lib.llama_init_from_model(model, params)
    batch = lib.llama_batch_init(len(tokens), 0, 1)
    for i, token in enumerate(tokens):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = token, i, 1, 0, 1
    batch.n_tokens = len(tokens)
    if lib.llama_decode(session, batch) != 0:
        raise SystemExit(f"llama.cpp can't decode {file.name}")
    vocab = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))
    rows = ffi.buffer(lib.llama_get_logits(session), 4 * vocab * len(tokens))
    out = np.frombuffer(rows, np.float32).reshape(len(tokens), vocab).copy()
    lib.llama_batch_free(batch)
    lib.llama_free(session)
    lib.llama_model_free(model)
    return out


def main():
    bad = 0
    lib.llama_log_set(quiet, ffi.NULL)
    lib.llama_backend_init()
    with tempfile.TemporaryDirectory() as folder:
        for name, family in families.FAMILIES.items():
            if name in LEFT_OUT:
                continue
            file = Path(folder, name + ".gguf")
            family.write(file, np.float32)
            count = family.config["sliding_window"] if name in SEEN_ALL else families.TOKENS
            got = logits(file, family.tokens()[:count], family.config["max_position_embeddings"])
            want = np.fromfile(families.kept(name), "<f4").reshape(families.TOKENS, -1)[:count]
            error = families.relative_error(got, want)
            bad += not error < BOUND
            print(f"{name:14} {count} tokens, relative error {error:.1e}", "" if error < BOUND else " DIFFERS", flush=True)
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
