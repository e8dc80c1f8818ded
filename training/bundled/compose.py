"""Conversations for the bundled model, from the stories and the talk that were written for it.

    python training/bundled/compose.py --count 100000 --out chat.jsonl [--taught taught.jsonl]

Each has one to six requests or remarks of the user, with their answers. Conversation n depends on the seed and n
alone. `--taught` adds the answers of a teacher (prompts.py) that pass the filter of taught.py. What is printed at the
end says how varied the text is.
"""

import argparse
import json
import random
import re
from collections import Counter
from pathlib import Path

import taught
from grammar import vowel
from stories import Library, Story
from talk import Talk
from taught import words

STORIES = 0.66  # of the conversations begin with a story, perhaps after a greeting
GREETED, ACCEPTED = 0.25, 0.5  # of the conversations begin with a greeting; of the stories offered are taken
SLOPPY, MISSPELT = 0.3, 0.06
POLITE = 0.08  # of the requests begin with a greeting or the like
STRANGE = 0.03  # of the requests are for a story that there is not
OTHERS = {"hello": 0.2, "me": 0.22, "feelings": 0.13, "unknown": 0.22, "animals": 0.11, "facts": 0.12}
# How a request speaks: of any story, of the hero, of what happens, of a topic, of a thing in it.
REQUESTS = {"any": 0.16, "hero": 0.44, "happens": 0.2, "about": 0.15, "with": 0.05}
THINGS = ("thing", "food", "treasure", "fruit")
SHORT = 0.08  # of the stories are very short
AFTER = {
    "praise": 0.3,
    "question": 0.24,
    "another": 0.24,
    "change": 0.07,
    "shorter": 0.05,
    "and_then": 0.05,
    "feedback": 0.03,
    "dislike": 0.02,
}


def has(story: Story, word: str) -> bool:
    return word in story.text


def article(noun: str) -> str:
    return f"{'an' if vowel(noun) else 'a'} {noun}"


