"""Conversations for the bundled model, from the stories and the talk that were written for it.

    python training/bundled/compose.py --count 100000 --out chat.jsonl [--taught taught.jsonl]

Each has one to six requests or remarks of the user, with their answers. Conversation n depends on the seed and n alone.
`--taught` adds the answers of a teacher (prompts.py) that pass the filter of taught.py. What is printed at the end says how
varied the text is.
"""

import argparse
import json
import random
import re
from collections import Counter
from pathlib import Path

from grammar import tidy
from stories import Library, Story
from talk import Talk

STORIES = 0.66  # of the conversations begin with a story, perhaps after a greeting
GREETED = 0.25
SLOPPY, MISSPELT = 0.3, 0.06
OTHERS = {"hello": 0.2, "me": 0.22, "feelings": 0.13, "unknown": 0.22, "animals": 0.11, "facts": 0.12}
# How a request speaks: of any story, of the hero, of what happens, of a topic, with a thing or a friend, for a short one.
REQUESTS = {"any": 0.16, "hero": 0.4, "happens": 0.18, "about": 0.13, "with": 0.05, "short": 0.08}
AFTER = {"praise": 0.3, "question": 0.24, "another": 0.24, "then": 0.05, "change": 0.07, "shorter": 0.05, "truth": 0.03, "dislike": 0.02}


def article(noun: str) -> str:
    return tidy(f"a {noun}").lower()[:2].strip() + f" {noun}"


class Composer:
    def __init__(self, seed: int):
        self.seed = seed
        self.library, self.talk = Library(), Talk()
        self.long = [plot for plot in self.library.plots if not plot.short]
        self.short = [plot for plot in self.library.plots if plot.short]
        self.told: set[str] = set()

    def say(self, name: str, story: Story | None, pick: random.Random, **slots) -> str:
        known = {"hero": {}, **(story.slots if story else {}), **slots}
        return self.talk.grammar.expand(self.talk.grammar.lists[name], known, pick)

    # -- requests -----------------------------------------------------------------------------------------------------

    def who(self, story: Story, pick: random.Random) -> str:
        hero = story.hero
        kind = hero["kind"]
        named = f"{kind} {pick.choice(['named', 'called', 'named', 'with the name'])} {hero['']}"
        told_mood = story.has(f"{hero['mood']} {kind}") or story.has(f"was {hero['mood']}.")
        forms = [kind] * 5 + [named] * 3 + ([f"{hero['mood']} {kind}"] * 2 + [f"{hero['mood']} {named}"] if told_mood else [])
        friend = story.slots.get("friend")
        chosen = article(pick.choice(forms))
        if isinstance(friend, dict) and story.has(f" {friend['kind']}") and pick.random() < 0.15:
            return f"{article(kind)} and {article(friend['kind'])}" if friend["kind"] != kind else f"two {hero['kinds']}"
        return f"{hero['']} the {kind}" if pick.random() < 0.07 else chosen

    def request(self, story: Story, pick: random.Random) -> str:
        plot, slots = story.plot, story.slots
        kinds = {key: weight for key, weight in REQUESTS.items() if key not in ("short",) and (key != "happens" or plot.happens)}
        things = [
            value
            for name, value in slots.items()
            if name in ("thing", "food", "toy", "treasure", "fruit") and isinstance(value, str) and story.has(value)
        ]
        if not things:
            kinds.pop("with")
        kind = pick.choices(list(kinds), list(kinds.values()))[0]
        if plot.short:
            if pick.random() < 0.5:
                return self.say("ask_short", story, pick, about=self.who(story, pick))
            kind = "hero"
        if kind == "any":
            return self.say("ask_any", story, pick)
        if kind == "hero" and pick.random() < 0.2:
            return self.say("ask_kind", story, pick)
        about = {
            "hero": lambda: self.who(story, pick),
            "happens": lambda: f"{self.who(story, pick)} {self.library.grammar.expand_plain(pick.choice(plot.happens), slots, pick)}",
            "about": lambda: self.topic(story, pick),
            "with": lambda: f"{self.who(story, pick)} and {article(pick.choice(things))}",
        }[kind]()
        return self.say("ask_with" if kind == "with" and pick.random() < 0.5 else "ask_about", story, pick, about=about)

    def topic(self, story: Story, pick: random.Random) -> str:
        topic = self.library.grammar.expand_plain(pick.choice(story.plot.about), story.slots, pick)
        return f"{article(story.hero['kind'])} and {topic}" if pick.random() < 0.25 and story.hero["kind"] not in topic else topic

    # -- conversations ------------------------------------------------------------------------------------------------

    def story(self, pick: random.Random, short: bool = False) -> Story:
        plots = self.short if self.short and (short or pick.random() < REQUESTS["short"]) else self.long
        return self.library.tell(pick.choice(plots), str(pick.random()))

    def after(self, story: Story, pick: random.Random) -> tuple[list, Story | None]:
        """What is said after a story; and the story that was told in it, if there was one."""
        kind = pick.choices(list(AFTER), list(AFTER.values()))[0]
        answer = None
        if kind == "praise":
            turns = [self.say("praise", story, pick), self.say("praise_answer", story, pick)]
            if turns[1].endswith("?") and pick.random() < 0.75:
                if pick.random() < 0.6:
                    answer = self.story(pick)
                    turns += [self.say("yes", story, pick), answer.text]
                else:
                    turns += [self.say("no", story, pick), self.say("no_answer", story, pick)]
        elif kind == "question":
            turns = list(self.asked(story, pick))
        elif kind == "another":
            answer = self.story(pick)
            if pick.random() < 0.5:
                turns = [self.say("ask_another", story, pick), answer.text]
            else:
                turns = [self.request(answer, pick), answer.text]
        elif kind == "shorter" and self.short:
            answer = self.story(pick, short=True)
            turns = [self.say("ask_shorter", story, pick), answer.text]
        elif kind == "change":
            others = [row["kind"] for row in self.library.heroes(story.plot) if row["kind"] != story.hero["kind"]]
            if not others:
                return self.after(story, pick)
            answer = self.library.tell(story.plot, story.seed, pick.choice(others))
            turns = [self.say("ask_change", answer, pick), answer.text]
        elif kind == "truth":
            turns = [self.say("feedback", story, pick), self.say("feedback_answer", story, pick)]
        elif kind == "dislike":
            turns = [self.say("dislike", story, pick), self.say("dislike_answer", story, pick)]
        else:
            turns = [self.say("and_then", story, pick), self.say("and_then_answer", story, pick)]
        return turns, answer

    def asked(self, story: Story, pick: random.Random):
        friend = story.slots.get("friend")
        general = ["hero_name", "hero_name", "hero_kind"]
        if isinstance(friend, dict) and story.has(friend[""]) and story.has(friend["kind"]):
            general.append("friend_kind")
        questions = [q for q in self.library.question(story, pick)]
        if questions and pick.random() < 0.65:
            yield from pick.choice(questions)
        else:
            name = pick.choice(general)
            yield self.say(name, story, pick)
            yield self.say(f"{name}_answer", story, pick)

    def turns(self, number: int) -> list[list[str]]:
        pick = random.Random(f"{self.seed} {number}")
        turns: list[list[str]] = []
        rounds = pick.choices([1, 2, 3, 4, 5], [40, 25, 18, 11, 6])[0]
        if pick.random() < GREETED:
            turns += self.talk.draw("hello" if pick.random() < 0.7 else "me", pick)[:2]
        story = None
        telling = pick.random() < STORIES
        while rounds > 0:
            rounds -= 1
            if story:
                texts, next_story = self.after(story, pick)
                turns += [[role, text] for role, text in zip(["user", "assistant"] * 3, texts, strict=False)]
                story = next_story or (story if pick.random() < 0.6 else None)
                if texts[-1].startswith(("Goodbye", "See you", "Until")):
                    break
            elif telling or pick.random() < 0.25:
                story, telling = self.story(pick), pick.random() < 0.5
                turns += [["user", self.request(story, pick)], ["assistant", story.text]]
            else:
                turns += self.talk.draw(pick.choices(list(OTHERS), list(OTHERS.values()))[0], pick)
        return self.typed(turns[:12], pick)

    def typed(self, turns: list, pick: random.Random) -> list[list[str]]:
        """As people type: some of them without capitals and marks, a few with mistakes."""
        sloppy, misspelt = pick.random() < SLOPPY, pick.random() < MISSPELT
        typed = []
        for role, text in turns:
            if role == "user" and (sloppy or pick.random() < 0.08):
                text = text.lower().rstrip(".!?")
                text = re.sub(r"[,']", "", text) if pick.random() < 0.5 else text
            if role == "user" and misspelt:
                text = mistake(text, pick)
            typed.append([role, text])
        return typed


