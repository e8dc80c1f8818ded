#!/usr/bin/env python3
"""Random models for measuring speed: real dimensions, meaningless weights.

    make_models.py [NAME ...]     NAME is ARCH-SIZE-TYPE, e.g. llama-1.1b-q4_0 (default: those of 1.1B in Q4_0 and Q8_0)
    make_models.py --list

ARCH is llama or attamba, SIZE 1.1b (TinyLlama's) or 135m (SmolLM2's), TYPE a block format that the gguf package
writes (q4_0 q4_1 q5_0 q5_1 q8_0 f16 bf16 f32), or q4_k, whose blocks are drawn. Rows that don't fill blocks of Q4_K get Q5_0,
as from llama.cpp. Weights are drawn, quantized and written one tensor at a time.
"""

import argparse
import os
import zlib

import gguf
import numpy as np
from gguf.quants import quantize

import paths

SIZES = {
    "1.1b": {"d": 2048, "layers": 22, "heads": 32, "kv_heads": 4, "ffn": 5632, "vocab": 32000, "tied": False,
             "inner": 512},
    "135m": {"d": 576, "layers": 30, "heads": 9, "kv_heads": 3, "ffn": 1536, "vocab": 49152, "tied": True,
             "inner": 384},
}
CONTEXT = 32768
# Attamba's own dimensions; `inner` above is twice kv_heads * head_dim, the expansion of Mamba-2.
CHUNK = {"length": 8, "window": 64}
SSM = {"state": 16, "groups": 1, "heads": 8, "conv": 4}
FAR_HEADS = 14  # KV heads of the llama files that see far in a session by head: as many as SmolLM2 has
ARCHITECTURES = ("llama", "attamba")
TYPES = ("q4_k", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "f16", "bf16", "f32")
DEFAULT = [f"{a}-1.1b-{t}" for a in ARCHITECTURES for t in ("q4_0", "q8_0")]


def tensors(arch, c):
    """Name, shape, mean and standard deviation of each tensor. A matrix of std about 1/sqrt(in) preserves its input's
    magnitude, so each layer adds a term of order one to the residual stream and nothing overflows."""
    d, kv = c["d"], c["d"] // c["heads"] * c["kv_heads"]

    def matrix(name, out, into, gain=1.0):
        return name, (out, into), 0.0, gain * into ** -0.5

    def vector(name, n, mean=1.0, std=0.1):
        return name, (n,), mean, std

    yield "token_embd.weight", (c["vocab"], d), 0.0, 3 * d ** -0.5 if c["tied"] else 1.0
    for i in range(c["layers"]):
        p = f"blk.{i}."
        yield vector(p + "attn_norm.weight", d)
        yield matrix(p + "attn_q.weight", d, d, 2.0)
        yield matrix(p + "attn_k.weight", kv, d, 2.0)
        yield matrix(p + "attn_v.weight", kv, d)
        if arch == "attamba":
            mixed = c["inner"] + 2 * SSM["groups"] * SSM["state"]
            for side in "kv":
                s = f"{p}ssm_{side}_"
                yield matrix(s + "in.weight", c["inner"] + mixed + SSM["heads"], kv)
                yield s + "conv1d.weight", (mixed, SSM["conv"]), 0.0, SSM["conv"] ** -0.5
                yield vector(s + "conv1d.bias", mixed, 0.0)
                yield vector(s + "dt.bias", SSM["heads"], 0.0, 0.5)
                yield vector(s + "a", SSM["heads"], -1.0, 0.2)
                yield vector(s + "d", SSM["heads"])
                yield vector(s + "norm.weight", c["inner"])
                yield matrix(s + "out.weight", kv, c["inner"])
        yield matrix(p + "attn_output.weight", d, d)
        yield vector(p + "ffn_norm.weight", d)
        yield matrix(p + "ffn_gate.weight", c["ffn"], d)
        yield matrix(p + "ffn_up.weight", c["ffn"], d)
        yield matrix(p + "ffn_down.weight", d, c["ffn"])
    yield vector("output_norm.weight", d)
    if not c["tied"]:
        yield matrix("output.weight", c["vocab"], d, 3.0)


