#!/usr/bin/env python3
"""How much of a matrix is lost when `attamba quantize` and llama.cpp write it in a type whose scales are searched for.

    pip install numpy gguf llama-cpp-py-sync
    quantize.py [--attamba PATH] [MODEL]

Root mean square of the error, relative to that of the values: of normal values, of heavy-tailed ones, and of the embedding
of MODEL (default: SmolLM2, if it has been fetched), 2^20 of each, in rows of 4096. No matrix of importances is given.
"""

import argparse
import ctypes
import tempfile
from pathlib import Path

import gguf
import llama_cpp_py_sync
import numpy as np
from gguf.quants import dequantize

import paths
from attamba import Attamba

TYPES = ("Q6_K", "Q5_K", "Q4_K", "IQ4_NL", "Q3_K")
ROWS, COLUMNS = 256, 4096


def llama_cpp():
    """A function from values and a type to blocks."""
    library = ctypes.CDLL(str(Path(llama_cpp_py_sync.__file__).parent / "libggml-base.so.0"))
    quantize = library.ggml_quantize_chunk
    quantize.restype = ctypes.c_size_t
    quantize.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 3, ctypes.c_void_p]

    def blocks(values, kind):
        length, size = gguf.GGML_QUANT_SIZES[kind]
        out = np.zeros((ROWS, COLUMNS // length * size), np.uint8)
        quantize(int(kind), values.ctypes.data, out.ctypes.data, 0, ROWS, COLUMNS, None)
        return out

    return blocks


def samples(model):
    rng = np.random.default_rng(1)
    yield "normal", rng.standard_normal((ROWS, COLUMNS))
    yield "Student's t with 4 degrees", rng.standard_t(4, (ROWS, COLUMNS))
    if model.exists():
        tensor = next(t for t in gguf.GGUFReader(model).tensors if t.name == "token_embd.weight")
        values = dequantize(tensor.data, tensor.tensor_type).reshape(-1)
        yield f"embedding of {model.stem}", values[:ROWS * COLUMNS].reshape(ROWS, COLUMNS)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, default=paths.SMOLLM2, metavar="MODEL")
    parser.add_argument("--attamba", type=Path, default=paths.ATTAMBA, help="the attamba command")
    args = parser.parse_args()
    ours, theirs = Attamba(args.attamba), llama_cpp()
    print("| values | type | llama.cpp | attamba | ratio |\n|---|---|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        for name, values in samples(args.model):
            values = np.ascontiguousarray(values, np.float32)
            source, target = Path(folder, "f32.gguf"), Path(folder, "blocks.gguf")
            writer = gguf.GGUFWriter(source, "llama")
            writer.add_tensor("blk.0.ffn_up.weight", values)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()
            for type_name in TYPES:
                kind = gguf.GGMLQuantizationType[type_name]
                ours.run("quantize", source, target, type_name, "--force")
                written = gguf.GGUFReader(target).tensors[0].data
                errors = [np.linalg.norm(dequantize(blocks, kind).reshape(values.shape) - values) / np.linalg.norm(values)
                          for blocks in (theirs(values, kind), written)]
                print(f"| {name} | {type_name} | {errors[0]:.4f} | {errors[1]:.4f} | {errors[1] / errors[0]:.3f} |", flush=True)


if __name__ == "__main__":
    main()
