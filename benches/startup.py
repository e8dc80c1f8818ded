#!/usr/bin/env python3
"""Time to the first token, and peak memory of a run.

    cargo build --release
    benches/startup.py [MODEL ...]        default: the bundled model, and SmolLM2 if it has been fetched

Each row runs `attamba generate` in a fresh process, `--rounds` times: the time from the start of the process to the
first byte of text (median), and the peak RSS reported by the system (maximum). The promised bound is the
model file, which is mapped, plus the session's state, plus 32 MiB. The file is in the page cache: the first run warms it.
Linux, Python 3.8 or later, nothing else.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEFAULT = [ROOT / "models/attamba-stories.gguf", ROOT / "models/fetched/SmolLM2-135M-Instruct.Q4_1.gguf"]
EXTRA = 32 << 20


def run(command):
    """Seconds to the first byte, the output, and the peak RSS in bytes."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    first = process.stdout.read(1)
    seconds = time.monotonic() - start
    output = first + process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(map(str, command))} exited with status {process.returncode}")
    return seconds, output, usage.ru_maxrss << 10


def mib(number):
    return f"{number / (1 << 20):.1f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL")
    parser.add_argument("--attamba", default=ROOT / "target/release/attamba", help="the attamba command")
    parser.add_argument("--tokens", type=int, default=64, help="tokens to generate (default 64)")
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    models = args.models or [model for model in DEFAULT if model.exists()]
    print("| model | first token, ms | file, MiB | state, MiB | promised, MiB | peak, MiB |")
    print("|---|--:|--:|--:|--:|--:|")
    kept = True
    for model in models:
        base = [args.attamba, "generate", "-m", model, "-p", "Once upon a time", "--greedy", "-n", str(args.tokens)]
        state = json.loads(run([*base, "--json"])[1])["memory"]["state"]
        runs = [run(base) for _ in range(args.rounds)]
        first = 1000 * statistics.median(seconds for seconds, _, _ in runs)
        peak = max(peak for _, _, peak in runs)
        size = model.stat().st_size
        promised = size + state + EXTRA
        kept &= peak <= promised
        print(f"| {model.stem} | {first:.0f} | {mib(size)} | {mib(state)} | {mib(promised)} | {mib(peak)} |", flush=True)
    sys.exit(0 if kept else "a run took more memory than promised")


if __name__ == "__main__":
    main()
