"""Generates random model files and the logits that the reference program computes for them.

    suite.py SPEC FOLDER

SPEC is the folder of reference.py. FOLDER/given.json names files that are there already. Writes
FOLDER/suite.json, last of all, with everything there is to compare.
"""

import json
import multiprocessing
import os
import sys

# One thread per process: the matrices are far too small for more.
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
    """Sizes as odd as the architecture allows; if `quant` has blocks, most rows are whole blocks."""

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


def toy(m):
    """A family for tests only, in which everything that a family can change is a key."""
    bases = m.get("rope.freq_bases")
    return dict(
        reference.decoder(m),
        pairs="half-split" if m.get("half_split", False) else "interleaved",
        activation=reference.gelu_tanh if m.get("gelu", False) else reference.silu,
        windows=[window or None for window in m.get("windows")],
        embedding_scale=m.get("embedding_scale", 1.0),
        logit_cap=m.get("logit_cap", 0.0) or None,
        rotary=[(bases[0], m.w("rope_freqs.weight", 1.0), reference.rope_scaling(m))] + [(b,) for b in bases[1:]],
        # 0 stands for none.
        rotation=[table - 1 if table else None for table in m.get("rope.tables")],
    )


reference.FAMILIES["toy"] = toy


def toy_cases():
    """A toy with everything at once, toys of random parts, and some whose layers remember differently."""
    rng = np.random.default_rng(20261128)

    def some(probability=0.5):
        return bool(rng.random() < probability)

    for number in range(46):
        everything, differing, both = number == 0, 28 <= number < 40, number >= 40
        quant = BLOCKS[number % 5] if 20 <= number < 28 else FLOATS[number % len(FLOATS)]
        sizes = random_sizes(rng, quant, True)
        layers = sizes["layers"] = 4 if everything or both else sizes["layers"]
        mixers = both or (not everything and not differing and some(0.3))
        norms = [(1, 1), (1, 0), (0, 1)][0 if everything else rng.integers(3)]
        sizes.update(
            arch="toy",
            mixers=int(mixers),
            attn_bias="qkvo" if everything else "".join(side for side in "qkvo" if some()),
            qk_norm=int(everything or some()),
            pre_norm=norms[0],
            post_norm=norms[1],
        )
        if mixers and not sizes["projected"]:
            sizes.update(kv_heads=sizes["heads"], attn_bias=sizes["attn_bias"].replace("k", "").replace("v", ""))
        if everything or some():
            sizes["ffn"] = [sizes["ffn"] + 32 * (layer % 2) for layer in range(layers)]
        if not mixers and (everything or some()):
            for heads in ("heads", "kv_heads") if differing else ("heads",):
                sizes[heads] = [sizes[heads] * (1 + layer % 2) for layer in range(layers)]
        keys = dict(
            half_split=everything or some(),
            gelu=everything or some(),
            embedding_scale=float(everything or some()) * 3.5 + 1.0,
            logit_cap=float(everything or some()) * 5.0,
            scaling=["yarn", "none", "linear"][number % 3],
            # 0 stands for none.
            windows=[int(rng.integers(1, 40)) if (differing or both) and some(0.6) else 0 for _ in range(layers)],
            tables=[0, 1, 2, 1] if everything else [int(n) for n in rng.integers(3, size=layers)],
        )
        if both:
            sizes["windowed"] = [layer for layer, window in enumerate(keys["windows"]) if window]
        yield dict(
            name=f"toy {number:02} {sizes} {keys}",
            file=f"toy-{number:02}.gguf",
            kind="toy layers" if differing else "toy blocks" if quant in BLOCKS else "toy",
            tokens=[int(t) for t in rng.integers(sizes["vocab"], size=int(rng.integers(40, 120)))],
            rings=[None, RINGS[number % len(RINGS)]],
            sizes=sizes,
            keys=keys,
        )


