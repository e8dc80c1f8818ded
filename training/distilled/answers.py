"""Conversations in which the base itself answers, so that its student keeps the base's style of chat.

    python training/distilled/answers.py --attamba BIN --model BASE.gguf --books books.jsonl.xz --out answers.jsonl

Questions and requests of many kinds, some about a passage from a book, are put to the base one after the other through
the runtime, which samples its answers. A conversation depends only on its number; started again, the script continues
after those already in `--out`.
"""

import argparse
import json
import random
from pathlib import Path

from memories import passage
from runtime import converse

from attamba_train import corpus, token_file

TURNS = range(3, 11)
LIMIT = 240  # tokens per answer
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"  # what the base's template begins with
# Without the penalty so small a base repeats itself endlessly.
SAMPLING = "--temperature 0.7 --repeat-penalty 1.1 --repeat-last 256".split()
PASSAGES = 0.25  # fraction of the turns that quote a passage from a book

TOPICS = """the sea|the moon|volcanoes|rain|snow|rivers|bees|whales|owls|elephants|dinosaurs|trees|mushrooms|gardens|
bread|tea|coffee|chocolate|cooking rice|a vegetable soup|breakfast|a birthday cake|learning a language|reading books|
writing letters|playing the piano|drawing|chess|football|swimming|cycling|hiking|camping|yoga|sleep|dreams|friendship|
honesty|courage|patience|saving money|finding a job|a job interview|working from home|time management|public speaking|
moving to a new town|travelling by train|a holiday at the sea|Rome|Paris|Japan|Egypt|India|Brazil|the Roman empire|
the middle ages|the printing press|the steam engine|electricity|magnets|light|sound|gravity|atoms|water|the human heart|
the brain|vaccines|bicycles|aeroplanes|bridges|computers|the internet|programming|Python|databases|encryption|robots|
artificial intelligence|the number zero|fractions|percentages|triangles|prime numbers|probability|averages|the weather|
climate|recycling|solar energy|wind power|gold|salt|paper|glass|clocks|maps|money|taxes|elections|newspapers|museums|
theatre|poetry|fairy tales|a lost dog|a brave mouse|an old lighthouse|two sisters|a strange letter|a train journey|
the last day of summer|a talking cat|a king who could not laugh""".replace("\n", "").split("|")

REQUESTS = [
    "What do you know about {topic}?",
    "Explain {topic} to a child.",
    "Tell me something surprising about {topic}.",
    "Write a short story about {topic}.",
    "Write a poem of four lines about {topic}.",
    "Give me five tips about {topic}.",
    "What should I know about {topic} as a beginner?",
    "Why do people care about {topic}?",
    "List three questions that one could ask about {topic}.",
    "Write a short email to a friend about {topic}.",
    "What are the good and the bad sides of {topic}?",
    "Describe {topic} in two sentences.",
    "I have to give a talk about {topic}. How should I begin?",
    "Help me to plan a week around {topic}.",
    "Write a dialogue between two people who speak about {topic}.",
    "Which words belong to {topic}? Make a list.",
]

FURTHER = [
    "Can you give me an example?",
    "Say that in one sentence.",
    "Please say it in simpler words.",
    "Tell me more about that.",
    "Why is that so?",
    "What did I ask you at first?",
    "Are you sure?",
    "Make it shorter.",
    "Make it funnier.",
    "What would you do next?",
    "Thank you! What else should I know?",
    "Summarise what we have said so far.",
    "Give me the opposite view.",
    "Turn that into a list.",
]

ABOUT_PASSAGE = [
    "Summarise this text: {passage}",
    "What is this text about? {passage}",
    "Who is spoken of in this text, and what do they do? {passage}",
    "Go on with this story: {passage}",
    "Say this in modern English: {passage}",
    "What is the mood of this passage? {passage}",
    "Ask me a question about this passage: {passage}",
]


def messages(chance: random.Random, books: list[list[str]]) -> list[str]:
    """What the user says, turn by turn, each on one line."""
    said = []
    for _ in range(chance.choice(TURNS)):
        if chance.random() < PASSAGES:
            text = passage(chance, chance.choice(books))
            said.append(chance.choice(ABOUT_PASSAGE).format(passage=text))
        elif said and chance.random() < 0.5:
            said.append(chance.choice(FURTHER))
        else:
            said.append(chance.choice(REQUESTS).format(topic=chance.choice(TOPICS)))
    return said


def turns(attamba: Path, model: Path, said: list[str], seed: int) -> list[list[str]]:
    """A conversation in which `model` answers what is `said`."""
    options = ["--threads", "1", "--engine", "cpu", "--limit", str(LIMIT), "--seed", str(seed), *SAMPLING]
    answers = converse(attamba, model, said, options)
    pairs = [[["user", message], ["assistant", answer]] for message, answer in zip(said, answers, strict=True)]
    return [["system", SYSTEM], *(turn for pair in pairs for turn in pair)]


def main(arguments: list[str] | None = None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attamba", type=Path, required=True, help="the attamba command")
    parser.add_argument("--model", type=Path, required=True, help="the base, which answers")
    parser.add_argument("--books", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--conversations", type=int, default=400)
    parser.add_argument("--held-out", type=float, default=0.03, help="fraction of the books held out for validation")
    chosen = parser.parse_args(arguments)
    books = [text.split() for text in corpus.documents(chosen.books) if token_file.fraction(text) >= chosen.held_out]
    there = len(chosen.out.read_bytes().splitlines()) if chosen.out.exists() else 0
    with open(chosen.out, "a", encoding="utf-8") as out:
        for number in range(there, chosen.conversations):
            said = messages(random.Random(number), books)
            conversation = {"turns": turns(chosen.attamba, chosen.model, said, number)}
            out.write(json.dumps(conversation, ensure_ascii=False) + "\n")
            out.flush()
            print(f"{number + 1} of {chosen.conversations} conversations", end="\r", flush=True)
    print(f"{chosen.out}: {chosen.conversations} conversations")


if __name__ == "__main__":
    main()
