#!/usr/bin/env python3
"""Gemma 3 270M, Q4_K_M, in attamba and in llama.cpp, on the same token ids: perplexity of the beginning of the sample text,
past the model's sliding window of 512 tokens, and greedy continuations of ten prompts.

    models/fetch.sh gemma3-270m
    pip install numpy llama-cpp-py-sync
    gemma.py [--attamba PATH]

llama.cpp rounds activations to 8 bits; so its logits for the same weights in F32 are shown too, and both are compared with
those. Where attamba would continue otherwise than llama.cpp, llama.cpp's gap between the two tokens is shown, and whether
llama.cpp chooses attamba's token once its weights are in F32.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

import paths
from attamba import Attamba
from built import LlamaCpp, in_f32

GEMMA = paths.GEMMA
TOKENS, CONTINUED = 640, 40
PROMPTS = (
    "The history of the steam engine begins",
    "Once upon a time, in a village by the sea, there lived a girl who",
    "import argparse\nimport sys\n\n\ndef main():\n    parser =",
    "Photosynthesis is the process by which",
    "Dear Professor Lindqvist,\n\nThank you for your letter of the 14th of March.",
    "La Révolution française commence en 1789, lorsque",
    "The three largest cities of Japan are",
    "Water boils at",
    "In 1969 the first humans",
    "def fibonacci(n):",
)


def perplexity(logits, tokens):
    x, next_tokens = logits[:-1].astype(np.float64), tokens[1:]
    top = x.max(1)
    return np.exp(np.mean(top + np.log(np.exp(x - top[:, None]).sum(1)) - x[np.arange(len(x)), next_tokens]))


def continuation(peer, tokens):
    """llama.cpp's greedy tokens, and the logits each was chosen from."""
    peer.reset()
    chosen, rows = [], [peer.feed(tokens)[-1]]
    while True:
        chosen.append(int(rows[-1].argmax()))
        if len(chosen) == CONTINUED or peer.is_stop(chosen[-1]):
            return chosen, np.stack(rows)
        rows.append(peer.feed(chosen[-1:])[-1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--attamba", type=Path, default=paths.ATTAMBA)
    ours = Attamba(parser.parse_args().attamba)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "f32.gguf")
        in_f32(GEMMA, copy)
        peer, exact = LlamaCpp(GEMMA, 1024), LlamaCpp(copy, 1024)
        tokens = peer.tokenize(paths.SAMPLE.read_text())[:TOKENS]
        want = exact.feed(tokens)
        print(f"{TOKENS} tokens of {paths.SAMPLE.name}:")
        for name, logits in (("llama.cpp, F32", want), ("llama.cpp", peer.feed(tokens)), ("attamba", ours.logits(GEMMA, tokens))):
            error = np.linalg.norm(logits - want) / np.linalg.norm(want)
            same = (logits.argmax(1) == want.argmax(1)).mean()
            print(f"  {name:14} perplexity {perplexity(logits, tokens):.4f}, relative error {error:.1e}, same top token {same:.1%}")
        print(f"{CONTINUED} greedy tokens each:")
        for prompt in PROMPTS:
            tokens = peer.tokenize(prompt)
            chosen, rows = continuation(peer, tokens)
            fed = tokens + chosen[:-1]
            exact.reset()
            other, most = (logits[len(tokens) - 1:].argmax(1) for logits in (ours.logits(GEMMA, fed), exact.feed(fed)))
            differ = [i for i, token in enumerate(chosen) if other[i] != token]
            shown = ", ".join(f"{rows[i][chosen[i]] - rows[i][other[i]]:.2f} ({'F32 too' if other[i] == most[i] else 'F32 not'})"
                              for i in differ)
            print(f"  {prompt[:30]!r}: {shown or 'all the same'}", flush=True)


if __name__ == "__main__":
    main()