def write_keys(writer, sizes, keys):
    """The keys of a toy."""
    for side in "qkvo":
        writer.add_bool(f"toy.bias.{side}", side in sizes["attn_bias"])
    for norm in ("qk_norm", "pre_norm", "post_norm"):
        writer.add_bool(f"toy.{norm}", bool(sizes[norm]))
    for name in ("half_split", "gelu"):
        writer.add_bool(f"toy.{name}", keys[name])
    for name in ("embedding_scale", "logit_cap"):
        writer.add_float32(f"toy.{name}", keys[name])
    writer.add_array("toy.rope.freq_bases", [10000.0, 300.0])
    writer.add_array("toy.rope.tables", keys["tables"])
    writer.add_array("toy.windows", keys["windows"])
    writer.add_string("toy.rope.scaling.type", keys["scaling"])
    writer.add_float32("toy.rope.scaling.factor", 4.0)
    writer.add_uint32("toy.rope.scaling.original_context_length", 40)


class Mass:
    """The attention that a range of tokens pays to a range of positions, random unless the case names them, for each
    KV head: the sum over the positions, the largest of the KV head's query heads, averaged over the tokens."""

    def __init__(self, path, case):
        rng = np.random.default_rng(list(case["name"].encode()))
        ends = np.arange(len(case["tokens"]) + 1)
        some = lambda: [int(n) for n in sorted(rng.choice(ends, 2, False))]
        self.queries, self.keys = (case.pop(name, None) or some() for name in ("queries", "keys"))
        self.kv_heads = reference.Model(path).kv_heads
        self.sums = [np.zeros(n) for n in self.kv_heads]

    def __call__(self, layer, t, weights):
        if self.queries[0] <= t < self.queries[1]:
            of_head = weights[:, slice(*self.keys)].sum(-1).reshape(self.kv_heads[layer], -1)
            self.sums[layer] += of_head.max(-1)

    def done(self):
        means = np.concatenate(self.sums) / (self.queries[1] - self.queries[0])
        return dict(queries=self.queries, keys=self.keys, heads=means.tolist())


