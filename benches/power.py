#!/usr/bin/env python3
"""CPU time that computes nothing: of a session that is idle, and of threads that wait for each other in decode.

    cargo build --release
    benches/power.py [MODEL]             default: SmolLM2 if it has been fetched, else the bundled model

Idle: `attamba chat` answers a message, then waits for the next one; the CPU time of its process over `--seconds`.
Waiting: CPU time per decoded token with one thread and with `--threads`, of a long run of `attamba bench` less a short one.
What more threads take beyond that of one is waiting, wake-ups and a shared memory bus together: an upper bound on waiting.
Nothing else should run. Linux, Python 3.8 or later, nothing else.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SMOLLM2 = ROOT / "models/fetched/SmolLM2-135M-Instruct.Q4_1.gguf"
BUNDLED = ROOT / "models/attamba-stories.gguf"
SETTLE = 1.0  # seconds after an answer, in which threads may still look for work


def cpu_time(pid):
    """Seconds that all threads of a process have spent."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def idle(args):
    command = [args.attamba, "chat", "-m", args.model, "--threads", str(args.threads), "-n", "16"]
    chat = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    chat.stdin.write(b"Hello!\n")
    chat.stdin.flush()
    if not chat.stdout.readline():
        sys.exit(f"{' '.join(map(str, command))} gave no answer")
    time.sleep(SETTLE)
    before = cpu_time(chat.pid)
    time.sleep(args.seconds)
    spent = cpu_time(chat.pid) - before
    chat.communicate()
    return spent


def decode(args, threads, tokens):
    """CPU seconds of a process that decodes so many tokens, twice."""
    command = [args.attamba, "bench", "-m", args.model, "--threads", str(threads), "-p", "0", "-n", str(tokens), "-r", "1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(map(str, command))} exited with status {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def per_token(args, threads):
    """CPU seconds per decoded token; the least of some rounds, since others' work only adds to it."""
    short, long = args.tokens // 4, args.tokens
    # Each run warms up with as many tokens as it measures.
    rounds = [decode(args, threads, long) - decode(args, threads, short) for _ in range(args.rounds)]
    return min(rounds) / (2 * (long - short))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, metavar="MODEL", default=SMOLLM2 if SMOLLM2.exists() else BUNDLED)
    parser.add_argument("--attamba", default=ROOT / "target/release/attamba", help="the attamba command")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10, help="of an idle session (default 10)")
    parser.add_argument("--tokens", type=int, default=256, help="of a long run (default 256)")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print(f"- an idle session of {args.model.stem}: {1000 * idle(args):.0f} ms of CPU time in {args.seconds:g} s", flush=True)
    one, many = per_token(args, 1), per_token(args, args.threads)
    waiting = max(1 - one / many, 0)
    print(f"- decode, CPU time per token: {1000 * one:.2f} ms with 1 thread, {1000 * many:.2f} ms with {args.threads}: "
          f"at most {waiting:.1%} is waiting")


if __name__ == "__main__":
    main()