class Composer:
    def __init__(self, seed: int):
        self.seed = seed
        self.library, self.talk = Library(), Talk()
        self.long = [plot for plot in self.library.plots if not plot.short]
        self.short = [plot for plot in self.library.plots if plot.short]
        self.heard: set[str] = set()  # titles of the plots in the conversation at hand
        self.kinds = {plot.title: {row["kind"] for row in self.library.heroes(plot)} for plot in self.library.plots}

    def say(self, name: str, story: Story | None, pick: random.Random, **slots) -> str:
        known = {"hero": {}, **(story.slots if story else {}), **slots}
        return self.talk.grammar.expand(self.talk.grammar.lists[name], known, pick)

    # -- requests -----------------------------------------------------------------------------------------------------

    def who(self, story: Story, pick: random.Random) -> str:
        """The hero, in a way that the story bears out."""
        hero, friend = story.hero, story.slots.get("friend")
        kind, name = hero["kind"], hero[""]
        child = "child" in hero["tags"]
        if isinstance(friend, dict) and pick.random() < 0.15:
            if child and "child" in friend["tags"]:
                both = f"two {hero['kinds']}" if kind == friend["kind"] else f"a {kind} and a {friend['kind']}"
                return pick.choice([both, f"{name} and {friend['']}"])
            if has(story, f" {friend['kind']}"):
                return f"{article(kind)} and {article(friend['kind'])}"
        named = f"{kind} {pick.choice(['named', 'called', 'named', 'with the name'])} {name}"
        forms = [kind] * 5 + [named] * 3
        if has(story, f"{hero['mood']} {kind}") or has(story, f"was {hero['mood']}."):
            forms += [f"{hero['mood']} {kind}"] * 2 + [f"{hero['mood']} {named}"]
        chosen = article(pick.choice(forms))
        return pick.choice([name, f"{name} the {kind}"]) if pick.random() < 0.1 else chosen

    def request(self, story: Story, pick: random.Random) -> str:
        asked = self.wish(story, pick)
        if pick.random() >= POLITE:
            return asked
        before = self.say("before_request", story, pick)
        if before[-1] not in ".!" and not asked.startswith("I "):
            asked = asked[0].lower() + asked[1:]
        return f"{before} {asked}"

    def wish(self, story: Story, pick: random.Random) -> str:
        plot, slots = story.plot, story.slots
        if plot.short and pick.random() < 0.5:
            return self.say("ask_short", story, pick, about=self.who(story, pick))
        things = [thing for name in THINGS if isinstance(thing := slots.get(name), str) and has(story, f" {thing}")]
        things = [thing for thing in things if not thing.endswith("s")]
        kinds = REQUESTS if things else {kind: weight for kind, weight in REQUESTS.items() if kind != "with"}
        kind = pick.choices(list(kinds), list(kinds.values()))[0]
        if kind == "any":
            return self.say("ask_any", story, pick)
        if kind == "hero" and pick.random() < 0.2:
            return self.say("ask_kind", story, pick)
        if kind == "about":
            about = self.written(pick.choice(plot.about), story, pick)
            if about.startswith(("a ", "an ")) and story.hero["kind"] not in about and pick.random() < 0.3:
                about = f"{article(story.hero['kind'])} and {about}"
        else:
            about = self.who(story, pick)
        if kind == "happens":
            about += f" {self.written(pick.choice(plot.happens), story, pick)}"
        if kind == "with":
            about += f" and {article(pick.choice(things))}"
            return self.say(pick.choice(["ask_with", "ask_about"]), story, pick, about=about)
        return self.say("ask_about", story, pick, about=about)

    def written(self, parts: list, story: Story, pick: random.Random) -> str:
        return self.library.grammar.expand_plain(parts, story.slots, pick)

    def unknown(self, story: Story, pick: random.Random) -> list[str]:
        """A request for a story that there is not, and another one instead."""
        about = article(self.talk.grammar.expand_plain(self.talk.grammar.lists["strange"], {}, pick))
        other = article(story.hero["kind"])
        preface = self.say("no_such_story", story, pick, about=about, other=other)
        return [self.say("ask_about", story, pick, about=about), f"{preface}\n\n{story.text}"]

    # -- conversations ------------------------------------------------------------------------------------------------

    def story(self, pick: random.Random, kind: str | None = None, short: bool = False) -> Story:
        plots = self.short if short or pick.random() < SHORT else self.long
        if kind:
            plots = [plot for plot in self.long if kind in self.kinds[plot.title]]
        plot = pick.choice([plot for plot in plots if plot.title not in self.heard] or plots)
        self.heard.add(plot.title)
        return self.library.tell(plot, str(pick.random()), kind)

    def told(self, pick: random.Random) -> tuple[list[str], Story]:
        story = self.story(pick)
        if pick.random() < STRANGE:
            return self.unknown(story, pick), story
        return [self.request(story, pick), story.text], story

    def after(self, story: Story, pick: random.Random) -> tuple[list[str], Story | None]:
        """What is said after a story; and the story that was told in it, if there was one."""
        kind = pick.choices(list(AFTER), list(AFTER.values()))[0]
        if kind == "question":
            return list(self.asked(story, pick)), None
        if kind == "another":
            if pick.random() < 0.5:
                return self.told(pick)
            told = self.story(pick)
            return [self.say("ask_another", story, pick), told.text], told
        if kind == "shorter":
            told = self.story(pick, short=True)
            return [self.say("ask_shorter", story, pick), told.text], told
        if kind == "change":
            others = sorted(self.kinds[story.plot.title] - {story.hero["kind"]})
            if not others:
                return self.after(story, pick)
            told = self.library.tell(story.plot, story.seed, pick.choice(others))
            return [self.say("ask_change", told, pick), told.text], told
        turns = [self.say(kind, story, pick), self.say(f"{kind}_answer", story, pick)]
        if kind == "praise" and turns[1].endswith("?") and pick.random() < 0.75:
            if pick.random() < 0.4:
                return [*turns, self.say("no", story, pick), self.say("no_answer", story, pick)], None
            told = self.story(pick)
            return [*turns, self.say("yes", story, pick), told.text], told
        return turns, None

    def asked(self, story: Story, pick: random.Random) -> tuple[str, str]:
        """A question about the story with its answer."""
        friend = story.slots.get("friend")
        general = ["hero_name", "hero_name", "hero_kind"]
        if isinstance(friend, dict) and has(story, friend[""]) and has(story, friend["kind"]):
            general.append("friend_kind")
        questions = list(self.library.question(story, pick))
        if questions and pick.random() < 0.65:
            return pick.choice(questions)
        name = pick.choice(general)
        return self.say(name, story, pick), self.say(f"{name}_answer", story, pick)

    def offered(self, text: str) -> str | None:
        """The kind of hero that `text` offers a story about; "" if it offers any story."""
        offer = re.search(r"(?:story|you one|hear one)( about (?:an? )?([a-z]+))?\?$", text)
        if not offer:
            return None
        return "" if not offer[1] else offer[2] if any(offer[2] in kinds for kinds in self.kinds.values()) else None

    def other(self, pick: random.Random) -> list[list[str]]:
        """Small talk, a simple question or one beyond the model: turns without a story."""
        return self.talk.draw(pick.choices(list(OTHERS), list(OTHERS.values()))[0], pick)

    def turns(self, number: int) -> list[list[str]]:
        pick = random.Random(f"{self.seed} {number}")
        turns: list[list[str]] = []
        self.heard = set()
        rounds = pick.choices([1, 2, 3, 4, 5], [40, 25, 18, 11, 6])[0]
        if pick.random() < GREETED:
            turns += self.talk.draw("hello" if pick.random() < 0.7 else "me", pick)[:2]
        story, telling = None, pick.random() < STORIES
        for _ in range(rounds):
            texts, told = [], None
            kind = self.offered(turns[-1][1]) if turns and not story else None
            if story:
                texts, told = self.after(story, pick)
                story = told or (story if pick.random() < 0.6 else None)
            elif kind is not None and pick.random() < ACCEPTED:
                story = self.story(pick, kind or None)
                texts = [self.say("yes", story, pick), story.text]
            elif telling or pick.random() < 0.25:
                (texts, story), telling = self.told(pick), pick.random() < 0.5
            else:
                texts = [text for _, text in self.other(pick)]
            turns += [[role, text] for role, text in zip(["user", "assistant"] * 3, texts, strict=False)]
            if turns[-1][1].startswith(("Goodbye", "See you", "Until")):
                break
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
    """Counts of all that was composed; a sequence of 8 words that occurs more than `often` times is frequent."""
    known, spoken, sequences, stories = set(), Counter(), Counter(), []
    for row in rows:
        for role, text in row["turns"]:
            found = words(text)
            spoken[role] += len(found)
            known.update(found)
            if role == "assistant":
                sequences.update(map(hash, taught.sequences(found, 8)))  # a number takes less memory than words
                if len(found) > 60:
                    stories.append(hash(text))
    frequent = sum(count for count in sequences.values() if count > often) / max(1, sequences.total())
    return "\n".join(
        [
            f"{len(rows)} conversations, {sum(len(row['turns']) for row in rows)} turns",
            f"{spoken['assistant']} words in answers, {spoken['user']} of the user, {len(known)} different",
            f"{len(stories)} stories, {len(set(stories))} different",
            f"{len(sequences)} different sequences of 8 words; {100 * frequent:.1f} % occur more than {often} times",
        ]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, required=True, help="conversations")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--taught", type=Path, help="answers of a teacher, JSON lines")
    parser.add_argument("--often", type=int, default=100, help="a sequence of words is frequent beyond this")
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    composer = Composer(chosen.seed)
    rows = [{"turns": composer.turns(number)} for number in range(chosen.first, chosen.first + chosen.count)]
    print(figures(rows, chosen.often))
    if chosen.taught:
        plain, dropped = {word for row in rows for _, text in row["turns"] for word in words(text)}, Counter()
        kept = list(taught.good(taught.read(chosen.taught), plain, dropped))
        rows += [{"turns": composer.typed(turns, random.Random(str(turns)))} for turns in kept]
        faults = ", ".join(f"{count} {fault}" for fault, count in dropped.most_common())
        print(f"{len(kept)} of the teacher's answers are kept; left out: {faults}")
    random.Random(chosen.seed).shuffle(rows)
    with chosen.out.open("w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