def byte_letters():
    """GPT-2's printable substitutes for the 256 bytes."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = [b for b in range(256) if b not in kept]
    return {**{b: chr(b) for b in kept}, **{b: chr(256 + i) for i, b in enumerate(moved)}}


def add_tokenizer(w, size):
    """A byte-level vocabulary with one merge, padded with names that occur in no text."""
    letters = byte_letters()
    tokens = [letters[b] for b in range(256)] + [letters[32] + "t"]
    tokens += [f"<|{i}|>" for i in range(len(tokens), size - 1)] + ["<|endoftext|>"]
    normal, control = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(tokens)
    w.add_token_types([normal] * (size - 1) + [control])
    w.add_token_merges([f"{letters[32]} t"])
    w.add_bos_token_id(size - 1)
    w.add_eos_token_id(size - 1)
    w.add_add_bos_token(False)


def add_metadata(w, arch, c):
    head_dim = c["d"] // c["heads"]
    w.add_block_count(c["layers"])
    w.add_context_length(CONTEXT)
    w.add_embedding_length(c["d"])
    w.add_feed_forward_length(c["ffn"])
    w.add_vocab_size(c["vocab"])
    w.add_head_count(c["heads"])
    w.add_head_count_kv(c["kv_heads"])
    w.add_key_length(head_dim)
    w.add_value_length(head_dim)
    w.add_rope_dimension_count(head_dim)
    w.add_rope_freq_base(10000.0)
    w.add_layer_norm_rms_eps(1e-5)
    if arch == "llama":
        # Spread evenly over the layers. llama.cpp does not read the key.
        heads = c["layers"] * c["kv_heads"]
        far = [i * heads // FAR_HEADS for i in range(FAR_HEADS)]
        w.add_key_value("llama.memory.far_heads", far, gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.UINT32)
    if arch == "attamba":
        offsets = [i * CHUNK["length"] // c["layers"] for i in range(c["layers"])]  # cyclic
        w.add_bool("attamba.attention.projected_kv", True)
        w.add_uint32("attamba.chunk.length", CHUNK["length"])
        w.add_uint32("attamba.chunk.window", CHUNK["window"])
        w.add_bool("attamba.chunk.carry_state", False)
            # The package would write a plain list as int32; the specification says u32.
        w.add_key_value("attamba.chunk.offsets", offsets, gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.UINT32)
        w.add_ssm_conv_kernel(SSM["conv"])
        w.add_ssm_inner_size(c["inner"])
        w.add_ssm_state_size(SSM["state"])
        w.add_ssm_time_step_rank(SSM["heads"])
        w.add_ssm_group_count(SSM["groups"])


def q4_k(rng, shape, std):
    """Blocks of normal spread around zero, with scales and minima that are equal; `d * minimum` is the middle of the quants."""
    blocks = rng.integers(256, size=(*shape[:-1], shape[-1] // 256, 144), dtype=np.uint8)
    # Root mean squares: of a scale in 0..64 about 36.4, of a quant in 0..16 about its middle 4.6.
    d = std / (36.4 * 4.6)
    blocks[..., :4] = np.array([d, 7.5 * d], np.float16).view(np.uint8)
    blocks[..., 8:12] = blocks[..., 4:8]
    blocks[..., 12:16] = blocks[..., 12:16] % 16 * 17
    return blocks.reshape(*shape[:-1], -1)


def make(name, path):
    arch, size, type_name = name.split("-", 2)
    c = SIZES[size]
    wanted = gguf.GGMLQuantizationType[type_name.upper()]

    def type_of(tensor, shape):
        if len(shape) == 1 or "conv1d" in tensor:  # vectors and convolutions are F32 in every file
            return gguf.GGMLQuantizationType.F32
        fits = shape[-1] % gguf.GGML_QUANT_SIZES[wanted][0] == 0
        return gguf.GGMLQuantizationType.Q5_0 if type_name == "q4_k" and not fits else wanted

    temporary = path.with_suffix(".partial")
    w = gguf.GGUFWriter(temporary, arch)
    w.add_name(name)
    file_type = {"f32": "ALL_F32", "q4_k": "MOSTLY_Q4_K_S"}.get(type_name, f"MOSTLY_{type_name.upper()}")
    w.add_file_type(gguf.LlamaFileType[file_type])
    add_metadata(w, arch, c)
    add_tokenizer(w, c["vocab"])
    for tensor, shape, _, _ in tensors(arch, c):
        kind = type_of(tensor, shape)
        block, width = gguf.GGML_QUANT_SIZES[kind]
        if shape[-1] % block:
            raise SystemExit(f"{tensor} has rows of {shape[-1]} weights, not a multiple of {kind.name}'s {block}.")
        rows = (*shape[:-1], shape[-1] // block * width)
        w.add_tensor_info(tensor, rows if kind != gguf.GGMLQuantizationType.F32 else shape,
                          np.dtype(np.float32 if kind == gguf.GGMLQuantizationType.F32 else np.uint8),
                          int(np.prod(rows)), raw_dtype=kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_ti_data_to_file()
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    for tensor, shape, mean, std in tensors(arch, c):
        kind = type_of(tensor, shape)
        if kind == gguf.GGMLQuantizationType.Q4_K:
            w.write_tensor_data(q4_k(rng, shape, std))
            continue
        data = rng.standard_normal(shape, dtype=np.float32)
        data *= std
        data += mean
        if tensor.endswith("_a"):
            data = -np.abs(data)  # a decay is negative
        w.write_tensor_data(quantize(data, kind))
    w.close()
    os.replace(temporary, path)


def check(name):
    parts = name.split("-", 2)
    if len(parts) != 3 or parts[0] not in ARCHITECTURES or parts[1] not in SIZES or parts[2] not in TYPES:
        raise SystemExit(f"'{name}' is not ARCH-SIZE-TYPE with ARCH one of {', '.join(ARCHITECTURES)}, "
                         f"SIZE one of {', '.join(SIZES)}, TYPE one of {', '.join(TYPES)}.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true", help="print the names that can be made")
    parser.add_argument("--force", action="store_true", help="overwrite existing files")
    args = parser.parse_args()
    if args.list:
        print("\n".join(f"{a}-{s}-{t}" for a in ARCHITECTURES for s in SIZES for t in TYPES))
        return
    names = args.names or DEFAULT
    for name in names:
        check(name)
    paths.RANDOM_MODELS.mkdir(parents=True, exist_ok=True)
    for name in names:
        path = paths.RANDOM_MODELS / f"{name}.gguf"
        if path.exists() and not args.force:
            print(f"{path} already exists.")
            continue
        make(name, path)
        print(f"{path}  {path.stat().st_size / 1e6:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
