#!/usr/bin/env python3
"""Whether the stages of attamba's sampler mean what they mean in llama.cpp, distribution by distribution.

The tests validate attamba against tests/sample/judge.py; this validates the judge against llama.cpp's samplers, on the
same kind of random logits: each stage alone, and whole chains. A distribution counts as equal if the same tokens are
left and no probability differs by more than 1e-3 of itself. llama.cpp computes in single precision: where a sum comes
within 1e-5 of a bound, either side of it counts, and two tokens that are equally typical but for rounding may come in
either order. Exit code 1 where more than 2 in 1000 differ.
"""

import argparse
import ctypes
import sys

import numpy as np

import paths

sys.path.insert(0, str(paths.REPOSITORY / "tests/sample"))
import judge  # noqa: E402
from llamacpp import lib  # noqa: E402


def vocabulary(path):
    """Some vocabulary: DRY asks for one, though for breakers of text alone."""
    params = lib.llama_model_default_params()
    params.vocab_only = True
    model = lib.llama_model_load_from_file(str(path).encode(), params)
    return lib.llama_model_get_vocab(model)


def stage(vocab, size, name, arguments):
    """llama.cpp's sampler for a stage of the judge."""
    a = arguments
    if name == "penalties":
        return lib.llama_sampler_init_penalties(size, a["last"], a["repeat"], a["frequency"], a["presence"])
    if name == "dry":
        return lib.llama_sampler_init_dry(vocab, a["multiplier"], a["base"], a["allowed"], a["last"], None, 0)
    if name == "top-k":
        return lib.llama_sampler_init_top_k(a["k"])
    if name == "typical-p":
        return lib.llama_sampler_init_typical(a["p"], 0)
    if name == "top-p":
        return lib.llama_sampler_init_top_p(a["p"], 0)
    if name == "min-p":
        return lib.llama_sampler_init_min_p(a["p"], 0)
    if name == "xtc":
        return lib.llama_sampler_init_xtc(1.0, a["threshold"], 0, 1)
    return lib.llama_sampler_init_temp(a["t"])


def distribution(vocab, logits, recent, chain):
    data = (lib.llama_token_data * len(logits))()
    for token, logit in enumerate(logits):
        data[token].id, data[token].logit = token, logit
    array = lib.llama_token_data_array(data=data, size=len(logits), selected=-1, sorted=False)
    for name, arguments in chain:
        sampler = stage(vocab, len(logits), name, arguments)
        for token in recent:
            lib.llama_sampler_accept(sampler, token)
        lib.llama_sampler_apply(sampler, ctypes.byref(array))
        lib.llama_sampler_free(sampler)
    left = np.zeros(len(logits))
    values = np.array([array.data[i].logit for i in range(array.size)], dtype=np.float64)
    for i, p in enumerate(judge.softmax(values)):
        left[array.data[i].id] = p
    return left


def nudged(chain, factor):
    """The chain with its bounds on probabilities a little off."""
    return [(name, {key: value * factor if key in ("p", "threshold") and value < 1 else value
                    for key, value in arguments.items()}) for name, arguments in chain]


def equal_to(peer, logits, recent, chain):
    for factor in (1, 1 - 1e-5, 1 + 1e-5):
        own = judge.distribution(logits, recent, nudged(chain, factor))
        if ((own > 0) == (peer > 0)).all() and np.allclose(own, peer, rtol=1e-3, atol=0):
            return True
    return False


def arguments(random):
    """Numbers for every stage, as in tests/sample.rs."""
    pick = lambda *of: of[random.integers(len(of))]  # noqa: E731
    return {
        "penalties": {"repeat": pick(1.0, 1.1, 1.5, 0.8), "frequency": pick(0.0, 0.3, -0.2),
                      "presence": pick(0.0, 0.5), "last": pick(1, 10, 64)},
        "dry": {"multiplier": pick(0.5, 0.8, 2.0), "base": pick(1.25, 1.75), "allowed": pick(1, 2, 4),
                "last": pick(5, 30, 1024)},
        "top-k": {"k": pick(1, 5, 40, 1000)},
        "typical-p": {"p": pick(0.2, 0.5, 0.9, 0.99)},
        "top-p": {"p": pick(0.05, 0.5, 0.9, 0.99)},
        "min-p": {"p": pick(0.01, 0.1, 0.5, 1.0)},
        "xtc": {"threshold": pick(0.01, 0.05, 0.2, 0.6)},
        "temperature": {"t": pick(0.0, 0.3, 0.8, 2.0)},
    }


def cases(random, count):
    for name in judge.STAGES:
        for _ in range(count):
            yield name, [(name, arguments(random)[name])]
    for _ in range(2 * count):
        yield "whole chain", list(arguments(random).items())
    for _ in range(2 * count):
        chain = list(arguments(random).items())
        random.shuffle(chain)
        yield "any order", chain[: random.integers(1, len(chain) + 1)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="cases per stage [200]")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    vocab = vocabulary(paths.model("smollm2"))
    equal, different = {}, {}
    for what, chain in cases(random, options.count):
        logits = random.normal(0, random.choice([0.5, 2, 4]), random.choice([12, 300, 2000])).astype(np.float32)
        recent = random.integers(random.choice([2, 4, 12]), size=random.integers(80)).tolist()
        peer = distribution(vocab, logits, recent, chain)
        same = equal_to(peer, logits, recent, chain)
        (equal if same else different).setdefault(what, []).append(chain)
    for what in [*judge.STAGES, "whole chain", "any order"]:
        good, bad = len(equal.get(what, [])), len(different.get(what, []))
        print(f"{what:12} {good} of {good + bad} distributions equal")
        for chain in different.get(what, [])[:2]:
            print(f"    {chain}")
    good, bad = (sum(map(len, found.values())) for found in (equal, different))
    return bad > 2e-3 * (good + bad)


if __name__ == "__main__":
    sys.exit(main())
