"""A chat of many thousand tokens in fixed memory: how a model keeps talking, and what it knows of the beginning.

    python training/distilled/long_chat.py --attamba BIN --budget 24M "NAME=MODEL.gguf [OPTION...]" ... > long-chat.md

The user states some facts about friends and then talks about all sorts of things. At given lengths the last turns are
shown, and copies of the chat are asked for each of the facts, so that no answer can help or harm the next.
Every model has the same memory, unless its own options of `attamba chat` say otherwise. An answer counts as right if it
contains the word in question.
"""

import argparse
import random
import shlex
from collections import deque
from pathlib import Path

from answers import REQUESTS, TOPICS
from chats import named
from runtime import Conversation

TALKING = "--temperature 0.7 --repeat-penalty 1.1 --repeat-last 256 --limit 120".split()
ASKING = "--temperature 0 --repeat-penalty 1 --limit 24".split()
SHOWN = 2  # turns

# The statement, the question asked later, and the word that answers it.
TOLD = [
    ("Marta was born in Lisbon.", "Where was Marta born?", "Lisbon"),
    ("Tobias has a parrot.", "Which pet does Tobias have?", "parrot"),
    ("Henrik loves cherries.", "What fruit does Henrik love?", "cherries"),
    ("Bridget is married to Edmund.", "Who is Bridget married to?", "Edmund"),
    ("Oskar works as a baker.", "What is Oskar's job?", "baker"),
    ("Lena plays the violin.", "Which instrument does Lena play?", "violin"),
    ("Victor drives a red car.", "What colour is Victor's car?", "red"),
    ("Sofia speaks Greek.", "Which language does Sofia speak?", "Greek"),
    ("The code of my cellar is 4718.", "What is the code of my cellar?", "4718"),
    ("The door of my library is green.", "What colour is the door of my library?", "green"),
]
BEGINNING = "Let me tell you about my friends. " + " ".join(told for told, _, _ in TOLD) + " What do you think of them?"


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def model(text: str) -> tuple[str, Path, list[str]]:
    """NAME=MODEL.gguf and options of its own."""
    given, *options = shlex.split(text)
    return *named(given), options


def known(chat: Conversation) -> int:
    """Asks for all the facts and prints the answers; returns how many were right."""
    print("\n| question | answer | |\n|---|---|---|")
    count = 0
    for _, question, word in TOLD:
        answer = chat.ask_aside(question, *ASKING)
        right = word.lower() in answer.lower()
        count += right
        print(f"| {question} | {cell(answer)} | {'right' if right else 'wrong'} |", flush=True)
    return count


def cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attamba", type=Path, required=True, help="the attamba command")
    parser.add_argument("--budget", default="24M", help="memory of the session, as `attamba chat` takes it")
    parser.add_argument("--lengths", type=numbers, default="100,1024,2048,4096,8192,12288")
    parser.add_argument("models", type=model, nargs="+", metavar="NAME=MODEL.gguf [OPTION...]")
    chosen = parser.parse_args()
    budget = ["--budget", chosen.budget]
    print(f"# A long chat\n\nWith `attamba chat {' '.join(budget + TALKING)} --seed N`,")
    print(f"where N is the number of the message; it begins:\n\n> {BEGINNING}\n")
    print(f"Then the user talks about other things. Recall is tested in copies, with `{' '.join(ASKING)}`.")
    right = {}
    for name, path, options in chosen.models:
        chance = random.Random(1)
        own = options if "--budget" in options else budget + options
        with Conversation(chosen.attamba, path, own) as chat:
            tokens, message, number, turns = 0, BEGINNING, 1, deque(maxlen=SHOWN)
            for length in chosen.lengths:
                while tokens < length:
                    answer = chat.say(message, *TALKING, "--seed", str(number))
                    number += 1
                    turns.append((message, answer))
                    tokens = chat.position()
                    message = chance.choice(REQUESTS).format(topic=chance.choice(TOPICS))
                print(f"\n## {name}, after {tokens} tokens\n\n```\n{chat.stats()}\n```")
                for said, answer in turns:
                    print(f"\n**{said}**\n\n> {cell(answer)}")
                right[name, length] = known(chat)
    print("\n## Facts recalled\n\n| | " + " | ".join(f"after {n} tokens" for n in chosen.lengths) + " |")
    print("|---|" + "--:|" * len(chosen.lengths))
    for name, *_ in chosen.models:
        print(f"| {name} | " + " | ".join(f"{right[name, n]} of {len(TOLD)}" for n in chosen.lengths) + " |")


if __name__ == "__main__":
    main()
