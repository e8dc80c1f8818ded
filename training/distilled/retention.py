"""Learned retention: near heads that keep, beside a window, the tokens which a gate says will be needed.

    python training/distilled/retention.py --base BASE.gguf --data DIR [--window 160 --kept 160]
        [--profile PROFILE.json --into FILE]

The gate of a KV head is a linear function of the input of its layer's attention, or with `--hidden` a small network. It
learns to predict how much attention a token gets from queries that are further away than the window, in the base with
full attention; of the tokens that leave the window, a session then keeps those with the highest scores. At equal bytes
it is compared to a longer window, by the loss of the late half of held-out texts, and with `--recall` by how many of
the facts told in such texts it knows when asked at their end. The heads of the base's profile see everything in both.
`--into` writes the profile with linear gates for `attamba profile --from`.
"""

import argparse
import json
import math
import random
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import memories
import torch
from by_head import view
from torch import nn
from torch.nn import functional as F

from attamba_train import gguf_file, pretrained, token_file, tokenizer
from attamba_train.batches import even_windows
from attamba_train.model import Chunks, Decoder
from attamba_train.model.attention import Mask, rotate
from attamba_train.model.by_head import ByHead
from attamba_train.model.decoder import Layout

FLOOR = 1e-7  # mean attention below which it does not matter how little it is
STEPS, BATCH = 500, 512
SLICE = 1024  # queries of which every fourth is looked at, at once
STRIDE = 4
FACTS = 10  # in a text that asks for them


class Seen(Mask):
    """What scores say, beside positions."""

    def __init__(self, visible: torch.Tensor):
        self.visible = visible


@dataclass
class Kept:
    """What a near head sees: position 0, the last `window` + 1 tokens, and the `kept` best of those before."""

    window: int
    kept: int

    def sight(self, scores: torch.Tensor) -> Seen:
        """`scores` [T]: they do not change, so what a session has kept is the best of all that left its window."""
        tokens, window = len(scores), self.window
        position = torch.arange(tokens)
        gap = position[:, None] - position
        visible = (gap >= 0) & ((gap <= window) | (position == 0))
        order = torch.argsort(scores, descending=True, stable=True)
        rank = torch.empty_like(order)
        rank[order] = torch.arange(tokens)
        left = torch.zeros(tokens, dtype=torch.bool)  # by rank
        threshold = torch.full((tokens,), tokens, dtype=torch.long)
        for t in range(window + 1, tokens):
            left[rank[t - window - 1]] = True
            if t - window > self.kept:
                threshold[t] = left.nonzero()[self.kept - 1, 0]
        return Seen(visible | ((gap > window) & (rank <= threshold[:, None])))


class Gates(nn.Module):
    """One score per token and KV head of a layer, from the input of its attention."""

    def __init__(self, width: int, heads: int, hidden: int):
        super().__init__()
        linear = nn.Linear(width, hidden or heads)
        self.net = nn.Sequential(linear, nn.GELU(), nn.Linear(hidden, heads)) if hidden else linear

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., width] to [..., heads]."""
        return self.net(x)


@torch.no_grad()
def observe(model: Decoder, tokens: torch.Tensor, window: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """For each layer the input x [n, width] of the tokens that leave the window, and the logarithm [n, KV] of the mean
    attention that queries beyond the window pay to them, of the query head of the group that pays most."""
    tables, layouts = model.plan(len(tokens), None, tokens.device)
    h, found = model.embed(tokens[None]), []
    for layer, layout in zip(model.blk, layouts, strict=True):
        x = layer.attn_norm(h)
        found.append((x[0, : len(tokens) - window - 1], _far_attention(layer, x, tables, window)))
        h = layer(h, tables, layout)
    return found


def _far_attention(layer, x: torch.Tensor, tables, window: int) -> torch.Tensor:
    config = layer.config
    q = layer.attn_q_norm(layer.attn_q(x).unflatten(-1, (config.heads, -1)))
    k = layer.attn_k_norm(layer.attn_k(x).unflatten(-1, (config.kv_heads, -1)))
    if layer.table is not None:
        q, k = (rotate(each, tables[layer.table], config.traits.half_split) for each in (q, k))
    q = q[0].unflatten(1, (config.kv_heads, -1)).permute(1, 2, 0, 3) * config.head_dim**-0.5  # [KV, R, T, D]
    k = k[0].permute(1, 2, 0).unsqueeze(1)  # [KV, 1, D, T]
    count = x.shape[1]
    key = torch.arange(count)
    sums = torch.zeros(*q.shape[:2], count)
    for begin in range(0, count, SLICE):
        end = min(begin + SLICE, count)
        query, seen = key[begin:end:STRIDE, None], key[:end]
        weight = (q[:, :, begin:end:STRIDE] @ k[..., :end]).masked_fill(seen > query, -torch.inf).softmax(-1)
        sums[..., :end] += weight.masked_fill(query - seen <= window, 0.0).sum(2)
    far = count - window - 1
    # Queries looked at from which a token is beyond the window.
    queries = (key[::STRIDE, None] - key[:far] > window).sum(0)
    return (sums[:, :, :far] / queries.clamp_min(1)).amax(1).clamp_min(FLOOR).log().T


def fit(seen: list[tuple[torch.Tensor, torch.Tensor]], hidden: int, seed: int) -> tuple[Gates, torch.Tensor]:
    """The gates of a layer, and the share of the variance of each head's target that they explain on the last text."""
    train_x, train_y = (torch.cat(part) for part in zip(*seen[:-1], strict=True))
    test_x, test_y = seen[-1]
    torch.manual_seed(seed)
    gates = Gates(train_x.shape[1], train_y.shape[1], hidden)
    middle, spread = train_y.mean(0), train_y.std(0)
    optimizer = torch.optim.AdamW(gates.parameters(), 2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, STEPS)
    for _ in range(STEPS):
        rows = torch.randint(len(train_x), (BATCH,))
        F.mse_loss(gates(train_x[rows]), (train_y[rows] - middle) / spread).backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    with torch.no_grad():
        error = (gates(test_x) * spread + middle - test_y).square().mean(0)
        return gates.eval(), 1 - error / test_y.var(0)


