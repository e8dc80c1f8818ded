"""Texts whose end can only be predicted from their beginning, so that a distillation teaches the model to remember.

    python training/distilled/memories.py --books books.jsonl.xz --out memories.jsonl [--documents N] [--far]

Ordinary text seldom needs what is a thousand tokens back, so it hardly teaches a chunk state to keep it. Here a
passage is repeated after others, or facts scattered over passages are asked for later, in plain text or in a
conversation. The teacher, which sees everything, then knows what comes, and its student can only know it from chunk
states. Names, facts and questions are made up here and differ from those of `attamba recall`; the passages are from
books, without those held out for validation.
"""

import argparse
import json
import random
from pathlib import Path

from attamba_train import corpus, token_file

PASSAGE_WORDS = range(40, 160)
NEAR, FAR = (range(1, 9), range(2, 7)), (range(8, 25), range(6, 13))  # passages and facts per document
DOCUMENTS_OF_A_BOOK = 60
Size = tuple[range, range]

PEOPLE = """Anna Boris Clara David Elena Farid Greta Hassan Irene Jonas Karim Leila Marco Nadia Oscar Paula Quentin Rosa
Samuel Tamara Ulrich Vera Walter Xenia Yusuf Zoe""".split()
COLORS = "red blue green yellow black white purple orange brown grey pink silver golden".split()
TOWNS = """London Paris Cairo Lima Oslo Rome Madrid Tokyo Delhi Berlin Vienna Dublin Boston Chicago Athens Lisbon Warsaw
Prague Havana Nairobi""".split()
ANIMALS = "cat dog horse parrot rabbit goat turtle goose pony hamster".split()
FOODS = "bread soup cheese apples rice honey fish pancakes cherries porridge walnuts plums".split()
PLACES = "garden kitchen library cellar attic harbour station bakery museum theatre workshop barn".split()


def digits(chance: random.Random) -> str:
    return "".join(chance.choice("0123456789") for _ in range(chance.randint(3, 6)))


# Statement, question and the beginning of its answer; what is in braces is drawn at random each time.
KINDS = [
    ("The number of {person}'s room is {value}.", "What is the number of {person}'s room?", "It is {value}.", digits),
    (
        "{person}'s telephone number is {value}.",
        "What is {person}'s telephone number?",
        "{person}'s telephone number is {value}.",
        digits,
    ),
    (
        "To open the {place}, enter the code {value}.",
        "Which code opens the {place}?",
        "The {place} opens with the code {value}.",
        digits,
    ),
    ("{person} was born in {value}.", "Where was {person} born?", "{person} was born in {value}.", TOWNS),
    ("{person} has moved to {value}.", "Where does {person} live now?", "{person} lives in {value}.", TOWNS),
    (
        "{person}'s favourite colour is {value}.",
        "What is {person}'s favourite colour?",
        "{person}'s favourite colour is {value}.",
        COLORS,
    ),
    (
        "The door of the {place} is painted {value}.",
        "What colour is the door of the {place}?",
        "The door of the {place} is {value}.",
        COLORS,
    ),
    ("{person} keeps a {value}.", "Which animal does {person} keep?", "{person} keeps a {value}.", ANIMALS),
    (
        "{person} likes nothing better than {value}.",
        "What does {person} like to eat?",
        "{person} likes {value}.",
        FOODS,
    ),
    ("{person} will wait at the {value}.", "Where will {person} wait?", "{person} will wait at the {value}.", PLACES),
    ("{person} is married to {value}.", "To whom is {person} married?", "{person} is married to {value}.", PEOPLE),
]


def fact(chance: random.Random, person: str, place: str) -> tuple[str, str, str]:
    """A statement, its question, and the answer."""
    statement, question, answer, values = chance.choice(KINDS)
    value = values(chance) if callable(values) else chance.choice([each for each in values if each != person])
    return tuple(each.format(person=person, place=place, value=value) for each in (statement, question, answer))


def facts(chance: random.Random, count: int) -> list[tuple[str, str, str]]:
    """Facts, each about a different person and place, so that every question has one answer."""
    people, places = chance.sample(PEOPLE, count), chance.sample(PLACES, count)
    return [fact(chance, person, place) for person, place in zip(people, places, strict=True)]


def value_of(statement: str, answer: str) -> str:
    """The word of an answer that only the statement tells."""
    return next(word for word in answer.rstrip(".").split()[::-1] if word in statement)


def passage(chance: random.Random, words: list[str]) -> str:
    length = min(chance.choice(PASSAGE_WORDS), len(words))
    first = chance.randint(0, len(words) - length)
    return " ".join(words[first : first + length])


def repetition(chance: random.Random, words: list[str], size: Size) -> dict:
    """A passage, others, and the first again."""
    first = passage(chance, words)
    between = [passage(chance, words) for _ in range(chance.choice(size[0]))]
    link = chance.choice(["", "Once more: ", "Again from the beginning: ", "As was said before: "])
    return {"text": "\n\n".join([first, *between, link + first])}


def scattered(chance: random.Random, words: list[str], size: Size) -> tuple[list[str], list[tuple[str, str, str]]]:
    """Passages with facts between them, and these facts in another order."""
    known = facts(chance, chance.choice(size[1]))
    parts = [statement for statement, _, _ in known] + [passage(chance, words) for _ in range(chance.choice(size[0]))]
    chance.shuffle(parts)
    chance.shuffle(known)
    return parts, known


def exercise(chance: random.Random, words: list[str], size: Size) -> dict:
    """Passages with facts, then questions and answers in plain text."""
    parts, known = scattered(chance, words, size)
    asked = [f"Question: {question}\nAnswer: {answer}" for _, question, answer in known]
    return {"text": "\n\n".join(parts + asked)}


def conversation(chance: random.Random, words: list[str], size: Size) -> dict:
    """The same as a conversation."""
    parts, known = scattered(chance, words, size)
    turns = [
        ["user", "\n\n".join(["Please read this carefully.", *parts])],
        ["assistant", "I have read it. What would you like to know?"],
    ]
    for _, question, answer in known:
        turns += [["user", question], ["assistant", answer]]
    return {"turns": turns}


def main(arguments: list[str] | None = None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--books", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=8000)
    parser.add_argument("--held-out", type=float, default=0.03, help="fraction of the books held out for validation")
    parser.add_argument("--far", action="store_true", help="thousands of tokens between related parts")
    chosen = parser.parse_args(arguments)
    chance, size = random.Random(1), FAR if chosen.far else NEAR
    written = 0
    with open(chosen.out, "w", encoding="utf-8") as out:
        for book in corpus.documents(chosen.books):
            if token_file.fraction(book) < chosen.held_out:
                continue
            words = book.split()[:-1]
            for _ in range(min(DOCUMENTS_OF_A_BOOK, chosen.documents - written)):
                make = chance.choice([repetition, exercise, conversation])
                out.write(json.dumps(make(chance, words, size), ensure_ascii=False) + "\n")
                written += 1
    print(f"{written} documents")


if __name__ == "__main__":
    main()
