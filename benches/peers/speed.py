#!/usr/bin/env python3
"""Tokens per second of attamba and llama.cpp on the same files with the same number of threads.

The two alternate, a fresh process each time, so that a slow minute of the machine affects both; medians over all
rounds are compared, and geometric means of their ratios over all models. attamba is timed by `attamba bench`; llama.cpp in
the same way, as the PyPI package llama-cpp-py-sync brings it (`--peer built`), or as setup.sh builds it for this CPU, by its
own llama-bench (`--peer native`); in both cases with flash attention. Both warm up first.

    speed.py                               prefill of 512 and decode of 64 tokens at depth 0, as a Markdown table
    speed.py --depths 0,4096,16384         at other depths too, where the model's context is long enough
    speed.py --models smollm2,gemma3-270m  these models: names of make_models.py, these two, or GGUF files
    speed.py --peer native --deep          decode at depth 16384: Attamba 1.1B and memory by head vs. llama 1.1B
"""

import argparse
import importlib
import json
import os
import platform
import statistics
import sys
from pathlib import Path

import paths
from attamba import Attamba

MODELS = ",".join(["smollm2", "gemma3-270m", *(f"llama-{size}-{kind}" for size in ("135m", "1.1b") for kind in ("q4_k", "q4_0", "q8_0"))])
PEERS = {"built": "built", "native": "llamacpp"}


def cpu_name():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def print_machine(args, peer, ours):
    load = f"load {os.getloadavg()[0]:.2f} at the start"
    print(f"- CPU: {cpu_name()}, {os.cpu_count()} cores, {args.threads} threads used, {load}")
    print(f"- {peer.NAME}: {peer.system_info().strip()}")
    if ours:
        print(f"- {ours['attamba'].version()}")
    if args.deep:
        print(f"- medians of {args.rounds} decodes, one after the other", flush=True)
    else:
        print(f"- medians of {args.rounds} rounds of {args.repetitions}, the engines alternating", flush=True)
    if os.getloadavg()[0] > 0.5:
        print("The machine is busy: threads waiting for each other slow both engines down many times over.", file=sys.stderr)


class Timings:
    """Samples by (model, test, depth, engine); kept whole for --json."""

    def __init__(self):
        self.samples = {}

    def add(self, model, depth, engine, results):
        for test, values in results.items():
            self.samples.setdefault((model, test, depth, engine), []).extend(values)

    def median(self, *key):
        values = self.samples.get(key)
        return statistics.median(values) if values else None

    def write(self, path):
        names = ("model", "test", "depth", "engine")
        rows = [dict(zip(names, key), samples=values) for key, values in self.samples.items()]
        Path(path).write_text(json.dumps(rows, indent=1) + "\n")


def number(value):
    return "-" if value is None else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def ratio(mine, theirs):
    return "-" if mine is None or theirs is None else f"{mine / theirs:.2f}x"


def geometric_means(ratios):
    """Prints those of the ratios of each engine and test at each depth."""
    for (engine, test, depth), values in ratios.items():
        mean = statistics.geometric_mean(values)
        print(f"- {engine}, {test} at depth {depth}: {mean:.2f}x, geometric mean over {len(values)} models")


def shallow(args, peer, ours, timings):
    """Prefill and decode, every model at every depth that its context has room for."""
    engines = ["llama.cpp"] + ["llama.cpp, plain"] * args.plain + list(ours)
    heads = ["model", "weights in llama.cpp", "test", "depth", *(e + " t/s" for e in engines)]
    heads += [f"{e} / llama.cpp" for e in ours]
    print(f"\n| {' | '.join(heads)} |")
    print("|---|---|---|---:|" + "---:|" * (len(heads) - 4))
    ratios = {}
    for name in args.models.split(","):
        path = paths.model(name)
        buffers, context = peer.weight_buffers(path), peer.trained_context(path)
        for depth in args.depths:
            if depth + max(args.prompt, args.decode) > context:
                print(f"{name}: depth {depth} is left out; its context has {context} tokens.", file=sys.stderr)
                continue
            size = (args.prompt, args.decode, depth, args.repetitions)
            for _ in range(args.rounds):
                timings.add(name, depth, engines[0], peer.bench(path, args.threads, *size))
                if args.plain:
                    timings.add(name, depth, engines[1], peer.bench(path, args.threads, *size, repack=False))
                for engine, command in ours.items():
                    timings.add(name, depth, engine, command.bench(path, *size))
            for test in [f"pp{args.prompt}"] * (args.prompt > 0) + [f"tg{args.decode}"] * (args.decode > 0):
                speeds = {e: timings.median(name, test, depth, e) for e in engines}
                for e in ours:
                    ratios.setdefault((e, test, depth), []).append(speeds[e] / speeds["llama.cpp"])
                against = [ratio(speeds[e], speeds["llama.cpp"]) for e in ours]
                cells = [name, buffers, test, depth, *map(number, speeds.values()), *against]
                print(f"| {' | '.join(map(str, cells))} |", flush=True)
    print()
    geometric_means(ratios)


