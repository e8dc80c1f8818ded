#!/usr/bin/env python3
"""Counts the instructions that products of weights and activations take on arm64, without such a machine.

    python3 benches/arm/count.py [--check] [--write]

Prints executed instructions per multiply-add under qemu, on a processor with the dot product extension and on one with
8-bit matrix products as well. A figure is the difference between runs with more and with fewer rounds, so what a
program does besides cancels out. Then come the inner loops of the kernels (loops.py): calls and stack accesses in them.
With --check a call, or a figure that is higher than the one in limits.json, is an error; --write writes that file. Needs
gcc, qemu-user (the dynamic one, which loads plugins), and what scripts/test-aarch64.sh needs.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import loops

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "aarch64-deb"
TRIPLE = "aarch64-unknown-linux-gnu"
PROGRAM = TARGET / TRIPLE / "release/examples/product"
LIMITS = HERE / "limits.json"

SETS = ["NEON dotprod", "NEON i8mm"]
INT8 = [f"{name}, int8" for name in SETS]
FORMATS = ["Q8_0", "Q4_0", "Q4_1", "IQ4_NL", "Q5_K", "Q4_K", "Q6_K", "F16", "BF16"]
# Their activations are not rounded.
FLOATS = ["F16", "BF16"]
# Two shapes of SmolLM2-135M, but of a width that all formats have.
DECODE, PREFILL = (256, 1536, 1), (64, 1536, 128)
# A figure depends on the compiler a little.
SLACK = 1.02


def build() -> Path:
    env = os.environ | {
        "CARGO_TARGET_DIR": str(TARGET),
        "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER": "aarch64-linux-gnu-gcc",
        "RUSTC": "/usr/bin/rustc",
    }
    command = ["/usr/bin/cargo", "build", "--quiet", "--release", "--no-default-features", "--target", TRIPLE]
    subprocess.run(command + ["--package", "attamba", "--example", "product"], cwd=ROOT, env=env, check=True)
    plugin = TARGET / "libcount.so"
    subprocess.run(["gcc", "-O2", "-fPIC", "-shared", "-Wall", "-o", plugin, HERE / "count.c"], check=True)
    return plugin


def executed(plugin: Path, *args: object) -> int:
    command = ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", "-cpu", "max", "-plugin", plugin, PROGRAM]
    run = subprocess.run(command + [str(a) for a in args], capture_output=True, text=True)
    counted = re.search(r"executed (\d+)", run.stderr)
    if run.returncode or not counted:
        sys.exit(f"{' '.join(map(str, args))}: {run.stderr.strip()}")
    return int(counted[1])


def per_weight(plugin: Path, name: str, form: str, shape: tuple[int, int, int]) -> float:
    rows, cols, tokens = shape
    fewer, more = (executed(plugin, name, form, *shape, rounds) for rounds in (1, 3))
    return round((more - fewer) / (2 * rows * cols * tokens), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with limits.json")
    parser.add_argument("--write", action="store_true", help="write limits.json")
    chosen = parser.parse_args()
    plugin = build()
    figures = {
        f"{form}, {what}, {name}": per_weight(plugin, name, form, shape)
        for form in FORMATS
        for what, shape in (("decode", DECODE), ("prefill", PREFILL))
        for name in SETS + INT8 * (form not in FLOATS)
    }
    for title, names in (("activations in 14 bits", SETS), ("in 8 bits", INT8)):
        print(f"| {title} | decode, dotprod | i8mm | prefill, dotprod | i8mm |\n|---|--:|--:|--:|--:|")
        for form in FORMATS:
            cells = [figures.get(f"{form}, {what}, {name}") for what in ("decode", "prefill") for name in names]
            if all(cells):
                print(f"| {form} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |")
        print()
    print("| kernel | calls in inner loops | most stack accesses of one |\n|---|--:|--:|")
    inside = loops.report(PROGRAM)
    for name, (calls, stack) in inside.items():
        print(f"| {name} | {calls} | {stack} |")
        figures[f"{name}, stack accesses"] = stack
    if chosen.write:
        LIMITS.write_text(json.dumps(figures, indent=2) + "\n")
    if chosen.check:
        calling = [name for name, (calls, _) in inside.items() if calls]
        if calling or not inside:
            sys.exit(f"calls in the inner loops of {calling}" if inside else "no kernel found in the program")
        limits = json.loads(LIMITS.read_text())
        # The compiler may put the loops of a kernel into a function that others share, which has a limit too.
        found = {kernel: figures[kernel] for kernel in limits if kernel in figures}
        for kernel in limits.keys() ^ figures.keys():
            print(f"only in {'limits.json' if kernel in limits else 'the program'}: {kernel}")
        worse = [f"{k}: {found[k]} instead of {limits[k]}" for k in found if found[k] > SLACK * limits[k]]
        if worse:
            sys.exit("more instructions than limits.json says:\n" + "\n".join(worse))


if __name__ == "__main__":
    main()
