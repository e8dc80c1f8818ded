#!/usr/bin/env python3
"""Speed on a GPU, and how much of its memory bandwidth decode uses.

    cargo build --release
    benches/gpu_speed.py MODEL ... [--adapter NAME] [--bandwidth GB_PER_SECOND] [--depths 0,4096,32768]

Runs `attamba bench --engine gpu` and prints prefill and decode in tokens a second, the weights that decode reads in
GB/s, and, where the bandwidth is given (from the vendor's sheet), the fraction of it. What decode reads is the file
without the embedding where there is a head of its own; keys and values, which grow with the depth of a transformer, are
not counted. Python 3.8 or later and the package `gguf`.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from gguf import GGUFReader

ROOT = Path(__file__).resolve().parent.parent


def weights_read(path):
    """Bytes of weights that a token is multiplied with."""
    tensors = {tensor.name: tensor.n_bytes for tensor in GGUFReader(path).tensors}
    looked_up = tensors["token_embd.weight"] if "output.weight" in tensors else 0
    return sum(tensors.values()) - int(looked_up)


def bench(args, model):
    command = [args.attamba, "bench", "--engine", "gpu", "-m", model, "--json", "-v"]
    command += ["-p", "512", "-n", "64", "-d", args.depths, "-r", str(args.repeat)]
    if args.adapter:
        command += ["--adapter", args.adapter]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if ran.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with {ran.returncode}")
    return json.loads(ran.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--attamba", default=ROOT / "target/release/attamba", help="the attamba command")
    parser.add_argument("--adapter", help="part of the GPU's name")
    parser.add_argument("--bandwidth", type=float, help="of the GPU's memory, in GB/s")
    parser.add_argument("--depths", default="0,4096,32768")
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    print("| file | test | depth | tokens/s | weights read, GB/s | of the bandwidth |")
    print("|---|---|--:|--:|--:|--:|")
    for model in args.models:
        read = weights_read(model)
        for row in bench(args, model):
            rate, share = "", ""
            if row["test"].startswith("tg"):
                rate = f"{read * row['median'] / 1e9:.1f}"
                share = f"{read * row['median'] / 1e7 / args.bandwidth:.0f} %" if args.bandwidth else ""
            print(f"| {model.stem} | {row['test']} | {row['depth']} | {row['median']:.1f} | {rate} | {share} |", flush=True)


if __name__ == "__main__":
    main()
