"""Which answers of a teacher are good enough to learn from.

A line is {"id", "turns": [[role, text], ...], "finish", "tokens", "logprob"}, as `examples/batch.rs` writes it. An
answer is kept if it came to its end, has the length of a short story, does not repeat itself, was among the likelier
ones, remembers its hero, keeps to plain words and is unlike those that were kept before.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from prompts import SHORT

WORDS = range(40, 221)
REPEATED = 0.08  # of the sequences of 4 words may be there already
UNLIKELY = 0.25  # of the answers, the least likely ones, are left out
PLAIN = 3000  # the commonest words of the file count as plain
ALIKE = 0.5  # Jaccard index over sequences of 5 words
BEGINNING = 12  # words


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def sequences(found: list[str], length: int) -> list[tuple[str, ...]]:
    return [tuple(found[at : at + length]) for at in range(len(found) - length + 1)]


def repeated(text: str) -> float:
    """Share of the sequences of 4 words that are there already."""
    found = sequences(words(text), 4)
    return 1 - len(set(found)) / max(1, len(found))


def names(text: str) -> set[str]:
    """Words with a capital in the middle of a sentence of the first third."""
    return set(re.findall(r"(?<=[a-z,] )([A-Z][a-z]+)\b", text[: len(text) // 3])) - {"I"}


def forgets(text: str) -> bool:
    """Whether no name from the beginning comes back in the last third."""
    first = names(text)
    return bool(first) and not any(re.search(rf"\b{name}\b", text[-len(text) // 3 :]) for name in first)


class Filter:
    """Takes one answer after the other, and says what is wrong with it."""

    def __init__(self, rows: list[dict], plain: Iterable[str]):
        likely = sorted(row["logprob"] for row in rows)
        self.least = likely[int(len(likely) * UNLIKELY)] if likely else 0.0
        counts = Counter(word for row in rows for word in words(answer(row)))
        self.plain = {*plain, *(word for word, _ in counts.most_common(PLAIN))}
        self.beginnings: set[tuple[str, ...]] = set()
        self.kept: list[set] = []
        self.holding: dict[tuple[str, ...], list[int]] = {}

    def fault(self, row: dict) -> str | None:
        text = answer(row)
        found = words(text)
        if row["finish"] != "end":
            return "not finished"
        if len(found) not in WORDS:
            return "too short or too long"
        if not re.search(r'[.!?]"?$', text):
            return "no end of a sentence"
        if repeated(text) > REPEATED:
            return "repeats itself"
        if row["logprob"] < self.least:
            return "unlikely"
        if forgets(text):
            return "forgets its hero"
        if not set(found) <= self.plain:
            return "rare words"
        return "like another" if self.alike(found) else None

    def alike(self, found: list[str]) -> bool:
        """Whether one that was kept is similar; if not, this one is kept too."""
        beginning, shingles = tuple(found[:BEGINNING]), set(sequences(found, 5))
        shared = Counter(number for shingle in shingles for number in self.holding.get(shingle, []))
        if beginning in self.beginnings or any(
            count > ALIKE * len(shingles | self.kept[number]) for number, count in shared.most_common(5)
        ):
            return True
        self.beginnings.add(beginning)
        for shingle in shingles:
            self.holding.setdefault(shingle, []).append(len(self.kept))
        self.kept.append(shingles)
        return False


def answer(row: dict) -> str:
    return row["turns"][-1][1].strip()


def read(path: Path) -> list[dict]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def good(rows: list[dict], plain: Iterable[str], dropped: Counter) -> Iterator[list[list[str]]]:
    """The turns of those that are kept, without what only the teacher had to be told; the faults are counted."""
    sieve = Filter(rows, plain)
    for row in rows:
        if fault := sieve.fault(row):
            dropped[fault] += 1
        else:
            yield [[role, text.replace(SHORT, "") if role == "user" else text.strip()] for role, text in row["turns"]]
