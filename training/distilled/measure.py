"""How good a distilled model is: perplexity and agreement with its base, compared with windows of equal memory.

    python training/distilled/measure.py --base BASE.gguf --model MERGED.gguf --data DIR --out figures.json

Held-out windows of each source and length are evaluated by the base with full attention, by the base with a sliding
window and the sink, by the base restricted to chunk boundaries and a window, and by the distilled model. Results
are kept in `--out`, and existing ones are not measured again; the tables go to standard output.
"""

import argparse
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.nn import functional as F

from attamba_train import evaluate, gguf_file, token_file, tokenizer
from attamba_train.batches import even_windows
from attamba_train.model import Chunks, Decoder, ModelConfig

SLICE = 512  # tokens whose logits are held at once
NEVER = 1 << 20  # a chunk length whose boundary no text here reaches, in any layer


@dataclass(frozen=True)
class Case:
    kind: str
    """`full`, `window`, `restricted`, `distilled` or, to show what its chunks are worth, `distilled window`."""
    chunk: int = 0
    window: int = 0

    @property
    def name(self) -> str:
        if self.kind == "full":
            return "base, full attention"
        if self.kind in ("window", "distilled window"):
            return f"{'base' if self.kind == 'window' else 'distilled'}, window of {self.window} and the sink"
        return f"{self.kind}, P {self.chunk} L {self.window}"


# The lengths at which the cases are compared: as many entries at 8192 tokens, or half, or a quarter of them.
CASES = [
    Case("full"),
    Case("window", window=1024),
    Case("distilled window", window=1024),
    Case("restricted", 16, 512),
    Case("distilled", 16, 512),
    Case("restricted", 32, 768),
    Case("distilled", 32, 768),
    Case("restricted", 64, 896),
    Case("distilled", 64, 896),
    Case("restricted", 8, 64),
    Case("distilled", 8, 64),
    Case("window", window=512),
    Case("distilled window", window=512),
    Case("restricted", 32, 256),
    Case("distilled", 32, 256),
    Case("distilled", 64, 384),
    Case("restricted", 16, 64),
    Case("distilled", 16, 64),
    Case("window", window=256),
    Case("distilled window", window=256),
    Case("restricted", 64, 128),
    Case("distilled", 64, 128),
    Case("restricted", 4, 64),
    Case("distilled", 4, 64),
    Case("window", window=2048),
]


def build(case: Case, base: Decoder, distilled: Decoder) -> Decoder:
    """The model for a case, sharing its parameters with those given."""
    source = distilled if case.kind.startswith("distilled") else base
    # A model with mixers has chunks; chunks that no text ever fills add nothing to a window.
    chunks = None if case.kind == "full" else Chunks(case.chunk or bool(source.config.mixer) * NEVER, case.window)
    model = Decoder(replace(source.config, chunks=chunks))
    for name, parameter in source.named_parameters():
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, parameter)
    return model.eval()


@torch.no_grad()
@torch.autocast("cpu", torch.bfloat16)
def score(model: Decoder, windows: torch.Tensor, greedy: list) -> dict:
    """Loss in nats and how often the most likely token is that of `greedy`; an empty `greedy` is filled.

    Products are computed in bfloat16, for all models alike, which changes a perplexity by a few tenths of a percent.
    """
    loss = agreed = count = 0.0
    fill = not greedy
    for number, window in enumerate(windows):
        hidden = model.hidden(window[None, :-1], *model.plan(len(window) - 1, None, window.device))[0]
        likeliest = []
        for part, targets in zip(hidden.split(SLICE), window[1:].split(SLICE), strict=True):
            logits = F.linear(part, model.output_weight).float()
            loss += F.cross_entropy(logits, targets, reduction="sum").item()
            likeliest.append(logits.argmax(-1))
        likeliest = torch.cat(likeliest)
        if fill:
            greedy.append(likeliest)
        agreed += (likeliest == greedy[number]).sum().item()
        count += len(likeliest)
    return {"loss": loss / count, "agreement": agreed / count, "tokens": int(count)}


def kv_bytes(case: Case, base: ModelConfig, tokens: int) -> int:
    chunks = None if case.kind == "full" else Chunks(case.chunk, case.window)
    return replace(base, chunks=chunks).kv_bytes(tokens)


def table(found: dict, base: ModelConfig, sources: list[str], context: int):
    full = kv_bytes(Case("full"), base, context)
    print(f"\n{context} tokens\n")
    print(
        "| model | KV KiB | reduction | " + " | ".join(f"{s} perplexity | % of base | agrees" for s in sources) + " |"
    )
    print("|---|--:|--:|" + "--:|--:|--:|" * len(sources))
    for case in CASES:
        bytes_ = kv_bytes(case, base, context)
        row = [case.name, f"{bytes_ // 1024}", f"{full / bytes_:.1f}"]
        for source in sources:
            one, best = (found.get(key(each, source, context)) for each in (case, Case("full")))
            if not one or not best:
                break
            more = 100 * (math.exp(one["loss"] - best["loss"]) - 1)
            row += [f"{evaluate.perplexity(one['loss']):.2f}", f"{more:+.1f}", f"{100 * one['agreement']:.1f} %"]
        else:
            print("| " + " | ".join(row) + " |")


def key(case: Case, source: str, context: int) -> str:
    return f"{case.name}, {source}, {context}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="the distilled model, merged")
    parser.add_argument("--data", type=Path, required=True, help="folder with the tokenizer and the packed sources")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sources", nargs="+", default=["books", "dialogue"])
    parser.add_argument("--contexts", type=int, nargs="+", default=[8192, 4096, 1024])
    parser.add_argument("--tokens", type=int, default=24576, help="tokens of each source and length")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    base, distilled = (gguf_file.load(path).requires_grad_(False) for path in (chosen.base, chosen.model))
    text = tokenizer.load(chosen.data / "tokenizer.json")
    found = json.loads(chosen.out.read_text()) if chosen.out.exists() else {}
    for context in chosen.contexts:
        for source in chosen.sources:
            tokens = token_file.read(chosen.data, source, "validation", text)
            windows = torch.from_numpy(even_windows(tokens, context, chosen.tokens))
            greedy = []
            missing = [case for case in CASES if key(case, source, context) not in found]
            # Agreement is with the base, which comes first.
            for case in ([Case("full")] if missing and missing[0] != Case("full") else []) + missing:
                found[key(case, source, context)] = score(build(case, base, distilled), windows, greedy)
                chosen.out.write_text(json.dumps(found, indent=1) + "\n")
                print(f"{key(case, source, context)}: {found[key(case, source, context)]}", flush=True)
    for context in chosen.contexts:
        table(found, base.config, chosen.sources, context)


if __name__ == "__main__":
    main()