def by_head_cases():
    """Models some of whose KV heads see far: from one to all of them, chunked and not, rings full and not."""
    rng = np.random.default_rng(241117685)
    for number in range(60):
        sizes = random_sizes(rng, FLOATS[number % len(FLOATS)], number % 2 == 0)
        heads = sizes["layers"] * sizes["kv_heads"]
        listed = int(rng.integers(1, heads + 1))
        far_length = 1 if sizes["arch"] == "llama" else int(rng.choice([1, 1, 2, 3, 8]))
        far = 1 if number < 4 else heads if number < 8 else int(rng.integers(1, listed + 1))
        profile = dict(far_heads=[int(n) for n in rng.permutation(heads)[:max(listed, far)]], far_length=far_length)
        # The others never see further.
        chunk = 1 if sizes["arch"] == "llama" else sizes["chunk"]
        far_ring = max(int(rng.integers(1, 80)), -(-chunk // far_length))
        rings = [n for n in rng.permutation([1, 2, 5, 12]) if n * chunk <= far_ring * far_length]
        yield dict(
            name=f"by head {number:02} {sizes} {profile}",
            file=f"by-head-{number:02}.gguf",
            kind="by head",
            tokens=[int(t) for t in rng.integers(sizes["vocab"], size=int(rng.integers(60, 200)))],
            rings=[int(n) for n in rings[:2]],
            far=[far, far_ring],
            sizes=sizes,
            profile=profile,
        )


def retain_cases():
    """Transformers whose heads keep what their gates score highest, beside heads that see far or not."""
    rng = np.random.default_rng(20261130)
    for number in range(16):
        sizes = random_sizes(rng, "F32", True)
        heads = sizes["layers"] * sizes["kv_heads"]
        far_ring = int(rng.integers(60, 120))
        profile = dict(far_heads=[int(n) for n in rng.permutation(heads)], far_length=1,
                       gates=[float(x) for x in rng.normal(size=heads * sizes["d"]).astype(np.float32)])
        yield dict(
            name=f"retain {number:02} {sizes}",
            file=f"retain-{number:02}.gguf",
            kind="retain",
            tokens=[int(t) for t in rng.integers(sizes["vocab"], size=int(rng.integers(100, 200)))],
            rings=[[1, 40], [2, 23], [7, 60]][number % 3],
            far=[int(rng.integers(1, heads)), far_ring] if number % 2 and heads > 1 else None,
            retain=True,
            sizes=sizes,
            profile=profile,
        )


def int4_cases():
    """Models some of whose heads keep four bits: heads that see near, far, or all; rings full and not."""
    rng = np.random.default_rng(20261129)
    for number in range(30):
        sizes = random_sizes(rng, FLOATS[number % len(FLOATS)], number % 2 == 0)
        sizes["d"], heads = [(64, 2), (64, 1), (128, 4), (128, 2), (128, 1), (96, 3)][number % 6]
        shares = sizes["arch"] == "llama" or sizes["projected"]
        sizes.update(heads=heads, kv_heads=1 if shares and number % 3 == 0 else heads)
        all_heads = sizes["layers"] * sizes["kv_heads"]
        far = [int(rng.integers(1, all_heads + 1)), int(rng.integers(64, 120))] if number % 5 else None
        yield dict(
            name=f"int4 {number:02} {sizes} {far}",
            file=f"int4-{number:02}.gguf",
            kind="int4",
            tokens=[int(t) for t in rng.integers(sizes["vocab"], size=int(rng.integers(60, 200)))],
            rings=[1, 20] if far is None or sizes["arch"] == "llama" else [1],
            far=far,
            block=[1, 7][number % 2],
            # One of both, of those that see near and of those that see far, is always in four bits.
            int4=[(True, True), (True, False), (False, True)][number % 3] if far else (True, True),
            sizes=sizes,
            profile=dict(far_heads=[int(n) for n in rng.permutation(all_heads)], far_length=1),
        )


def write_profile(writer, arch, profile):
    writer.add_array(f"{arch}.memory.far_heads", profile["far_heads"])
    writer.add_uint32(f"{arch}.chunk.far_length", profile["far_length"])
    if "gates" in profile:
        writer.add_array(f"{arch}.memory.retention_gates", profile["gates"])


def judge(case):
    path = os.path.join(folder, case["file"])
    if "sizes" in case:
        sizes, keys, profile = case.pop("sizes"), case.pop("keys", None), case.pop("profile", None)

        def more_keys(writer):
            if keys:
                write_keys(writer, sizes, keys)
            if profile:
                write_profile(writer, sizes["arch"], profile)

        reference.make(path, 7, sizes, more_keys)
    runs, far, mass = [], case.pop("far", None), None
    int4, block = case.pop("int4", (False, False)), case.pop("block", None)
    retain = case.pop("retain", False)
    for ring in case.pop("rings"):
        name = f"{case['file']}.{ring}.f32"
        watch = []
        if ring is None:
            mass = Mass(path, case)
            watch = [mass]
        logits = reference.logits(path, case["tokens"], ring, far, *watch, int4=int4, block=block or 1,
                                  retain=retain)
        logits.astype("<f4").tofile(os.path.join(folder, name))
        runs.append(dict(ring=ring, far=far, int4=int4, block=block, retain=retain, logits=name))
    return dict(case, runs=runs, mass=mass and mass.done())


with open(os.path.join(folder, "given.json")) as given:
    cases = json.load(given)
    for more in (random_cases, toy_cases, by_head_cases, int4_cases, retain_cases):
        cases += more()
# The longest first, so that no process is left with one at the end.
cases.sort(key=lambda case: -len(case["tokens"]))
with multiprocessing.get_context("fork").Pool() as pool:
    done = sorted(pool.imap_unordered(judge, cases), key=lambda case: case["name"])
part = os.path.join(folder, "suite.json.part")
with open(part, "w") as out:
    json.dump(done, out)
os.replace(part, os.path.join(folder, "suite.json"))
