#!/usr/bin/env python3
"""Time from the start of a program to the first token of its answer to a chat message, in attamba and in llama.cpp.

    pip install numpy llama-cpp-py-sync
    first_token.py [--rounds N] [--threads N] [MODEL ...]    default: SmolLM2; a file with a chat template

attamba is `attamba chat` with the message on standard input, from the start of its process to the first byte of the answer.
llama.cpp, in a fresh process that has already loaded its library, loads the model, opens a session of 4096 tokens, writes
the same messages with the template, processes them, and chooses a token. The two alternate; medians are compared. The file
is in the page cache: the first round, which is not counted, warms it.
"""

import argparse
import statistics
import subprocess
import time
from pathlib import Path

import built
import paths

SYSTEM = "You are a helpful assistant."
MESSAGES = {"a short message": "Why is the sky blue?", "400 words": paths.SAMPLE.read_text()}


def attamba(binary, model, threads, message):
    command = [binary, "chat", "-m", model, "--threads", str(threads), "--system", SYSTEM, "--greedy", "-n", "8"]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    process.stdin.write((message + "\n").encode())
    process.stdin.close()
    first = process.stdout.read(1)
    seconds = time.perf_counter() - start
    process.stdout.read()
    if process.wait() or not first.strip():
        raise SystemExit(f"{' '.join(map(str, command))} gave no answer.")
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["smollm2"], metavar="MODEL", help="names as of speed.py, or files")
    parser.add_argument("--attamba", type=Path, default=paths.ATTAMBA, help="the attamba command")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5, help="default 5")
    args = parser.parse_args()
    print("| model | message | tokens | llama.cpp, ms | attamba, ms | ratio |\n|---|---|--:|--:|--:|--:|")
    for name in args.models:
        model = paths.model(name)
        for what, text in MESSAGES.items():
            # One line is a message.
            message = " ".join(text.split()[:400])
            theirs, ours = [], []
            for _ in range(1 + args.rounds):
                seconds, tokens = built.first_token(model, args.threads, 4096, [("system", SYSTEM), ("user", message)])
                theirs.append(seconds)
                ours.append(attamba(args.attamba, model, args.threads, message))
            a, b = (1000 * statistics.median(samples[1:]) for samples in (theirs, ours))
            print(f"| {name} | {what} | {tokens} | {a:.0f} | {b:.0f} | {b / a:.2f} |", flush=True)


if __name__ == "__main__":
    main()
