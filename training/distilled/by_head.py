"""Perplexity of a base and of models trained from it with memory by head, at held-out text of 8192 tokens.

    python training/distilled/by_head.py --base BASE.gguf --models TRAINED.gguf... --data DIR [--windows 641 2797]
        [--chunks 64:513]

BASE has a profile; its first heads see everything, the others position 0 and a window, or with `--chunks` a state per
chunk before a window too, if the model has mixers. The late half of each text is compared with that of the base with
full attention.
"""

import argparse
import math
from dataclasses import replace
from pathlib import Path

import torch
from torch.nn import functional as F

from attamba_train import gguf_file, pretrained, token_file, tokenizer
from attamba_train.batches import even_windows
from attamba_train.model import Chunks, Decoder
from attamba_train.run_config import PRECISIONS

CONTEXT, SLICE = 8192, 512  # SLICE: tokens whose logits are held at once


def view(model: Decoder, chunks: Chunks | None) -> Decoder:
    """`model`, whose heads see what `chunks` says (None: everything); it shares its parameters."""
    other = Decoder(replace(model.config, chunks=chunks))
    for name, parameter in model.named_parameters():
        parent, _, last = name.rpartition(".")
        setattr(other.get_submodule(parent), last, parameter)
    return other.eval()


def chunks(text: str) -> Chunks:
    length, window = text.split(":")
    return Chunks(int(length), int(window))


@torch.no_grad()
def late_loss(model: Decoder, window: torch.Tensor) -> float:
    """Mean loss in nats of the second half of a text."""
    hidden = model.hidden(window[None, :-1], *model.plan(len(window) - 1, None, window.device))[0]
    half = (len(window) - 1) // 2
    losses = [
        F.cross_entropy(F.linear(part, model.output_weight).float(), targets, reduction="sum").item()
        for part, targets in zip(hidden[half:].split(SLICE), window[1 + half :].split(SLICE), strict=True)
    ]
    return sum(losses) / (len(window) - 1 - half)


def main(arguments: list[str] | None = None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--models", type=Path, nargs="+", required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder with the tokenizer and the packed sources")
    parser.add_argument("--sources", nargs="+", default=["books", "dialogue"])
    parser.add_argument("--windows", type=int, nargs="+", default=[641, 2797], help="tokens before the current one")
    parser.add_argument("--chunks", type=chunks, nargs="+", default=[], metavar="TOKENS:WINDOW")
    parser.add_argument("--far", type=int, default=14, help="heads that see everything")
    parser.add_argument("--context", type=int, default=CONTEXT)
    parser.add_argument("--texts", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=PRECISIONS, default="bfloat16")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    base = gguf_file.load(chosen.base)
    models = {"base": base} | {path.stem: gguf_file.load(path) for path in chosen.models}
    far = pretrained.far_heads_of(chosen.base, base.config)[: chosen.far]

    def sights(model: Decoder) -> dict[str, Chunks | None]:
        # Mixers can't be without chunks: one that is as long as the text is never closed.
        whole = chosen.context if model.config.mixer else 0
        found = {"full attention": Chunks(whole, chosen.context) if whole else None}
        found |= {f"window {each}": Chunks(whole, each, far_heads=far) for each in chosen.windows}
        for each in chosen.chunks if whole else []:
            found[f"P {each.length}, window {each.window}"] = replace(each, far_heads=far)
        return found

    text = tokenizer.load(chosen.data / "tokenizer.json")
    for source in chosen.sources:
        held_out = token_file.read(chosen.data, source, "validation", text)
        texts = torch.from_numpy(even_windows(held_out, chosen.context, chosen.texts * chosen.context))
        best = None
        for name, model in models.items():
            for sight, seen in sights(model).items():
                seeing = view(model, seen)
                with torch.autocast("cpu", torch.bfloat16, enabled=chosen.precision == "bfloat16"):
                    loss = sum(late_loss(seeing, each) for each in texts) / len(texts)
                best = loss if best is None else best
                print(f"{source}, {name}, {sight}: {math.exp(loss):.2f}, x {math.exp(loss - best):.4f}", flush=True)


if __name__ == "__main__":
    main()
