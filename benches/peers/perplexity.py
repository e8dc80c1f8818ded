#!/usr/bin/env python3
"""Perplexity of the same text in attamba and in llama.cpp.

The text is tokenized without BOS and split into windows of --context tokens; a shorter final window counts if it has at
least two. Each window is fed to a fresh session, and every token of it but the first is scored by the logits before it.
Perplexity is exp of the mean negative log-likelihood over all scored tokens. Exit code 1 if the two differ by more
than --tolerance.
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np

import paths
from attamba import Attamba
from llamacpp import LlamaCpp


def negative_log_likelihoods(logits, tokens):
    """Negative log-likelihood of tokens[1:], given logits [T, V] after each token."""
    rows = logits[:-1].astype(np.float64)
    top = rows.max(axis=1)
    log_sum = top + np.log(np.exp(rows - top[:, None]).sum(axis=1))
    return log_sum - rows[np.arange(len(rows)), tokens[1:]]


def peer_perplexity(peer, text, context):
    tokens = peer.tokenize(text)
    losses = []
    for start in range(0, len(tokens), context):
        window = tokens[start:start + context]
        if len(window) < 2:
            break
        peer.reset()
        losses.append(negative_log_likelihoods(peer.feed(window, every=True), window))
    if not losses:
        raise SystemExit("The text is shorter than two tokens.")
    losses = np.concatenate(losses)
    return math.exp(losses.mean()), len(losses), len(tokens)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="?", type=Path, default=paths.SAMPLE, help="a UTF-8 file (default: sample.txt)")
    parser.add_argument("--model", default="smollm2", help="smollm2, or a GGUF file with its tokenizer")
    parser.add_argument("--attamba", default=paths.ATTAMBA, help="the attamba command")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-c", "--context", type=int, default=512, help="tokens per window (default 512)")
    parser.add_argument("--tolerance", type=float, default=0.005, help="relative difference allowed (default 0.005)")
    parser.add_argument("--peer-only", action="store_true", help="only llama.cpp")
    args = parser.parse_args()
    model = paths.model(args.model)
    try:
        text = args.text.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f"{args.text} can't be read as text: {error}.") from None
    ours = None if args.peer_only else Attamba(args.attamba, args.threads)

    theirs, scored, total = peer_perplexity(LlamaCpp(model, args.threads, args.context), text, args.context)
    print(f"llama.cpp  {theirs:.4f}  over {scored} of {total} tokens")
    if ours is None:
        return
    answer = ours.perplexity(model, args.text, args.context)
    mine, count = answer["perplexity"], answer["tokens"]
    print(f"attamba    {mine:.4f}  over {count} tokens")
    difference = mine / theirs - 1
    print(f"difference {difference:+.4%}, allowed {args.tolerance:.2%}")
    if count not in (scored, total):
        print("The token counts differ: the two don't tokenize or split the text alike.")
    sys.exit(0 if abs(difference) <= args.tolerance and count in (scored, total) else 1)


if __name__ == "__main__":
    main()
