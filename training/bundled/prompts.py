"""Requests for stories, put to a teacher so that the bundled model sees more than was written for it by hand.

    python training/bundled/prompts.py --count 100000 --out prompts.jsonl
    cargo run --release --example batch -- models/fetched/smollm2.gguf prompts.jsonl taught.jsonl 64 300 0.4

Each is about somebody, somewhere, to whom something happens, in the words of small children's books: a model of a
few million parameters has room for those. The first sentence is given, since the teacher's own beginnings are
all alike. A prompt depends on the seed and its number alone.
"""

import argparse
import json
import random
from pathlib import Path

SHORT = ", in one short paragraph"  # without it few stories end within the limit


GIRLS = """Anna Mia Lily Lucy Sara Emma Ella Rosie Lena Nora Ruby Zoe Ivy Clara Maya Molly Daisy Kate Amy Sue Jane Ava
Nina Tara Lola Hana Fatima Priya Mei Rosa""".split()
BOYS = """Tom Ben Max Sam Leo Tim Jack Finn Noah Dan Peter Omar Luca Hugo Oscar Jim Bob Sid Theo Ravi Kofi Ali Paul
Mark Fred Joe Nick Toby Will Ken""".split()
ANIMALS = """dog cat mouse rabbit bear fox duck frog bird horse pig cow sheep goat hen owl turtle lion elephant monkey
squirrel hedgehog fish bee ant snail puppy kitten lamb penguin whale dragon""".split()
ANIMAL_NAMES = """Spot Rex Coco Benny Pip Milo Fluffy Buddy Luna Bella Teddy Nibbles Sunny Patch Biscuit Hoppy Pepper
Snowy Daisy Bruno Ginger Honey Button Oliver Tilly Rusty""".split()
MOODS = """little kind brave shy happy lonely curious clever sleepy hungry lazy careful cheerful quiet funny small
big old young gentle proud sad""".split()
PLACES = """in the park|in the garden|at the beach|in the forest|on a farm|at school|in a small village|by the river|
at the zoo|in a big house|on a hill|in the kitchen|at the market|in the snow|near a pond|on a boat|in a tall tree|
at grandma's house|in the library|on an island|in the city|at the playground|in a cave|by the lake""".replace(
    "\n", ""
).split("|")
THINGS = """ball kite boat hat box key book drum cake apple flower shell stone bell lamp map cup toy car doll blanket
basket ladder umbrella balloon button coat shoe bike spoon feather star letter pie seed nest rope mirror
ring crayon sandwich pumpkin""".split()
HAPPENINGS = """lost {thing}|found {thing}|wanted {thing} very much|broke {thing} by accident|made {thing} for a friend|
could not sleep|was afraid of the dark|wanted to learn to swim|got lost|had a birthday|helped a friend who was hurt|
told a lie|did not want to share {thing}|heard a strange noise|planted a seed|was caught in the rain|
met a new friend|baked a cake|wanted to fly|was late|had a bad dream|found a baby bird|climbed too high|
wanted to win a race|cleaned the house|went on a trip|missed a friend|tried to catch {thing}|
gave {thing} away|forgot {thing}|saw a rainbow|had a cold|learned to read|built a house out of boxes|
was teased by the others|took {thing} without asking|looked for a treasure|made a mistake|was angry with a friend|
waited for the snow|fixed {thing}|shared lunch with somebody|painted a picture|sang a song to everybody""".replace(
    "\n", ""
).split("|")
MORALS = """being kind|telling the truth|sharing|trying again|being brave|saying sorry|helping others|being patient|
listening|friendship|working together|being careful|asking for help|being thankful""".replace("\n", "").split("|")

REQUESTS = [
    "Tell me a story about {who}.",
    "Tell me a story about {who} {place}.",
    "Tell me a story about {who} who {happens}.",
    "Tell me a short story about {who}.",
    "Write a story about {who} who {happens}.",
    "Write a short story about {who} {place}.",
    "Can you tell me a story about {who}?",
    "Can you tell me a story about {who} who {happens}?",
    "Please tell me a story about {who} and {thing}.",
    "I want to hear a story about {who} who {happens} {place}.",
    "A story about {who}, please.",
    "Do you know a story about {who}?",
    "Tell a bedtime story about {who} and {other}.",
    "Make up a story about {who} and {other} {place}.",
    "Tell me a story about {moral}.",
    "Tell me a story with {who}, {thing} and {thing2}.",
    "Write a story in which {who} learns about {moral}.",
    "Tell me a story.",
    "Can you tell me a story?",
    "I would like to hear a bedtime story.",
]

BEGINNINGS = [
    "Once upon a time, there was {full}. {Name}",
    "One day, {full} was {place}. {Name}",
    "There once was {full}. Every day, {name}",
    "{Name} was {kind}. One day, {name}",
    "{Name} was {kind} who lived {place}. One morning, {name}",
    "Once there was {full} who {happens}.",
    "One sunny day, {name} went out to play. {Name} was {kind}.",
    "It was a rainy day. {Name}, {kind}, sat by the window.",
    "{Name} and {friend} were best friends. One day, they",
    "Once upon a time, {name} and {friend} were {place}.",
    "{Name} had {thing}. It was {name}'s favorite thing in the whole world.",
    "One night, {name} could hear something {place}.",
    "{Name} woke up early. Today was a special day.",
    "Long ago, {full} lived {place}.",
]


def an(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def somebody(pick: random.Random) -> tuple[str, str, str]:
    """Their name, what they are with an article, and both."""
    if pick.random() < 0.5:
        girl = pick.random() < 0.5
        name = pick.choice(GIRLS if girl else BOYS)
        kind = an(f"{pick.choice(MOODS)} {'girl' if girl else 'boy'}")
    else:
        name = pick.choice(ANIMAL_NAMES)
        kind = an(f"{pick.choice(MOODS)} {pick.choice(ANIMALS)}")
    return name, kind, f"{kind} named {name}"


def story(pick: random.Random) -> dict:
    name, kind, full = somebody(pick)
    friend, friend_kind, _ = somebody(pick)
    thing, thing2 = (an(word) for word in pick.sample(THINGS, 2))
    words = {
        "name": name,
        "Name": name,
        "kind": kind,
        "full": full,
        "friend": friend,
        "other": friend_kind,
        "place": pick.choice(PLACES),
        "thing": thing,
        "thing2": thing2,
        "happens": pick.choice(HAPPENINGS).format(thing=thing),
        "moral": pick.choice(MORALS),
        # A request speaks of a girl, or of a little girl, or of one with a name.
        "who": pick.choice([full, kind, an(kind.split()[-1]), an(kind.split()[-1])]),
    }
    ask = pick.choice(REQUESTS).format(**words)
    return {"say": [shortened(ask)], "begin": pick.choice(BEGINNINGS).format(**words)}


def shortened(ask: str) -> str:
    return f"{ask[:-1]}{SHORT}{ask[-1]}"


def prompt(seed: int, number: int) -> dict:
    return {"id": number, **story(random.Random(f"{seed} {number}"))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--first", type=int, default=0, help="number of the first prompt")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    with chosen.out.open("w", encoding="utf-8") as out:
        for number in range(chosen.first, chosen.first + chosen.count):
            out.write(json.dumps(prompt(chosen.seed, number)) + "\n")


if __name__ == "__main__":
    main()
