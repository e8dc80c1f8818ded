#!/usr/bin/env python3
"""How much memory a run takes while a model is uploaded to the GPU.

    cargo build --release
    benches/gpu_memory.py [--attamba PATH] [--mib 600] [--limit 64]

Writes a random llama file of about that many MiB (F16), runs `attamba logits --engine gpu` on it, and samples
/proc/PID/status meanwhile. A software driver keeps the GPU's copy in the memory of the process, so the resident
memory minus the mapped file and minus that copy is the cost of loading. VK_ICD_FILENAMES selects a
driver. Linux, Python 3.8 or later with numpy.
"""

import argparse
import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
F32, F16 = 0, 1


def entry(name):
    data = name.encode()
    return struct.pack("<Q", len(data)) + data


def u32(key, value):
    return entry(key) + struct.pack("<II", 4, value)


def write(path, mib):
    """A llama of width 1024, with as many layers as the size needs."""
    d, ffn, vocab, heads = 1024, 4096, 32000, 16
    layer = 2 * (4 * d * d + 3 * d * ffn)
    layers = max(1, round(((mib << 20) - 2 * 2 * vocab * d) / layer))
    tensors = [("token_embd.weight", (vocab, d)), ("output.weight", (vocab, d)), ("output_norm.weight", (d,))]
    for i in range(layers):
        name = f"blk.{i}."
        tensors += [(name + part + ".weight", (d, d)) for part in ("attn_q", "attn_k", "attn_v", "attn_output")]
        tensors += [(name + part + ".weight", (ffn, d)) for part in ("ffn_gate", "ffn_up")]
        tensors += [(name + "ffn_down.weight", (d, ffn))]
        tensors += [(name + part + ".weight", (d,)) for part in ("attn_norm", "ffn_norm")]
    metadata = [entry("general.architecture") + struct.pack("<I", 8) + entry("llama")]
    sizes = dict(block_count=layers, context_length=2048, embedding_length=d, feed_forward_length=ffn, vocab_size=vocab)
    sizes |= {"attention.head_count": heads, "attention.head_count_kv": heads}
    metadata += [u32("llama." + key, value) for key, value in sizes.items()]
    metadata += [entry("llama.attention.layer_norm_rms_epsilon") + struct.pack("<If", 6, 1e-5)]
    noise = np.random.default_rng(1).standard_normal(1 << 20, dtype=np.float32)
    with open(path, "wb") as out:
        out.write(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)) + b"".join(metadata))
        offset = 0
        for name, shape in tensors:
            kind = F16 if len(shape) == 2 else F32
            out.write(entry(name) + struct.pack("<I", len(shape)))
            out.write(b"".join(struct.pack("<Q", n) for n in reversed(shape)))
            out.write(struct.pack("<IQ", kind, offset))
            offset += int(np.prod(shape)) * (2 if kind == F16 else 4)
        out.write(bytes(-out.tell() % 32))
        for _, shape in tensors:
            count = int(np.prod(shape))
            if len(shape) == 1:
                out.write(np.ones(count, "<f4").tobytes())
                continue
            values = (noise / 32).astype("<f2").tobytes()
            for start in range(0, 2 * count, len(values)):
                out.write(values[: min(len(values), 2 * count - start)])
    # The host looks up the embedding's rows, which stay in the file.
    return offset, offset - 2 * vocab * d


def sample(pid):
    """Resident memory of a process in bytes: total, and that of mapped files."""
    fields = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key in ("VmRSS", "RssFile"):
            fields[key] = int(value.split()[0]) << 10
    return fields["VmRSS"], fields["RssFile"]


def run(command):
    """Peaks of a run's anonymous, mapped and total memory, and its seconds."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    most = [0, 0, 0]
    while process.poll() is None:
        try:
            total, mapped = sample(process.pid)
            most = [max(a, b) for a, b in zip(most, (total - mapped, mapped, total))]
        except (OSError, KeyError):
            pass
        time.sleep(0.005)
    if process.returncode:
        sys.exit(f"{' '.join(map(str, command))} exited with status {process.returncode}")
    return (*most, time.monotonic() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attamba", default=ROOT / "target/release/attamba", help="the attamba command")
    parser.add_argument("--mib", type=int, default=600, help="size of the file (default 600)")
    parser.add_argument("--limit", type=int, default=64, help="MiB that loading may take (default 64)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        size, copy = write(path, args.mib)
        tokens = Path(folder) / "out.f32"
        command = [args.attamba, "logits", path, "--tokens", "1,2,3", "--out", tokens, "--engine", "gpu", "--kv", "f16"]
        own, mapped, total, seconds = run(command)
    mib = lambda number: f"{number / (1 << 20):.1f}"
    print("| file, MiB | GPU copy, MiB | peak without mapped pages, MiB | above the copy, MiB | mapped, MiB | seconds |")
    print("|--:|--:|--:|--:|--:|--:|")
    print(f"| {mib(size)} | {mib(copy)} | {mib(own)} | {mib(own - copy)} | {mib(mapped)} | {seconds:.1f} |")
    sys.exit(0 if own - copy <= args.limit << 20 else f"loading took more than {args.limit} MiB on top of the GPU's copy")


if __name__ == "__main__":
    main()
