"""The stages of a sampler chain in numpy, written from the papers and descriptions of them: what the
sampler is validated against, distribution by distribution.

As a program it reads cases in JSON from the file named first and prints, for each, the tokens that are left with
their probabilities. `benches/peers/sampling.py` compares the same functions with llama.cpp.
"""

import json
import sys

import numpy as np


def softmax(logits):
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def keep(logits, kept):
    """The logits with all tokens forbidden except those at the indices `kept`."""
    left = np.full_like(logits, -np.inf)
    left[kept] = logits[kept]
    return left


def descending(values):
    return np.argsort(-values, kind="stable")


def penalties(logits, recent, repeat=1.0, frequency=0.0, presence=0.0, last=64):
    """CTRL's repetition penalty (Keskar et al. 2019) with the sign fixed, OpenAI's other two."""
    logits = logits.copy()
    for token in set(recent[len(recent) - min(last, len(recent)) :]):
        count = recent[len(recent) - min(last, len(recent)) :].count(token)
        logits[token] *= repeat if logits[token] <= 0 else 1 / repeat
        logits[token] -= count * frequency + presence
    return logits


def dry(logits, recent, multiplier=0.0, base=1.75, allowed=2, last=1024, breakers=()):
    """DRY by its definition: for each token the longest end of the text that it has followed before."""
    recent = recent[len(recent) - min(last, len(recent)) :]
    singles = {breaker[0] for breaker in breakers if len(breaker) == 1}
    # The end of the text after the last breaker. Of those that begin at the same position the longest counts.
    reach = len(recent)
    for start in range(len(recent) - 1, -1, -1):
        here = [len(b) for b in breakers if recent[start : start + len(b)] == list(b)]
        if here:
            reach = len(recent) - start - max(here)
            break
    if len(recent) <= allowed or reach < allowed:
        return logits
    longest = {}
    for at, token in enumerate(recent):
        # How many tokens before `at` equal the last ones.
        length = 0
        while length < at and recent[at - 1 - length] == recent[len(recent) - 1 - length]:
            length += 1
        length = min(length, reach)
        # Token 0 has none before it.
        if at > 0 and length >= allowed and token not in singles:
            longest[token] = max(longest.get(token, 0), length)
    logits = logits.copy()
    for token, length in longest.items():
        logits[token] -= multiplier * base ** (length - allowed)
    return logits


def top_k(logits, k):
    return logits if k == 0 else keep(logits, descending(logits)[:k])


def top_p(logits, p):
    """The smallest set of the most likely that has p (Holtzman et al. 2020)."""
    order = descending(logits)
    before = np.concatenate([[0], np.cumsum(softmax(logits)[order])[:-1]])
    return logits if p >= 1 else keep(logits, order[(before < p) | (np.arange(len(order)) == 0)])


def min_p(logits, p):
    """Those at least p times as likely as the most likely (Nguyen et al. 2024)."""
    probabilities = softmax(logits)
    return keep(logits, np.flatnonzero(probabilities >= p * probabilities.max()))


def typical_p(logits, p):
    """The smallest set that has p of those whose surprise is closest to the entropy (Meister et al. 2023)."""
    if p >= 1:
        return logits
    probabilities = softmax(logits)
    with np.errstate(divide="ignore", invalid="ignore"):
        surprise = -np.log(probabilities)
        entropy = np.nansum(probabilities * surprise)
    order = np.argsort(np.abs(surprise - entropy), kind="stable")
    before = np.concatenate([[0], np.cumsum(probabilities[order])[:-1]])
    return keep(logits, order[(before < p) | (np.arange(len(order)) == 0)])


def xtc(logits, threshold):
    """XTC when it applies: of those above the threshold only the least likely stays."""
    order = descending(logits)
    above = int((softmax(logits) >= threshold).sum())
    return logits if threshold > 0.5 or above < 2 else keep(logits, order[above - 1 :])


def temperature(logits, t):
    return logits / t if t > 0 else keep(logits, descending(logits)[:1])


STAGES = {
    "penalties": penalties,
    "dry": dry,
    "top-k": top_k,
    "typical-p": typical_p,
    "top-p": top_p,
    "min-p": min_p,
    "xtc": xtc,
    "temperature": temperature,
}


def distribution(logits, recent, chain):
    """Probabilities after `chain`, a list of stages: each a name and its arguments."""
    logits = np.asarray(logits, dtype=np.float64)
    for name, arguments in chain:
        past = [list(recent)] if name in ("penalties", "dry") else []
        logits = STAGES[name](logits, *past, **arguments)
    return softmax(logits)


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        cases = json.load(file)
    for case in cases:
        left = distribution(case["logits"], case["recent"], case["chain"])
        print(json.dumps({int(token): left[token] for token in np.flatnonzero(left)}))
