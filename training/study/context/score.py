"""What the trained models of the study know of what is far: scores for `report.py`, kept in `results/`.

    python training/study/context/score.py --data DATA --out RUNS --books books.jsonl.xz [--texts N]

All texts are 2048 tokens of held-out books, the same for every model: as they are, with loss by position; with a
passage that comes again after a distance; and with a fact that is asked for after a distance. The kinds of facts are
those of the training text; values and passages are others.
"""

import argparse
import json
import random
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from attamba_train import checkpoint, corpus, token_file, tokenizer
from attamba_train.model import Decoder

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "distilled"))
import memories
from common import folder_name, kept, runs

STUDY = "context"
CONTEXT = 2048
DISTANCES = (128, 512, 1024, 1792)
"""Tokens from a passage or fact to where it is needed."""
BANDS = (0, 256, 512, 1024, CONTEXT)
"""Positions between which losses are averaged."""
REPEATED, GIVEN = 80, 16
"""Tokens of a passage, and how many of them a repetition shows before the rest is scored."""

Scored = tuple[list[int], range]
"""Tokens of a text, and which of them are scored, as indices."""


class Texts:
    """Makes texts of the words of held-out books."""

    def __init__(self, books: Path, held_out: float, tokens: tokenizer.Tokenizer, seed: int):
        self.tokens, self.chance = tokens, random.Random(seed)
        held = [book for book in corpus.documents(books) if token_file.fraction(book) < held_out]
        self.books = [book.split()[:-1] for book in held]

    def encode(self, text: str) -> list[int]:
        return self.tokens.encode(text).ids

    def prose(self, count: int) -> list[int]:
        """`count` tokens of one book."""
        words = self.chance.choice(self.books)
        first = self.chance.randrange(max(1, len(words) - count))
        ids = self.encode(" ".join(words[first : first + count]))
        return (ids * (count // len(ids) + 1))[:count]

    def plain(self) -> Scored:
        return self.prose(CONTEXT + 1), range(1, CONTEXT + 1)

    def repetition(self, distance: int) -> Scored:
        """A passage, and once more so that its beginnings are `distance` tokens apart."""
        passage = self.prose(REPEATED)
        between = self.prose(distance - REPEATED)
        before = self.prose(CONTEXT + 1 - distance - REPEATED)
        text = before + passage + between + passage
        return text, range(len(text) - REPEATED + GIVEN, len(text))

    def fact(self, distance: int) -> Scored:
        """A fact, and its question so that the answer is about `distance` tokens later."""
        person, place = self.chance.choice(memories.PEOPLE), self.chance.choice(memories.PLACES)
        statement, question, answer = memories.fact(self.chance, person, place)
        value = memories.value_of(statement, answer)
        told, asked = self.encode(f"\n\n{statement}\n\n"), self.encode(f"\n\nQuestion: {question}\nAnswer:")
        # The value as it follows the beginning of the answer: what the two ways of writing do not share.
        whole = self.encode(f"\n\nQuestion: {question}\nAnswer: {answer}")
        lead = self.encode(f"\n\nQuestion: {question}\nAnswer: {answer[: answer.rindex(value)].rstrip()}")
        first = next((i for i, (a, b) in enumerate(zip(lead, whole, strict=False)) if a != b), len(lead))
        end = len(self.encode(f"\n\nQuestion: {question}\nAnswer: {answer.rstrip('.')}"))
        between = self.prose(max(0, distance - len(told) - len(asked)))
        before = self.prose(CONTEXT + 1 - len(told) - len(between) - len(whole))
        text = before + told + between + whole
        start = len(text) - len(whole)
        return text, range(start + first, start + end)


@torch.no_grad()
def judge(model: Decoder, text: Scored) -> tuple[np.ndarray, np.ndarray]:
    """The loss in nats of each scored token, and whether it is the most likely one."""
    tokens, scored = text
    tokens = torch.tensor(tokens)
    logits = model(tokens[None, :-1])[0][scored.start - 1 : scored.stop - 1].float()
    target = tokens[scored.start : scored.stop]
    return F.cross_entropy(logits, target, reduction="none").numpy(), (logits.argmax(-1) == target).numpy()


def recall(model: Decoder, texts: list[Scored]) -> dict[str, float]:
    """Mean loss, share of tokens predicted, and share of texts whose tokens all are."""
    judged = [judge(model, text) for text in texts]
    losses, right = zip(*judged, strict=True)
    return {
        "loss": float(np.concatenate(losses).mean()),
        "tokens": float(np.concatenate(right).mean()),
        "exact": float(np.mean([each.all() for each in right])),
    }


def score(
    model: Decoder, plain: list[Scored], repeated: dict[int, list[Scored]], facts: dict[int, list[Scored]]
) -> dict:
    losses = np.mean([judge(model, text)[0] for text in plain], 0)
    bands = pairwise(BANDS)
    return {
        "position": {f"{first}-{end - 1}": float(losses[first:end].mean()) for first, end in bands},
        "repeated": {str(distance): recall(model, texts) for distance, texts in repeated.items()},
        "facts": {str(distance): recall(model, texts) for distance, texts in facts.items()},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the tokenizer")
    parser.add_argument("--out", type=Path, required=True, help="the folder that run_queue.py fills")
    parser.add_argument("--books", type=Path, required=True)
    parser.add_argument("--held-out", type=float, default=0.03, help="as for memories.py")
    parser.add_argument("--texts", type=int, default=40, help="of each kind and distance")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    texts = Texts(chosen.books, chosen.held_out, tokenizer.load(chosen.data / "tokenizer.json"), 1)
    plain = [texts.plain() for _ in range(chosen.texts)]
    repeated = {distance: [texts.repetition(distance) for _ in range(chosen.texts)] for distance in DISTANCES}
    facts = {distance: [texts.fact(distance) for _ in range(chosen.texts)] for distance in DISTANCES}
    for run in runs(STUDY):
        folder, target = chosen.out / folder_name(run), kept(STUDY) / folder_name(run)
        if not checkpoint.exists(folder):
            print(f"{run.name}: no checkpoint")
            continue
        state = checkpoint.load(folder)
        model = Decoder(run.model).eval()
        model.load_state_dict(state["model"])
        target.mkdir(parents=True, exist_ok=True)
        figures = {"tokens": state["step"] * run.step_tokens} | score(model, plain, repeated, facts)
        (target / "scores.json").write_text(json.dumps(figures, indent=1) + "\n")
        print(f"{run.name}: {figures}", flush=True)


if __name__ == "__main__":
    main()