def deep(args, peer, ours, timings):
    """Decode at a depth. Both engines begin with keys and values that they did not compute, which would take minutes."""
    depth, test = args.deep_depth, f"tg{args.decode}"
    room = depth + (args.rounds + 1) * args.decode
    size = (0, args.decode, depth, args.rounds)
    against = "vs. llama in llama.cpp | vs. llama in attamba"
    print(f"\n| decode of {args.decode} tokens at depth {depth} | t/s | {against} |")
    print("|---|---:|---:|---:|")
    for quant in args.quants.split(","):
        llama = f"llama-1.1b-{quant}"
        runs = [(llama, "llama.cpp", lambda m: peer.deep(paths.model(m), args.threads, args.decode, depth, args.rounds))]
        if ours:
            attamba = ours["attamba"]
            whole = attamba.json("memory", "-m", paths.model(llama), "--contexts", room, "--json")
            budget = whole["cells"][0]["state_bytes"] // 8
            by_head = ("--budget", budget, "--horizon", room)
            runs.append((llama, "attamba", lambda m: attamba.bench(paths.model(m), *size)))
            runs.append((f"{llama} by head, 1/8", "attamba", lambda _: attamba.bench(paths.model(llama), *size, by_head)))
            runs.append((f"attamba-1.1b-{quant}", "attamba", lambda m: attamba.bench(paths.model(m), *size)))
        for name, engine, run in runs:
            timings.add(name, depth, engine, run(name))
            speed = timings.median(name, test, depth, engine)
            ratios = [ratio(speed, timings.median(llama, test, depth, e)) for e in ("llama.cpp", "attamba")]
            print(f"| {name} in {engine} | {number(speed)} | {' | '.join(ratios)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=MODELS, help=f"names or GGUF files, comma-separated (default {MODELS})")
    parser.add_argument("--peer", choices=PEERS, default="built", help="which llama.cpp (default built)")
    parser.add_argument("--attamba", default=paths.ATTAMBA, help="the attamba command")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5, help="default 5")
    parser.add_argument("--repetitions", type=int, default=1, help="measurements per process and round (default 1)")
    parser.add_argument("--prompt", type=int, default=512, help="tokens of prefill (default 512)")
    parser.add_argument("--decode", type=int, default=64, help="tokens of decode (default 64)")
    parser.add_argument("--depths", default="0", type=lambda s: [int(d) for d in s.split(",")], help="default 0")
    parser.add_argument("--plain", action="store_true", help="also llama.cpp without rearranged weights (--repack 0); native only")
    parser.add_argument("--int8", action="store_true", help="also attamba with activations in 8 bits")
    parser.add_argument("--peer-only", action="store_true", help="only llama.cpp")
    parser.add_argument("--deep", action="store_true", help="run the comparison at --deep-depth instead")
    parser.add_argument("--deep-depth", type=int, default=16384, help="default 16384")
    parser.add_argument("--quants", default="q4_0,q8_0", help="types of the 1.1B files for --deep (default q4_0,q8_0)")
    parser.add_argument("--json", metavar="FILE", help="write every sample to FILE")
    args = parser.parse_args()
    if (args.plain or args.deep) and args.peer != "native":
        parser.error("--plain and --deep need --peer native")
    if args.deep_depth < 512 or args.deep_depth % 512:
        parser.error(f"--deep-depth is {args.deep_depth}; it must be a multiple of 512")
    peer = importlib.import_module(PEERS[args.peer])
    roundings = {"attamba": "int14"} | ({"attamba, int8": "int8"} if args.int8 else {})
    ours = {} if args.peer_only else {e: Attamba(args.attamba, args.threads, a) for e, a in roundings.items()}
    timings = Timings()
    print_machine(args, peer, ours)
    (deep if args.deep else shallow)(args, peer, ours, timings)
    if args.json:
        timings.write(args.json)


if __name__ == "__main__":
    main()
