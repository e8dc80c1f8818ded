"""Texts for the context study, most of whose second half can be predicted from the first.

    python training/study/context/texts.py --books books.jsonl.xz --out texts.jsonl [--documents N]

A document has passages of one book, each of them twice, and facts, each told and later asked for, in random order: what
comes again may be a few tokens or the whole document back. Books are without those held out for scoring.
"""

import argparse
import json
import random
import sys
from pathlib import Path

from attamba_train import corpus, token_file

sys.path.insert(0, str(Path(__file__).parents[2] / "distilled"))
import memories

PASSAGES, FACTS = range(8, 15), range(3, 8)  # of a document
WORDS = range(20, 60)  # of a passage
DOCUMENTS_OF_A_BOOK = 40


def document(chance: random.Random, words: list[str]) -> str:
    pieces = []
    for _ in range(chance.choice(PASSAGES)):
        length = chance.choice(WORDS)
        first = chance.randrange(len(words) - length)
        passage = " ".join(words[first : first + length])
        pieces.append((passage, passage))
    for statement, question, answer in memories.facts(chance, chance.choice(FACTS)):
        pieces.append((statement, f"Question: {question}\nAnswer: {answer}"))
    order = [number for number in range(len(pieces)) for _ in range(2)]
    chance.shuffle(order)
    return "\n\n".join(pieces[number][number in order[:at]] for at, number in enumerate(order))


def main(arguments: list[str] | None = None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--books", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=4000)
    parser.add_argument("--held-out", type=float, default=0.03, help="fraction of the books held out for scoring")
    chosen = parser.parse_args(arguments)
    chance, written = random.Random(1), 0
    with open(chosen.out, "w", encoding="utf-8") as out:
        for book in corpus.documents(chosen.books):
            words = book.split()[:-1]
            if token_file.fraction(book) < chosen.held_out or len(words) <= WORDS.stop:
                continue
            for _ in range(min(DOCUMENTS_OF_A_BOOK, chosen.documents - written)):
                out.write(json.dumps({"text": document(chance, words)}, ensure_ascii=False) + "\n")
                written += 1
    print(f"{written} documents")


if __name__ == "__main__":
    main()
