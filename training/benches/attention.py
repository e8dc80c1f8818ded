"""Attention in a few large products compared with attention in blocks: forward and backward, one core, bfloat16.

python training/benches/attention.py [--tokens 4096]
"""

import argparse
import statistics
import time

import torch

from attamba_train.model.attention import Sight, attend_all, attend_chunks
from attamba_train.model.blocked import Blocks, attend_blocks
from attamba_train.model.schedule import Schedule

HEADS, KV_HEADS, HEAD_DIM = 9, 3, 64  # those of SmolLM2-135M
REPEATS = 5


def seconds(attend, tokens: int) -> float:
    """Median of forward and backward of `attend`, a function of queries, keys and values."""
    made = [torch.randn(1, tokens, heads, HEAD_DIM, requires_grad=True) for heads in (HEADS, KV_HEADS, KV_HEADS)]
    taken = []
    for _ in range(REPEATS + 1):
        begun = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            out = attend(*(each.bfloat16() for each in made))
        out.sum().backward()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken[1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=4096)
    tokens = parser.parse_args().tokens
    torch.set_num_threads(1)
    print(f"{tokens} tokens\n\n| attention | large products, ms | blocks, ms | ratio |\n|---|--:|--:|--:|")
    for window in (64, 256, 512, None):
        if window is None:
            name, large, blocks = "full", attend_all, Blocks(None, tokens, tokens, "cpu")
        else:
            schedule = Schedule(16)
            name, sight = f"P 16 L {window}", Sight(schedule, window, tokens, "cpu")
            blocks = Blocks(schedule, window, tokens, "cpu")
            large = lambda q, k, v, sight=sight: attend_chunks(q, k, v, sight)  # noqa: E731
        slow = seconds(large, tokens)
        fast = seconds(lambda q, k, v, blocks=blocks: attend_blocks(q, k, v, blocks), tokens)
        print(f"| {name} | {1000 * slow:.0f} | {1000 * fast:.0f} | {slow / fast:.1f} |")


if __name__ == "__main__":
    main()
