"""Makes random model files and the logits that the specification's program computes for them.

    suite.py SPEC FOLDER

SPEC is the folder of reference.py. FOLDER/given.json names files that are there already. Writes
FOLDER/suite.json, last of all, with everything there is to compare.
"""

import json
import multiprocessing
import os
import sys

# One thread a process: the matrices are far too small for more.
os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")

import numpy as np  # noqa: E402

spec, folder = sys.argv[1:]
sys.path.insert(0, spec)
sys.dont_write_bytecode = True
import reference  # noqa: E402

FLOATS = ["F32", "F32", "F16", "F32", "BF16", "F32"]
BLOCKS = ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"]
RINGS = [0, 1, 2, 5]


def random_sizes(rng, quant, llama):
    """Sizes as odd as the architecture allows; where `quant` has blocks, most rows are whole ones."""

    def one_of(*values):
        return values[rng.integers(len(values))]

    blocks = quant in BLOCKS
    if blocks:
        d, heads = one_of((64, 4), (96, 6), (128, 8), (64, 2), (96, 4), (64, 1))
    else:
        d, heads = one_of((60, 6), (60, 5), (60, 10), (56, 4), (64, 8), (36, 6), (40, 2), (30, 1), (68, 2), (72, 4))
    sharing = [n for n in (1, 2, 3, 4, 5, 6, 8) if heads % n == 0]
    projected = int(rng.integers(2))
    ssm_heads = one_of(1, 2, 4, 4, 6, 12)
    sizes = dict(
        arch="llama" if llama else "attamba",
        quant=quant,
        vocab=one_of(97, 96, 33, 130),
        d=d,
        layers=one_of(1, 2, 2, 3),
        heads=heads,
        kv_heads=one_of(*sharing) if llama or projected else heads,
        ffn=one_of(96, 160, 64, 90) if blocks else one_of(90, 160, 33, 75),
        chunk=one_of(1, 2, 3, 4, 4, 7, 8, 16, 31, 64),
        window=one_of(0, 1, 2, 5, 8, 15, 16, 33, 40),
        carry=int(rng.random() < 0.35),
        projected=projected,
        inner=one_of(32, 64, 96) if blocks else one_of(36, 12, 48, 60),
        state=one_of(5, 16, 8, 3, 1),
        groups=1,
        ssm_heads=ssm_heads,
        conv=one_of(1, 2, 3, 4, 5),
        cyclic=int(rng.random() < 0.8),
        tied=int(rng.integers(2)),
        bias=int(rng.random() < 0.7),
        freq_base=one_of(10000.0, 500.0, 1e6),
    )
    while sizes["inner"] % sizes["ssm_heads"]:
        sizes["ssm_heads"] //= 2
    sizes["groups"] = one_of(*[g for g in (1, 2, 4) if sizes["ssm_heads"] % g == 0])
    return sizes


def random_cases():
    rng = np.random.default_rng(20241125)
    plan = [(FLOATS[i % len(FLOATS)], i % 6 == 5) for i in range(42)]
    plan += [(BLOCKS[i % len(BLOCKS)], i % 6 == 5) for i in range(25)]
    for number, (quant, llama) in enumerate(plan):
        sizes = random_sizes(rng, quant, llama)
        length = int(50 * 6 ** (rng.random() ** 2))
        yield dict(
            name=f"{number:02} {sizes}",
            file=f"{number:02}.gguf",
            kind=quant,
            tokens=[int(t) for t in rng.integers(sizes["vocab"], size=length)],
            rings=[None, RINGS[number % len(RINGS)]],
            sizes=sizes,
        )


def with_factors(factors):
    """RoPE whose frequencies are divided by the factors of a file, by complex numbers."""

    def rope(x, position, freq_base):
        half = x.shape[-1] // 2
        angle = position * freq_base ** (-np.arange(half) / half) / factors
        turned = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * angle)
        return np.stack([turned.real, turned.imag], axis=-1).reshape(x.shape)

    return rope


def judge(case):
    path = os.path.join(folder, case["file"])
    if "sizes" in case:
        reference.make(path, 7, case.pop("sizes"))
    plain = reference.rope
    factors = reference.Model(path).w("rope_freqs.weight")
    if factors is not None:
        reference.rope = with_factors(factors)
    runs = []
    for ring in case.pop("rings"):
        name = f"{case['file']}.{ring}.f32"
        reference.logits(path, case["tokens"], ring).astype("<f4").tofile(os.path.join(folder, name))
        runs.append(dict(ring=ring, logits=name))
    reference.rope = plain
    return dict(case, runs=runs)


with open(os.path.join(folder, "given.json")) as given:
    cases = json.load(given) + list(random_cases())
# The longest first, so that no process is left with one at the end.
cases.sort(key=lambda case: -len(case["tokens"]))
with multiprocessing.get_context("fork").Pool() as pool:
    done = sorted(pool.imap_unordered(judge, cases), key=lambda case: case["name"])
part = os.path.join(folder, "suite.json.part")
with open(part, "w") as out:
    json.dump(done, out)
os.replace(part, os.path.join(folder, "suite.json"))
