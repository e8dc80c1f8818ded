"""Gives every option of every command absurd values: each run has to end soon, by itself, and with a sentence if it fails.

    python3 cli/tests/sweep.py PROGRAM MODEL
"""

import os
import re
import resource
import subprocess
import sys
import tempfile
import time

program, model = (os.path.abspath(path) for path in sys.argv[1:3])
VALUES = [
    "0", "-1", "-0.0", "1e999", "nan", "inf", "-inf", "1e-45", "3.5e38", "1000000000", "4294967295", "4294967296",
    "9223372036854775807", "18446744073709551615", "18446744073709551616", "", "x", "1T", "99999999999G",
]
# How long an answer gets, and how often something is measured, is up to whoever asks for it.
ENDLESS = {
    ("chat", "limit"), ("generate", "limit"), ("recall", "trials"), ("profile", "trials"), ("remember", "texts"),
    ("remember", "needles"), ("recall", "lengths"), ("profile", "lengths"), ("remember", "tokens"),
}
SECONDS = 60


def limits():
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run(*args):
    return subprocess.run(
        [program, *args], capture_output=True, text=True, errors="replace", timeout=SECONDS,
        preexec_fn=limits, stdin=subprocess.DEVNULL,
    )


os.chdir(tempfile.mkdtemp())
with open("text", "w") as file:
    file.write("Once upon a time there was a cat. " * 8)
named = ["-m", model]
BASES = {
    "chat": named,
    "generate": [*named, "-p", "a", "-n", "1"],
    "inspect": [model],
    "perplexity": ["text", *named],
    "quantize": [model, "out", "F16", "--force"],
    "bench": [*named, "--prompt", "4", "--generate", "2"],
    "memory": named,
    "recall": [*named, "--lengths", "256", "--trials", "1"],
    "profile": [model, "--lengths", "64", "--trials", "1"],
    "remember": [*named, "--tokens", "256", "--texts", "1", "--needles", "1"],
    "logits": [model, "--tokens", "1,2", "--out", "out"],
}
failures = runs = 0
for command, base in BASES.items():
    found = run(command, "--help").stdout
    for option, kind in sorted(set(re.findall(r"--([a-z0-9-]+) <([^>]+)>", found))):
        if kind.startswith(("FILE", "OUT", "IN")) or (command, option) in ENDLESS:
            continue
        others = [part for i, part in enumerate(base) if f"--{option}" not in (part, base[i - 1] if i else "")]
        for value in VALUES:
            runs += 1
            start = time.monotonic()
            try:
                ran = run(command, *others, f"--{option}={value}")
            except subprocess.TimeoutExpired:
                print(f"{command} --{option}={value}: still runs after {SECONDS} s", flush=True)
                failures += 1
                continue
            said = ran.stderr.strip()
            if ran.returncode not in (0, 1, 2) or "panicked" in said or (ran.returncode and not said):
                print(f"{command} --{option}={value}: status {ran.returncode}, {said[:300]}", flush=True)
                failures += 1
print(f"{runs} runs, {failures} failures")
sys.exit(failures > 0)
