"""Conversations for the bundled model: dialogues, some of which begin with a greeting, and stories told on request.

    python training/bundled/conversations.py --stories stories.jsonl.xz --dialogue dialogue.jsonl.xz --out DIR

Nobody in the sources says hello or asks for a story, yet that is how a chat begins. So some dialogues
are given a greeting, and a children's story becomes the answer to a request for one. All greetings,
requests and replies to them are written for this purpose, below. Every story is in one conversation only, so
stories held out for validation are unseen.
"""

import argparse
import json
import lzma
import random
import re
from pathlib import Path

LEFT_OUT = {"gsm8k"}  # word problems: too hard for a model of a few million parameters
TALES = {"pb-source", "asp-source"}
TALE_CHARACTERS = range(250, 3500)  # shorter ones are captions, longer ones more than an answer
GREETED, SLOPPY = 0.3, 0.12  # fractions of conversations

HELLOS = [
    "Hi",
    "Hello",
    "Hey",
    "Hi there",
    "Hello there",
    "Good morning",
    "Good evening",
    "Good afternoon",
    "Hey there",
]
OFFERS = [
    "Hello! How can I help you today?",
    "Hi! What can I do for you?",
    "Hello! What would you like to talk about?",
    "Hi there! How can I help you?",
    "Hello! It is nice to meet you. What can I do for you?",
    "Hello! Would you like to hear a story, or can I help you with something else?",
]
HOW_ARE_YOU = ["How are you?", "How are you today?", "How are you doing?", "How is it going?"]
FINE = [
    "I am fine, thank you. How can I help you?",
    "I am very well, thank you. What can I do for you today?",
    "I am doing well, thanks for asking! How about you?",
    "Very well, thank you! What would you like to talk about?",
]
QUESTIONS = [
    (
        ["Who are you?", "What are you?", "Tell me about yourself.", "What is your name?", "Are you a person?"],
        [
            "I am Attamba, a small language model. I can tell stories and talk with you.",
            "My name is Attamba. I am a small language model, and I like to tell stories.",
            "I am a small language model called Attamba. What would you like to talk about?",
        ],
    ),
    (
        ["What can you do?", "How can you help me?", "What can we talk about?", "Can you help me?"],
        [
            "I can tell you a story, or we can talk about restaurants, movies, music and travel.",
            "I can tell stories, and I can talk about restaurants, hotels, movies and music.",
            "We can talk about many things, and I can tell you a story. What would you like?",
        ],
    ),
]
THANKS = [
    "Thank you!",
    "Thanks!",
    "That was a nice story.",
    "Thank you, I like it.",
    "What a lovely story!",
    "I liked that.",
]
WELCOME = [
    "You are welcome! Would you like to hear another story?",
    "I am glad that you like it. Shall I tell you another one?",
    "You are welcome! Do you want to hear one more?",
]
MORE = ["Yes, please.", "Yes", "Yes, tell me another one.", "Sure.", "Please do."]
NO_MORE = [
    "No, thank you.",
    "No, that is all. Thanks.",
    "Not now. Goodbye!",
    "No, thanks. Bye!",
    "That is all for today.",
]
GOODBYE = [
    "Goodbye! Have a nice day!",
    "You are welcome. Have a great day!",
    "Have a wonderful day!",
    "Goodbye, see you soon!",
]
ASK_ANY = [
    "Tell me a story.",
    "Please tell me a story.",
    "Can you tell me a story?",
    "I would like to hear a story.",
    "Tell me a short story.",
    "Tell me a story, please.",
]
ASK_ABOUT = [
    "Tell me a story about {}.",
    "Can you tell me a story about {}?",
    "Please tell me a story about {}.",
    "I would like to hear a story about {}.",
    "Tell me a short story about {}.",
    "Do you know a story about {}?",
    "Another story, please, about {}.",
]
ASK_TITLE = ['Tell me the story "{}".', 'Do you know the story "{}"?', 'Tell me a story called "{}".']
WITHOUT_ARTICLE = {"grandmother", "grandfather", "mother", "father", "water", "rain"}
SUBJECTS = """ant baby bear bee bird boat book boy brother butterfly camel cat chicken cloud cow crab crocodile crow dog
donkey duck elephant farmer father fish flower fly fox friend frog garden ghost giraffe girl goat grandfather
grandmother hare hen hippo horse hyena king leopard lion lizard monkey moon mother mouse owl parrot peacock pig
prince princess queen rabbit rain rat rooster school sheep sister snail snake spider squirrel star sun teacher
thief tiger tortoise train tree turtle village water wolf""".split()


def rows(path: Path):
    with lzma.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def sentence(text: str, chance: random.Random) -> str:
    """`text`, sometimes the way people type in haste."""
    return text.lower().rstrip(".!?") if chance.random() < 0.2 else text


