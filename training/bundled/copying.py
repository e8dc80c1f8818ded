"""Heads that copy names, for a small Attamba that loses them.

    python training/bundled/copying.py training/configs/bundled-copying.yaml --data DATA --out FOLDER

Of the bundled model's loss a fifth lies in names that come back. It knows who is meant, but not who that was: after the
first layer the residual stream hardly holds a token's identity, and heads that see chunks could not fetch it. So the
model gets new parts, and little else is trained, in steps of eight windows of 320 tokens:

1. Two heads more in each layer, those of the last two layers see far. Their queries and keys are trained for 100 steps
   to look at where the next token, if it is a name that comes back, was before.
2. 64 units more in the first feed-forward network, which write what kind of name a token is into directions of the
   residual stream to which the loss is least sensitive. Computed, not trained: the values of the new heads read it
   (least squares), and their outputs are the embeddings of names.
3. Rounds of training of all that is new and of the embeddings of names, which are alike where names are used alike, at
   a rate that falls linearly, names that come back weighted fourfold. In the last round all tokens count alike:
   otherwise somebody new would get the name of somebody who is there. What the new heads would write with all their
   attention on a name, of any in the text, is to say which it is: names that come back alone teach that too slowly,
   and then the right place is looked at and another name said.
4. Steps in which all weights are trained, on windows that start as a chat does, with the end-of-text token; a quarter
   of them are small talk, which is a tenth of the text. Windows that start anywhere hardly ever have that token first,
   where all heads see it; without these steps a greeting was answered as if names had been exchanged.

Prints the held-out loss per token, that of names that come back, how many of them are right, how far attention is
from them in nats, and how many names the new heads would say right. The folder gets a checkpoint after each round, from
which it continues, and the model as a file.
"""

import argparse
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from compose import Composer
from torch.nn import functional as F

from attamba_train import checkpoint, corpus, gguf_file, run_config, tokenizer, trainer, weights
from attamba_train.batches import Mixture
from attamba_train.model import Decoder
from attamba_train.model.attention import rotary_tables, rotate
from attamba_train.tokenizer import END_OF_TEXT

HEADS = 2  # more in each layer
UNITS = 64  # more in each feed-forward network
LAYERS = 2  # the last ones, whose new heads see far
REACH = 300  # tokens within which a name comes back
RARE = 1e-3  # a word in capitals that is more frequent is hardly a name
BATCH, LENGTH = 8, 320
HELD = 8  # windows of the context's length
WEIGHT = 4.0  # of names that come back
RATE = 2e-3
FINISHING = 3e-4  # learning rate of all weights
TALK = 2  # windows of a finishing batch that are small talk
LOOKING = 100  # steps
SAYING = 0.3  # weight of the loss of what heads write
FREQUENCIES = 3_000_000  # tokens from which they are counted
FEW = 20  # tokens of a name below which its weight there does not rise further
AMPLITUDE, GAIN, SHARPNESS = 16.0, 5.0, 6.0


def names(vocabulary: dict[str, int], tokens: np.ndarray) -> torch.Tensor:
    """Which tokens are likely names: a word that begins with a capital, rare in `tokens`. [vocab]"""
    share = np.bincount(tokens, minlength=len(vocabulary)) / len(tokens)
    likely = np.zeros(len(vocabulary), bool)
    for text, number in vocabulary.items():
        likely[number] = bool(re.fullmatch(r"Ġ[A-Z][a-z]+", text)) and share[number] < RARE
    return torch.from_numpy(likely)


def coming_back(windows: torch.Tensor, likely: torch.Tensor) -> torch.Tensor:
    """Which targets of `windows` [B, T + 1] are names that the last `REACH` tokens have. [B, T]"""
    found = torch.zeros(windows.shape[0], windows.shape[1] - 1, dtype=torch.bool)
    for row, window in enumerate(windows.tolist()):
        last: dict[int, int] = {}
        for at, token in enumerate(window):
            if likely[token]:
                found[row, at - 1] |= at > 0 and token in last and at - last[token] < REACH
                last[token] = at
    return found


