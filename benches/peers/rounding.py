#!/usr/bin/env python3
"""How exact the logits are: attamba and llama.cpp, each compared with the same weights computed in F32.

The reference is llama.cpp on a copy of the file whose weights are dequantized to F32 (K and V in f16), where activations
are never rounded to 8 bits. All engines read the same tokens of a text in windows. An engine that sums as accurately as
llama.cpp has about llama.cpp's errors.
"""

import argparse
from pathlib import Path

import numpy as np

import llamacpp
import paths
from attamba import Attamba
from llamacpp import LlamaCpp


class Errors:
    """Differences of one engine's logits from the reference's, summed over windows."""

    def __init__(self):
        self.square = self.norm = self.same = self.tokens = 0
        self.shifts = []

    def add(self, got, want):
        change = got - want
        self.square += float(np.square(change, dtype=np.float64).sum())
        self.norm += float(np.square(want, dtype=np.float64).sum())
        self.same += int((got.argmax(axis=1) == want.argmax(axis=1)).sum())
        self.tokens += len(want)
        place = np.arange(len(want))
        second, best = np.argsort(want, axis=1)[:, -2:].T
        self.shifts.append(change[place, best] - change[place, second])

    def row(self):
        relative = (self.square / self.norm) ** 0.5
        return f"{relative:.2e} | {self.same / self.tokens:.3f} | {np.concatenate(self.shifts).std():.3f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="?", type=Path, default=paths.SAMPLE, help="a UTF-8 file (default: sample.txt)")
    parser.add_argument("--model", default="smollm2", help="smollm2, or a GGUF file with its tokenizer")
    parser.add_argument("--attamba", default=paths.ATTAMBA, help="the attamba command")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--windows", type=int, default=4, help="windows of 256 tokens (default 4)")
    parser.add_argument("--peer-only", action="store_true", help="only llama.cpp")
    args = parser.parse_args()
    model, size = paths.model(args.model), 256
    judge = LlamaCpp(llamacpp.in_f32(model), args.threads, size)
    peers = {name: LlamaCpp(model, args.threads, size, repack) for name, repack in
             (("llama.cpp", True), ("llama.cpp --repack 0", False))}
    ours = {} if args.peer_only else {
        f"attamba, {activations} activations": Attamba(args.attamba, args.threads, activations)
        for activations in ("int14", "int8")
    }
    errors = {name: Errors() for name in [*peers, *ours]}

    tokens = judge.tokenize(args.text.read_text(encoding="utf-8"))[:args.windows * size]
    for start in range(0, len(tokens), size):
        window = tokens[start:start + size]
        judge.reset()
        want = judge.feed(window, every=True)
        for name, peer in peers.items():
            peer.reset()
            errors[name].add(peer.feed(window, every=True), want)
        for name, engine in ours.items():
            errors[name].add(engine.logits(model, window), want)
    print(f"{len(tokens)} tokens in windows of {size}, compared with F32\n")
    print("| engine | relative error | same top token | deviation of the top-two gap |")
    print("|---|---:|---:|---:|")
    for name, found in errors.items():
        print(f"| {name} | {found.row()} |")


if __name__ == "__main__":
    main()