@torch.no_grad()
def late_logits(model: Decoder, text: torch.Tensor, near) -> torch.Tensor:
    """Logits [n, V] of the tokens that follow those of the second half of `text`, its last excepted; `near(layer, x)`
    says what the KV heads of a layer see."""
    tables, layouts = model.plan(len(text) - 1, None, text.device)
    h = model.embed(text[None, :-1])
    for index, (layer, layout) in enumerate(zip(model.blk, layouts, strict=True)):
        groups = near(index, layer.attn_norm(h)) if near else None
        h = layer(h, tables, Layout(ByHead(groups), None, None) if groups else layout)
    return F.linear(model.output_norm(h)[0, (len(text) - 1) // 2 :], model.output_weight)


def late_loss(model: Decoder, text: torch.Tensor, near) -> float:
    """Mean loss in nats of the second half of `text`."""
    logits = late_logits(model, text, near)
    return F.cross_entropy(logits, text[-len(logits) :]).item()


def questions(chance: random.Random, prose: torch.Tensor, encode) -> tuple[torch.Tensor, list[range]]:
    """A text as long as `prose`, its beginning with facts in it, and questions about them with their answers; and where
    the values that were asked for are."""
    facts = memories.facts(chance, FACTS)
    told = [encode(f"\n\n{statement}\n\n") for statement, _, _ in facts]
    asked, values = [], []
    for statement, question, answer in chance.sample(facts, FACTS):
        value = memories.value_of(statement, answer)
        lead, rest = answer.rsplit(value, 1)
        asked += encode(f"\n\nQuestion: {question}\nAnswer: {lead.rstrip()}")
        ids = encode(f" {value}")
        values.append(range(len(asked), len(asked) + len(ids)))
        asked += ids + encode(rest)
    filler = prose.tolist()[: len(prose) - sum(map(len, told)) - len(asked)]
    text = []
    for number, statement in enumerate(told):
        text += filler[len(filler) * number // FACTS : len(filler) * (number + 1) // FACTS] + statement
    return torch.tensor(text + asked), [range(len(text) + each.start, len(text) + each.stop) for each in values]


def recalled(model: Decoder, text: torch.Tensor, values: list[range], near) -> tuple[list[bool], list[bool]]:
    """Of the values of a text, each token and each value: whether it is the most likely one."""
    logits = late_logits(model, text, near)
    late = text[-len(logits) :]
    right = [False] * (len(text) - len(late)) + (logits.argmax(-1) == late).tolist()
    return [right[i] for each in values for i in each], [all(right[i] for i in each) for each in values]


def write_profile(path: Path, profile: dict, gates: list[Gates]):
    """The profile with the gates' weights: a score's order does without the bias."""
    rows = [row for of_layer in gates for row in of_layer.net.weight.tolist()]
    lines = ",\n".join("[" + ",".join(f"{x:.3g}" for x in row) + "]" for row in rows)
    text = json.dumps({name: value for name, value in profile.items() if name != "retention_gates"}, indent=2)
    path.write_text(text.removesuffix("\n}") + f',\n  "retention_gates": [\n{lines}\n]\n}}\n')


def main(arguments: list[str] | None = None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder with the tokenizer and the packed sources")
    parser.add_argument("--sources", nargs="+", default=["books", "dialogue", "far"])
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--window", type=int, default=160, help="tokens before the current one beside those kept")
    parser.add_argument("--kept", type=int, default=160, help="tokens kept by their scores")
    parser.add_argument("--hidden", type=int, nargs="+", default=[0], help="hidden units of a gate; 0: it is linear")
    parser.add_argument("--far", type=int, default=14, help="heads that see everything")
    parser.add_argument("--observed", type=int, default=2, help="texts of each source to learn from")
    parser.add_argument("--texts", type=int, default=2, help="held-out texts of each source")
    parser.add_argument(
        "--recall", type=int, default=0, help=f"texts with {FACTS} facts each, made of the first source"
    )
    parser.add_argument("--learn", nargs="+", help="sources that gates learn from (default: all)")
    parser.add_argument("--profile", type=Path, help="of the base, as `attamba profile --json` prints it")
    parser.add_argument("--into", type=Path, help="the same with linear gates")
    parser.add_argument("--seed", type=int, default=0, help="another one learns from other texts")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args(arguments)
    if chosen.into and (not chosen.profile or 0 not in chosen.hidden):
        parser.error("--into needs --profile, and linear gates (--hidden 0)")
    if chosen.kept < 1:
        parser.error(f"--kept is {chosen.kept}; it must be at least 1")
    torch.set_num_threads(chosen.threads)
    base = gguf_file.load(chosen.base).eval()
    far = pretrained.far_heads_of(chosen.base, base.config)[: chosen.far]
    tokens = tokenizer.load(chosen.data / "tokenizer.json")

    def texts(split: str, source: str, count: int, first: int = 0) -> list[torch.Tensor]:
        packed = token_file.read(chosen.data, source, split, tokens)[first:]
        windows = even_windows(packed, chosen.context, count * chosen.context)
        return [torch.from_numpy(each) for each in windows]

    first = chosen.seed * chosen.context
    sources = chosen.learn or chosen.sources
    learned = [each for source in sources for each in texts("train", source, chosen.observed, first)]
    seen = [observe(base, each[:-1], chosen.window) for each in learned]
    window_only = view(base, Chunks(0, chosen.window + chosen.kept, far_heads=far))
    kept, heads = Kept(chosen.window, chosen.kept), range(base.config.kv_heads)

    def near(gates: list[Gates]):
        def seen_by(index: int, x: torch.Tensor):
            scores = gates[index](x)[0]
            far_here = window_only.config.far_in(index)
            groups = [([head], kept.sight(scores[:, head])) for head in heads if head not in far_here]
            return groups + ([(list(far_here), None)] if far_here else [])

        return seen_by

    ways = {"full attention": (base, None), f"by head, window {chosen.window + chosen.kept}": (window_only, None)}
    for hidden in chosen.hidden:
        fitted = [fit([of_text[layer] for of_text in seen], hidden, 1) for layer in range(base.config.layers)]
        explained = torch.stack([share for _, share in fitted]).flatten().median()
        kind = f"{hidden} units" if hidden else "linear"
        print(
            f"{kind}: variance of the logarithm of far attention explained, median of heads: {explained:.2f}",
            flush=True,
        )
        if chosen.into and not hidden:
            profile = json.loads(chosen.profile.read_text())
            write_profile(chosen.into, profile, [gates for gates, _ in fitted])
        name = f"by head, window {chosen.window} and {chosen.kept} kept, {kind}"
        ways[name] = (window_only, near([gates for gates, _ in fitted]))
    for source in chosen.sources:
        held_out, best = texts("validation", source, chosen.texts), None
        for name, (model, choice) in ways.items():
            loss = sum(late_loss(model, each, choice) for each in held_out) / len(held_out)
            best = loss if best is None else best
            print(f"{source}, {name}: {math.exp(loss):.2f}, x {math.exp(loss - best):.4f}", flush=True)
    if not chosen.recall:
        return
    chance = random.Random(1)
    asking = [
        questions(chance, each, lambda text: tokens.encode(text).ids)
        for each in texts("validation", chosen.sources[0], chosen.recall)
    ]
    for name, (model, choice) in ways.items():
        each, whole = zip(*(recalled(model, *text, choice) for text in asking), strict=True)
        each, whole = list(chain(*each)), list(chain(*whole))
        print(
            f"recall, {name}: {sum(each)} of {len(each)} tokens, {sum(whole)} of {len(whole)} values",
            flush=True,
        )


if __name__ == "__main__":
    main()