def greeting(chance: random.Random) -> list:
    """One or two exchanges of small talk before the actual topic."""
    kind = chance.random()
    if kind < 0.6:
        asked = f"{chance.choice(HELLOS)}{chance.choice(['', '', '!', '.'])}"
        turns = [asked, chance.choice(OFFERS)]
    elif kind < 0.85:
        asked = f"{chance.choice(HELLOS)}{chance.choice(['! ', ', ', '. '])}{chance.choice(HOW_ARE_YOU)}"
        turns = [chance.choice([asked, chance.choice(HOW_ARE_YOU)]), chance.choice(FINE)]
    else:
        turns = []
    if not turns or chance.random() < 0.15:
        questions, answers = chance.choice(QUESTIONS)
        turns += [chance.choice(questions), chance.choice(answers)]
    return [
        [role, sentence(text, chance) if role == "user" else text]
        for role, text in zip(["user", "assistant"] * 2, turns, strict=False)
    ]


def greeted(turns: list, chance: random.Random) -> list:
    """The conversation, sometimes with a greeting; in some the user writes without capitals and final periods."""
    if chance.random() < SLOPPY:
        turns = [[role, text.lower().rstrip(".!?") if role == "user" else text] for role, text in turns]
    return greeting(chance) + turns if chance.random() < GREETED else turns


def tale(text: str) -> tuple[str, str]:
    """Title and story; lines broken for a picture book are joined into paragraphs."""
    title, *paragraphs = re.split(r"\n\s*\n", re.sub(r"\s*##\s*$", "", text).strip())
    return " ".join(title.split()), "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def subject(story: str) -> str | None:
    """What the story is about: the one of `SUBJECTS` that it mentions most, if at least three times."""
    words = re.findall(r"[a-z]+", story.lower())
    count, name = max((sum(w in (s, s + "s") for w in words), s) for s in SUBJECTS)
    if count < 3:
        return None
    article = "" if name in WITHOUT_ARTICLE else "an " if name[0] in "aeiou" else "a "
    return f"{article}{name}"


def request(title: str, story: str, chance: random.Random) -> str:
    about, kind = subject(story), chance.random()
    if about and kind < 0.65:
        return sentence(chance.choice(ASK_ABOUT).format(about), chance)
    return sentence(chance.choice(ASK_ANY) if kind < 0.85 else chance.choice(ASK_TITLE).format(title), chance)


def told(tales: list[tuple[str, str]], chance: random.Random) -> list:
    """A conversation in which `tales` are told one after the other."""
    turns = []
    for number, (title, story) in enumerate(tales):
        if number and chance.random() < 0.5:
            turns += [["user", sentence(chance.choice(THANKS), chance)], ["assistant", chance.choice(WELCOME)]]
            turns += [["user", sentence(chance.choice(MORE), chance)]]
        else:
            turns += [["user", request(title, story, chance)]]
        turns += [["assistant", story]]
    if chance.random() < 0.5:
        turns += [["user", sentence(chance.choice(THANKS), chance)], ["assistant", chance.choice(WELCOME)]]
        turns += [["user", sentence(chance.choice(NO_MORE), chance)], ["assistant", chance.choice(GOODBYE)]]
    return turns


def dialogues(path: Path, chance: random.Random):
    for row in rows(path):
        if row["source"] not in LEFT_OUT:
            yield {"source": row["source"], "turns": greeted(row["turns"], chance)}


def storytelling(path: Path, chance: random.Random):
    tales = [tale(row["text"]) for row in rows(path) if row["source"] in TALES]
    tales = [each for each in tales if len(each[1]) in TALE_CHARACTERS]
    chance.shuffle(tales)
    while tales:
        count = chance.choice([1, 1, 2, 3])
        yield {"source": "tales", "turns": greeted(told(tales[:count], chance), chance)}
        tales = tales[count:]


def fairy_tales(path: Path):
    """The long stories, unchanged."""
    for row in rows(path):
        if row["source"] not in TALES:
            yield {"source": row["source"], "text": row["text"]}


def write(path: Path, made):
    with open(path, "w", encoding="utf-8") as file:
        for row in made:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stories", type=Path, required=True)
    parser.add_argument("--dialogue", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for chat, storytelling and fairytales .jsonl")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    write(chosen.out / "chat.jsonl", dialogues(chosen.dialogue, random.Random("chat")))
    write(chosen.out / "storytelling.jsonl", storytelling(chosen.stories, random.Random("storytelling")))
    write(chosen.out / "fairytales.jsonl", fairy_tales(chosen.stories))


if __name__ == "__main__":
    main()