def begins(window: torch.Tensor, end: int) -> int:
    """Where the first end of text is in `window` [T] that has `LENGTH` tokens after it; 0 if there is none."""
    ends = (window[: len(window) - LENGTH] == end).nonzero().flatten()
    return int(ends[0]) if len(ends) else 0


class SmallTalk:
    """Windows of conversations without a story. Each window begins as a chat does, after an end of text."""

    def __init__(self, tokenizer):
        self.composer, self.tokenizer = Composer(seed=4), tokenizer
        self.end = tokenizer.token_to_id(END_OF_TEXT)

    def windows(self, step: int, count: int, length: int) -> torch.Tensor:
        """[count, length]"""
        pick, rows = random.Random(f"talk {step}"), []
        for _ in range(count):
            row = [self.end]
            while len(row) < length:
                turns = self.composer.typed(self.composer.other(pick), pick)
                row += self.tokenizer.encode(corpus.as_chat(turns)).ids
            rows.append(row[:length])
        return torch.tensor(rows)


def widened(base: Decoder) -> tuple[Decoder, dict[str, torch.Tensor]]:
    """A model that computes what `base` does, with the new parts; for each parameter with such, 1 where it is new."""
    config = base.config
    heads, layers = config.heads + HEADS, range(config.layers - LAYERS, config.layers)
    far = tuple((layer, head) for layer in layers for head in range(config.heads, heads))
    model = Decoder(
        replace(
            config,
            heads=heads,
            kv_heads=heads,
            feed_forward=config.feed_forward + UNITS,
            projected_kv=True,
            chunks=replace(config.chunks, far_heads=far),
        )
    ).init_weights(seed=3)
    state, old, new = model.state_dict(), base.state_dict(), {}
    for name, value in state.items():
        before = old.get(name, torch.eye(config.width) if re.search(r"attn_[kv]\.weight", name) else None)
        if before is None or before.shape == value.shape:
            state[name] = value if before is None else before
            continue
        # What reads may be random where its output is not used yet; what writes begins with zero.
        if not (re.search(r"attn_[qkv]\.weight", name) and int(name.split(".")[1]) in layers):
            value = torch.zeros_like(value)
        new[name] = torch.ones_like(value)
        part = tuple(slice(size) for size in before.shape)
        value[part], new[name][part] = before, 0
        state[name] = value
    model.load_state_dict(state)
    return model, new


