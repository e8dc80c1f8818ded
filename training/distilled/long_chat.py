"""A chat of many thousand tokens in fixed memory: what a model still knows of how it began, and how it goes on talking.

    python training/distilled/long_chat.py --attamba BIN --data DIR --budget 24M NAME=MODEL.gguf ... > long-chat.md

The user tells a few things, gives passages of held-out books to read, and asks at given lengths for what was told.
Every model has the same memory. An answer counts if it holds the word that was told.
"""

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

from chats import named
from memories import passage
from runtime import converse

from attamba_train import token_file, tokenizer

SYSTEM = "Answer each question in one short sentence."
OPTIONS = "--temperature 0 --limit 40".split()
TURN_TOKENS = 8  # what the template puts around a question and its answer, about

# What is told, what is asked later, and the word that answers it.
TOLD = [
    ("Marta was born in Lisbon.", "Where was Marta born?", "Lisbon"),
    ("Tobias keeps a parrot.", "Which animal does Tobias keep?", "parrot"),
    ("The door of the library is painted green.", "What colour is the door of the library?", "green"),
    ("To open the cellar, enter the code 4718.", "Which code opens the cellar?", "4718"),
    ("Henrik likes nothing better than cherries.", "What does Henrik like to eat?", "cherries"),
    ("Bridget is married to Edmund.", "To whom is Bridget married?", "Edmund"),
]


class Chat:
    """What the user says, as long as the chat is to go on; it sees the answers, to know how long the chat is."""

    def __init__(self, text, words: list[str], lengths: list[int]):
        self.text, self.words, self.lengths = text, words, lengths
        self.tokens = 0
        self.asked = []
        """(tokens before the question, question, word that answers it), by the number of the message."""

    def messages(self) -> Iterator[str]:
        chance = random.Random(1)
        yield self._said("Please read this carefully. " + " ".join(told for told, _, _ in TOLD))
        for length in self.lengths:
            while self.tokens < length:
                yield self._said(f"Please read this carefully. {passage(chance, self.words)}")
            for _, question, word in TOLD:
                self.asked.append((length, question, word))
                yield self._said(question)

    def heard(self, answer: str):
        self.tokens += len(self.text.encode(answer).ids)

    def _said(self, message: str) -> str:
        self.tokens += len(self.text.encode(message).ids) + TURN_TOKENS
        return message


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attamba", type=Path, required=True, help="the program of the runtime")
    parser.add_argument("--data", type=Path, required=True, help="folder of the tokenizer and the packed source books")
    parser.add_argument("--budget", default="24M", help="memory of the session, as `attamba chat` takes it")
    parser.add_argument("--lengths", type=numbers, default="512,2048,4096,8192,12288")
    parser.add_argument("models", type=named, nargs="+", metavar="NAME=MODEL.gguf")
    chosen = parser.parse_args()
    text = tokenizer.load(chosen.data / "tokenizer.json")
    words = text.decode(token_file.read(chosen.data, "books", "validation", text).tolist()).split()
    options = ["--budget", chosen.budget, *OPTIONS]
    print(f"# A long chat\n\nWith `attamba chat --system '{SYSTEM}' {' '.join(options)}`:")
    print(f"{len(TOLD)} things are told at first and asked for later, with passages of books to read between.")
    known = {}
    for name, path in chosen.models:
        print(f"\n## {name}\n")
        chat = Chat(text, words, chosen.lengths)
        asked = 0
        for answer in converse(chosen.attamba, path, chat.messages(), options, SYSTEM):
            chat.heard(answer)
            if len(chat.asked) > asked:
                length, question, word = chat.asked[asked]
                asked += 1
                right = word.lower() in answer.lower()
                known[name, length] = known.get((name, length), 0) + right
                print(f"- {length} tokens: *{question}* {' '.join(answer.split())} ({'right' if right else 'wrong'})")
            print(flush=True, end="")
    print("\n## Known of what was told\n\n| | " + " | ".join(f"after {n} tokens" for n in chosen.lengths) + " |")
    print("|---|" + "--:|" * len(chosen.lengths))
    for name, _ in chosen.models:
        print(f"| {name} | " + " | ".join(f"{known[name, n]} of {len(TOLD)}" for n in chosen.lengths) + " |")


if __name__ == "__main__":
    main()
