#!/usr/bin/env python3
"""Whether attamba and llama.cpp agree: greedy continuations of ten prompts, token by token.

Both get the same token ids (from llama.cpp's tokenizer). Activations are rounded to 8 bits on the way, and any change in
the order of summation changes the rounding; so llama.cpp differs from itself, with and without its rearranged weights
(--repack 0), and where the top two tokens are close, so does its choice. That is measured first, on these very
prompts: the standard deviation of the change in the gap between the top two logits. Where attamba picks another
token, the gap between llama.cpp's logits of the two is shown. Up to three such deviations it is a near-tie: llama.cpp's
token is then taken and the comparison continues from there. A wider gap is a failure, exit code 1.
"""

import argparse
import math
import sys

import numpy as np

import paths
from attamba import Attamba
from llamacpp import LlamaCpp

PLAIN = (
    "The history of the steam engine begins",
    "Once upon a time, in a village by the sea, there lived a girl who",
    "import argparse\nimport sys\n\n\ndef main():\n    parser =",
    "Photosynthesis is the process by which",
    "Dear Professor Lindqvist,\n\nThank you for your letter of the 14th of March.",
    "La Révolution française commence en 1789, lorsque",
)
QUESTIONS = (
    "Explain how a bicycle stays upright.",
    "Write a short story about a lighthouse keeper and a whale.",
    "What are the differences between a virus and a bacterium?",
    "Plan a three-day walk in the mountains, with what to pack 🏔️.",
)


def prompts(peer):
    for text in PLAIN:
        yield text, peer.tokenize(text)
    for text in QUESTIONS:
        chat = ("<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
                f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n")
        yield text, peer.tokenize(chat, special=True)


def continuation(peer, tokens, count):
    """llama.cpp's greedy tokens up to and including a stop token, and the logits each was chosen from."""
    peer.reset()
    row = peer.feed(tokens)[-1]
    chosen, rows = [], []
    while True:
        chosen.append(int(row.argmax()))
        rows.append(row)
        if len(chosen) == count or peer.is_stop(chosen[-1]):
            return chosen, rows
        row = peer.feed(chosen[-1:])[-1]


def first_difference(a, b):
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


class Answer:
    """llama.cpp's answer to one prompt, and what it would have been without rearranged weights."""

    def __init__(self, text, tokens, peer, plain, count):
        self.text, self.tokens = text, tokens
        self.chosen, rows = continuation(peer, tokens, count)
        self.rows = np.stack(rows)
        plain.reset()
        self.others = plain.feed(tokens + self.chosen[:-1], every=True)[len(tokens) - 1:]

    def shifts(self):
        """How much the gap between the top two tokens at each position changes from one way to the other."""
        place = np.arange(len(self.rows))
        second, best = np.argsort(self.rows, axis=1)[:, -2:].T
        change = self.rows - self.others
        return change[place, best] - change[place, second]

    def other_choices(self):
        """llama.cpp's gaps at the positions where the other way chooses another token."""
        other = self.others.argmax(axis=1)
        return [self.gap(i, token) for i, token in enumerate(other) if token != self.chosen[i]]

    def gap(self, place, token):
        return float(self.rows[place, self.chosen[place]] - self.rows[place, token])


def differences(answer, ours, model, limit):
    """(position, our token, gap) up to the first gap wider than `limit`; the token is None where attamba stopped."""
    done, want = 0, answer.chosen
    while done < len(want):
        got = ours.generate(model, answer.tokens + want[:done], len(want) - done)
        skip = first_difference(got, want[done:])
        if done + skip == len(want):
            return
        token = got[skip] if skip < len(got) else None
        gap = math.inf if token is None else answer.gap(done + skip, token)
        yield done + skip, token, gap
        if gap > limit:
            return
        done += skip + 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2", help="smollm2, or a GGUF file with its tokenizer")
    parser.add_argument("--attamba", default=paths.ATTAMBA, help="the attamba command")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-n", "--count", type=int, default=64, help="maximum tokens per prompt (default 64)")
    parser.add_argument("--near-tie", type=float, metavar="GAP", help="widest gap of a near-tie (default: measured)")
    parser.add_argument("--peer-only", action="store_true", help="only llama.cpp, with its answers")
    args = parser.parse_args()
    model = paths.model(args.model)
    ours = None if args.peer_only else Attamba(args.attamba, args.threads)
    peer, plain = LlamaCpp(model, args.threads), LlamaCpp(model, args.threads, repack=False)
    answers = [Answer(text, tokens, peer, plain, args.count) for text, tokens in prompts(peer)]

    total = sum(len(a.chosen) for a in answers)
    own = [gap for a in answers for gap in a.other_choices()]
    deviation = float(np.concatenate([a.shifts() for a in answers]).std())
    limit = 3 * deviation if args.near_tie is None else args.near_tie
    print(f"llama.cpp compared with itself without rearranged weights: another token at {len(own)} of {total} positions, "
          f"gaps up to {max(own, default=0):.3f}; standard deviation of a gap {deviation:.3f}")
    print(f"near-tie: a gap of at most {limit:.3f}")

    wrong, gaps, equal = 0, [], 0
    for answer in answers:
        count = len(answer.chosen)
        print(f"{answer.text.splitlines()[0][:60]!r}, {len(answer.tokens)} tokens")
        if ours is None:
            print(f"  {count} tokens: {peer.text(answer.chosen)!r}")
            continue
        found = list(differences(answer, ours, model, limit))
        for place, token, gap in found:
            its = answer.chosen[place]
            our = "stopped" if token is None else f"{token} {peer.text([token])!r}"
            print(f"  token {place}: llama.cpp {its} {peer.text([its])!r}, attamba {our}; gap {gap:.3f}: "
                  f"{'near-tie' if gap <= limit else 'DIFFERENT'}")
        failed = bool(found) and found[-1][2] > limit
        if not failed:
            ended = ", where it ends" if count < args.count else ""
        print(f"  equal over {count} tokens{ended}" + f" except for {len(found)} near-tie(s)" * bool(found))
        wrong += failed
        equal += not found
        gaps += [gap for _, _, gap in found]
    if ours:
        print(f"{equal} prompts equal, {len(answers) - equal - wrong} equal except for near-ties, {wrong} different; "
              f"another token at {len(gaps)} of {total} positions, gaps up to {max(gaps, default=0):.3f}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
