#!/usr/bin/env python3
"""Speed on a GPU, and how much of its memory bandwidth decode uses.

    cargo build --release
    benches/gpu_speed.py MODEL ... [--adapter NAME] [--bandwidth GB_PER_SECOND] [--depths 0,4096,32768] [--peer LLAMA_BENCH]

Runs `attamba bench --engine gpu` and prints prefill and decode in tokens per second, the weights that decode reads in
GB/s, and, if the bandwidth is given (from the vendor's data sheet), the fraction of it. Decode reads the file
without the embedding if there is a separate head; keys and values, which grow with the depth of a transformer, are
not counted. With `--peer`, a llama-bench built with Vulkan (`peers/README.md`), llama files run there too, with
flash attention, and the ratio is printed. Python 3.8 or later and the package `gguf`.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from gguf import GGUFReader

ROOT = Path(__file__).resolve().parent.parent
PROMPT, DECODE = 512, 64


def is_llama(path):
    return GGUFReader(path).fields["general.architecture"].contents() == "llama"


def weights_read(path):
    """Bytes of the weights that each token is multiplied by."""
    tensors = {tensor.name: tensor.n_bytes for tensor in GGUFReader(path).tensors}
    looked_up = tensors["token_embd.weight"] if "output.weight" in tensors else 0
    return sum(tensors.values()) - int(looked_up)


def bench(args, model):
    command = [args.attamba, "bench", "--engine", "gpu", "-m", model, "--json", "-v"]
    command += ["-p", str(PROMPT), "-n", str(DECODE), "-d", args.depths, "-r", str(args.repeat)]
    if args.adapter:
        command += ["--adapter", args.adapter]
    return run(command)


def bench_peer(args, model):
    """Medians of the peer's tests, by test and depth."""
    command = [args.peer, "-m", model, "-p", str(PROMPT), "-n", str(DECODE), "-d", args.depths, "-r", str(args.repeat)]
    found = {}
    for row in run([*command, "-ngl", "99", "-fa", "1", "-o", "json"]):
        test = f"pp{row['n_prompt']}" if row["n_prompt"] else f"tg{row['n_gen']}"
        found[test, row["n_depth"]] = statistics.median(row["samples_ts"])
    return found


def run(command):
    try:
        ran = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    except OSError as error:
        sys.exit(f"{command[0]} can't be run: {error.strerror}")
    if ran.returncode:
        sys.exit(f"{' '.join(map(str, command))} exited with status {ran.returncode}")
    return json.loads(ran.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--attamba", default=ROOT / "target/release/attamba", help="the attamba command")
    parser.add_argument("--adapter", help="part of the GPU's name")
    parser.add_argument("--bandwidth", type=float, help="bandwidth of the GPU's memory, in GB/s")
    parser.add_argument("--depths", default="0,4096,32768")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--peer", metavar="LLAMA_BENCH", help="llama.cpp's llama-bench, built for this GPU")
    args = parser.parse_args()
    peer_heads = " llama.cpp, tokens/s | ratio |" if args.peer else ""
    print(f"| file | test | depth | tokens/s | weights read, GB/s | share of bandwidth |{peer_heads}")
    print("|---|---|--:|--:|--:|--:|" + "--:|--:|" * bool(args.peer))
    for model in args.models:
        read = weights_read(model)
        peer = bench_peer(args, model) if args.peer and is_llama(model) else {}
        for row in bench(args, model):
            rate, share = "", ""
            if row["test"].startswith("tg"):
                rate = f"{read * row['median'] / 1e9:.1f}"
                share = f"{read * row['median'] / 1e7 / args.bandwidth:.0f} %" if args.bandwidth else ""
            cells = [model.stem, row["test"], row["depth"], f"{row['median']:.1f}", rate, share]
            if args.peer:
                theirs = peer.get((row["test"], row["depth"]))
                cells += [f"{theirs:.1f}", f"{row['median'] / theirs:.2f}"] if theirs else ["", ""]
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