class Copying:
    """A widened model, and what its training needs."""

    def __init__(self, base: Decoder, mixture: Mixture, held: np.ndarray, likely: torch.Tensor):
        self.model, self.new = widened(base)
        self.mixture, self.held, self.likely = mixture, torch.from_numpy(held), likely
        # Names that are used alike have embeddings alike: those may part.
        self.new["token_embd.weight"] = likely[:, None].expand_as(self.model.token_embd.weight).float()
        self.layers = range(base.config.layers - LAYERS, base.config.layers)
        self.first = base.config.heads  # of the new heads
        self.new_rows = slice(self.first * base.config.head_dim, None)  # of the attention matrices of the last layers
        # Names that are seldom count for more than they occur.
        [source] = mixture.sources
        occurs = np.bincount(source.tokens[:FREQUENCIES], minlength=len(likely))
        self.balance = torch.from_numpy(occurs).clamp_min(FEW).float().rsqrt()
        self.inputs: dict[int | None, torch.Tensor] = {}  # of the attention of the last layers; None: of the output
        self.model.output_norm.register_forward_hook(lambda _, given, __: self.inputs.update({None: given[0].detach()}))
        self.seen: dict[tuple[int, str], torch.Tensor] = {}
        for layer in self.layers:
            norm = self.model.blk[layer].attn_norm
            norm.register_forward_hook(lambda _, __, out, key=layer: self.inputs.update({key: out}))
            for name in "qk":
                norm = self.model.blk[layer].get_submodule(f"attn_{name}_norm")
                norm.register_forward_hook(lambda _, __, out, key=(layer, name): self.seen.update({key: out}))
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name in self.new)

    def windows(self, step: int, count: int = BATCH, length: int = LENGTH) -> torch.Tensor:
        return torch.from_numpy(self.mixture.batch(step * count, count))[:, : length + 1]

    def hidden(self, tokens: torch.Tensor, chunk: int | None = None) -> torch.Tensor:
        return self.model.hidden(tokens, *self.model.plan(tokens.shape[1], chunk, tokens.device, None))

    def losses(self, windows: torch.Tensor, chunk: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Of each target, and whether it is the most likely token. Both [B, T]"""
        logits = F.linear(self.hidden(windows[:, :-1], chunk), self.model.output_weight)
        each = F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten(), reduction="none")
        return each.unflatten(0, windows[:, 1:].shape), logits.argmax(-1) == windows[:, 1:]

    def looking(self, windows: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
        """How far the new heads of the last forward pass are from looking at where those names were: of each layer the
        mean -ln of the share of attention that is there."""
        row, at = back.nonzero(as_tuple=True)
        tokens, target = windows[:, :-1], windows[:, 1:][row, at]
        visible = torch.arange(tokens.shape[1])[None] <= at[:, None]
        there = visible & (tokens[row] == target[:, None])
        table = rotary_tables(tokens.shape[1], self.model.config, tokens.device)[0]
        far = []
        for layer in self.layers:
            q, k = (rotate(self.seen[layer, name], table)[:, :, self.first :] for name in "qk")
            score = torch.einsum("nhd,nthd->nht", q[row, at], k[row]) / q.shape[-1] ** 0.5
            share = [score.masked_fill(~mask[:, None], -torch.inf).logsumexp(-1) for mask in (there, visible)]
            far.append((share[1] - share[0]).mean())
        return torch.stack(far)

    def saying(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the names among `tokens` [B, T], those of the last forward pass: the mean loss of telling which it is from
        what the new heads write when all their attention is on it, and how many are told right."""
        named = self.likely[tokens]
        candidates, which = tokens[named], self.likely.nonzero().flatten()
        written = torch.zeros(len(candidates), self.model.config.width)
        for layer in self.layers:
            attention = self.model.blk[layer]
            values = self.inputs[layer][named] @ attention.attn_v.weight[self.new_rows].T
            written = written + values @ attention.attn_output.weight[:, self.new_rows].T
        scale = self.model.output_norm.weight / self.inputs[None].square().mean(-1).sqrt().mean()
        logits = (written * scale) @ self.model.token_embd.weight[which].T
        right, weight = torch.searchsorted(which, candidates), self.balance[candidates]
        each = F.cross_entropy(logits, right, reduction="none")
        return (each * weight).sum() / weight.sum().clamp_min(1e-9), (logits.argmax(1) == right).float().mean()

    def train(self, first: int, steps: int, back_weight: float | None):
        """`steps` steps of the new parts from the data of step `first` on, with this weight of names that come back;
        without one, only where the new heads look is trained."""

        def loss(step: int, chunk: int) -> torch.Tensor:
            windows = self.windows(first + step)
            back = coming_back(windows, self.likely)
            total = torch.zeros(())
            if back_weight is None:
                self.hidden(windows[:, :-1], chunk)
            else:
                each, _ = self.losses(windows, chunk)
                weight = 1 + (back_weight - 1) * back
                total = (each * weight).sum() / weight.sum() + SAYING * self.saying(windows[:, :-1])[0]
            return total + 0.1 * self.looking(windows, back).sum() if back.any() else total

        self._steps(steps, RATE, loss)

    def finish(self, first: int, steps: int, talk: SmallTalk):
        """`steps` steps of all weights from the data of step `first` on, with windows that begin as a chat does."""
        self.new = {}
        self.model.requires_grad_(True)

        def loss(step: int, chunk: int) -> torch.Tensor:
            windows = self.windows(first + step, length=self.model.config.context)
            rows = torch.stack([row[begins(row, talk.end) :][: LENGTH + 1] for row in windows[TALK:]])
            return self.losses(torch.cat([talk.windows(first + step, TALK, LENGTH + 1), rows]), chunk)[0].mean()

        self._steps(steps, FINISHING, loss)

    def _steps(self, steps: int, rate: float, loss_of: Callable[[int, int], torch.Tensor]):
        """Minimizes `loss_of(step, chunk length)`, at a rate that falls linearly."""
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(parameters, lr=rate, betas=(0.9, 0.98))
        chunks = self.model.config.chunks
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1, (step + 1) / 10) * (1 - 0.95 * step / steps)
            chunk = int(np.random.default_rng([9, step]).choice(chunks.trained_lengths or [chunks.length]))
            loss = loss_of(step, chunk)
            loss.backward()
            for name, parameter in self.model.named_parameters():
                if parameter.grad is not None and name in self.new:
                    parameter.grad *= self.new[name]
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if step % 20 == 19:
                print(f"step {step + 1}: {loss.item():.4f}", flush=True)

    def names_in(self, batches: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The inputs of `batches`, which of them are names, and the mean embedding of those."""
        tokens = torch.cat([batch[:, :-1] for batch in batches]).flatten()
        named = self.likely[tokens]
        return tokens, named, self.model.token_embd.weight.data[tokens[named]].mean(0)

    @torch.no_grad()
    def legible(self) -> list[float]:
        """The share of names that a linear reading of each layer's input, fitted to other tokens, tells apart."""
        blocks, batches = self.model.blk, self.sample()
        tokens, named, mean = self.names_in(batches)
        which, candidates = tokens[named], tokens[named].unique()
        embedding = self.model.token_embd.weight.data - mean
        fitted, shares = 4 * len(which) // 5, []
        for x in self._inputs(dict(enumerate(block.attn_norm for block in blocks)), batches).values():
            x = x[named] - x[named][:fitted].mean(0)
            read = x[fitted:] @ _least_squares(x[:fitted], embedding[which[:fitted]])
            nearest = candidates[torch.cdist(read, embedding[candidates]).argmin(1)]
            shares.append((nearest == which[fitted:]).float().mean().item())
        return shares

    def sample(self) -> list[torch.Tensor]:
        return [self.windows(5000 + i, 4, self.model.config.context) for i in range(14)]

    def carry(self):
        """Computes what writes the identity of names into the residual stream, what reads it and what it says."""
        blocks, embedding = self.model.blk, self.model.token_embd.weight.data
        batches = self.sample()
        tokens, named, mean = self.names_in(batches)
        known = embedding[tokens[named]]
        main = torch.linalg.svd(known - mean, full_matrices=False)[2][:UNITS]
        code = (embedding - mean) @ main.T
        code = code / code[tokens[named].unique()].norm(dim=1).mean()
        with torch.no_grad():
            inputs = self._inputs({0: blocks[0].ffn_norm}, batches)[0]
            sign = torch.where(named, 1.0, -1.0)
            share = torch.where(named, (~named).float().mean(), named.float().mean())
            gate = _least_squares(inputs, sign, share)
            units = slice(-UNITS, None)
            blocks[0].ffn_gate.weight[units] = SHARPNESS * gate
            blocks[0].ffn_up.weight[units] = _least_squares(inputs[named], code[tokens[named]]).T
        quiet = self._least_sensitive(batches[:12])
        with torch.no_grad():
            blocks[0].ffn_down.weight[:, units] = AMPLITUDE / SHARPNESS * quiet
            inputs = self._inputs({layer: blocks[layer].attn_norm for layer in self.layers}, batches)
            new = self.new_rows
            for layer in self.layers:
                x = torch.cat([inputs[layer][named], inputs[layer][~named][: int(named.sum())]])
                y = torch.cat([code[tokens[named]], torch.zeros(len(x) - int(named.sum()), UNITS)])
                blocks[layer].attn_v.weight[new] = _least_squares(x, y).T
                blocks[layer].attn_output.weight[:, new] = GAIN * main.T

    def _inputs(self, modules: dict[int, torch.nn.Module], batches: list[torch.Tensor]) -> dict[int, torch.Tensor]:
        """The outputs of these modules for all tokens of `batches`. [tokens, width]"""
        found: dict[int, list[torch.Tensor]] = {key: [] for key in modules}
        hooks = [m.register_forward_hook(lambda _, __, out, key=k: found[key].append(out)) for k, m in modules.items()]
        for batch in batches:
            self.hidden(batch[:, :-1])
        for hook in hooks:
            hook.remove()
        return {key: torch.cat(each).flatten(0, 1) for key, each in found.items()}

    def _least_sensitive(self, batches: list[torch.Tensor]) -> torch.Tensor:
        """Orthonormal directions of the residual stream after the first layer along which the loss changes least.
        [width, UNITS]"""
        width = self.model.config.width
        total, out = torch.zeros(width, width), []

        def keep(_, __, h):
            h.retain_grad()
            out.append(h)

        hook = self.model.blk[0].register_forward_hook(keep)
        for batch in batches:
            self.losses(batch)[0].sum().backward()
            slope = out.pop().grad.flatten(0, 1)
            total += slope.T @ slope
            self.model.zero_grad(set_to_none=True)
        hook.remove()
        return torch.linalg.eigh(total)[1][:, :UNITS]

    @torch.no_grad()
    def report(self, what: str):
        back = coming_back(self.held, self.likely)
        each, right = self.losses(self.held)
        said = self.saying(self.held[:, :-1])[1]
        far = ", ".join(f"{nats:.2f}" for nats in self.looking(self.held, back).tolist())
        print(
            f"{what}: held-out loss {each.mean():.4f}, of {int(back.sum())} names that come back "
            f"{each[back].mean():.3f}, {right[back].float().mean():.0%} right; attention {far}; "
            f"of all names {said:.0%} would be said right",
            flush=True,
        )


def _least_squares(x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """`b` with x b nearly y, slightly damped. x [n, width], y [n, ...], weight [n]"""
    weighted = x.T if weight is None else x.T * weight
    square = weighted @ x
    return torch.linalg.solve(square + 1e-3 * square.diagonal().mean() * torch.eye(x.shape[1]), weighted @ y)


def main(argv: list[str] | None = None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="a run's settings, with `init`: the model")
    parser.add_argument("--data", type=Path, required=True, help="the folder that prepare.sh has filled")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, nargs="+", default=[300, 200, 400, 300], help="steps of each")
    parser.add_argument("--looking", type=int, default=LOOKING, help="steps before the rounds")
    parser.add_argument("--finishing", type=int, default=300, help="steps after them")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args(argv)
    torch.set_num_threads(chosen.threads)
    config = run_config.load(chosen.config)
    mixture, held = trainer.load_data(config, chosen.data)
    [train], [held] = mixture.sources, held.values()
    splits = tokenizer.load(chosen.data / config.data.tokenizer)
    base = weights.first(config, chosen.data)
    copying = Copying(base, mixture, held[:HELD], names(splits.get_vocab(), train.tokens))
    chosen.out.mkdir(parents=True, exist_ok=True)
    done = 0
    if checkpoint.exists(chosen.out):
        state = checkpoint.load(chosen.out)
        done = state["rounds"]
        copying.model.load_state_dict(state["model"])
    else:
        shares = ", ".join(f"{share:.0%}" for share in copying.legible())
        print(f"names that can be read from the residual stream, at the input of each layer: {shares}", flush=True)
        copying.report("before")
        copying.train(0, chosen.looking, None)
        copying.carry()
    for number, steps in enumerate(chosen.rounds):
        if number >= done:
            copying.report(f"before round {number + 1}")
            last = number == len(chosen.rounds) - 1
            copying.train(chosen.looking + sum(chosen.rounds[:number]), steps, 1.0 if last else WEIGHT)
            checkpoint.save(chosen.out, {"rounds": number + 1, "model": copying.model.state_dict()})
    copying.report("after all rounds")
    copying.finish(chosen.looking + sum(chosen.rounds), chosen.finishing, SmallTalk(splits))
    copying.report("finished")
    for chunk in copying.model.config.chunks.trained_lengths:
        with torch.no_grad():
            loss = copying.losses(copying.held, chunk)[0].mean()
        print(f"perplexity of {HELD} held-out windows with chunks of {chunk}: {loss.exp():.3f}")
    path = chosen.out / f"{config.name}.gguf"
    gguf_file.save(path, copying.model, config.name, "Q8_0", gguf_file.load_text(Path(config.init)), 0.3)
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