def mistake(text: str, pick: random.Random) -> str:
    """Two neighboring letters swapped, one lost or one doubled."""
    places = [place for place in range(1, len(text) - 1) if text[place : place + 2].isalpha()]
    if not places:
        return text
    at = pick.choice(places)
    return text[:at] + pick.choice([text[at + 1] + text[at] + text[at + 2 :], text[at + 1 :], text[at] + text[at:]])


def figures(rows: list[dict], often: int) -> str:
    """Counts of all that was composed; `often` is how many times a sequence of 8 words may occur until it is frequent."""
    words, spoken, stories, sequences = Counter(), Counter(), set(), Counter()
    for row in rows:
        for role, text in row["turns"]:
            tokens = re.findall(r"[a-z']+", text.lower())
            spoken[role] += len(tokens)
            words.update(tokens)
            if role == "assistant":
                if len(tokens) > 60:
                    stories.add(text)
                sequences.update(tuple(tokens[at : at + 8]) for at in range(len(tokens) - 7))
    total = sequences.total()
    frequent = sum(count for count in sequences.values() if count > often)
    return "\n".join(
        [
            f"{len(rows)} conversations, {sum(len(row['turns']) for row in rows)} turns",
            f"{spoken['assistant']} words in answers, {spoken['user']} in requests, {len(words)} different",
            f"{sum(1 for row in rows for role, text in row['turns'] if len(text) > 300)} stories, {len(stories)} different",
            f"{100 * frequent / max(1, total):.1f} % of the sequences of 8 words occur more than {often} times; {len(sequences)} different",
        ]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, required=True, help="conversations")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--often", type=int, default=100, help="a sequence of words is frequent beyond this")
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    composer = Composer(chosen.seed)
    rows = [{"turns": composer.turns(number)} for number in range(chosen.first, chosen.first + chosen.count)]
    with chosen.out.open("w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    print(figures(rows, chosen.often))


if __name__ == "__main__":
    main()
