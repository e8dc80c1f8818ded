"""Stories for small children from the plots in plots/*.txt, and the facts about each that a listener may ask for.

The head of a plot says who may be its hero (`who`, tags of plots/kinds.txt), which requests it answers (`happens`: a story
about somebody who ...; `about`: its topics), and questions about it (`q: question? = answer`). Everything else in the head
is a slot of the text: a text that is expanded once, or a character, as in `friend: @land`.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from grammar import Grammar, GrammarError, entries, parse

PLOTS = Path(__file__).parent / "plots"
NOT_SLOTS = {"", "who", "happens", "about", "q", "short"}
PRONOUNS = {"he": ("he", "him", "his", "himself"), "she": ("she", "her", "her", "herself")}
ALIASES = {"anyone": ("folk", "land", "fantasy"), "land": ("land",)}


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a table whose columns are separated by |; the first line that is no comment names them."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip() and line[0] != "#"]
    head, *rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    for row in rows:
        if len(row) != len(head):
            raise GrammarError(f"{path.name}: {len(row)} columns instead of {len(head)}: {' | '.join(row)}")
    return [dict(zip(head, row, strict=True)) for row in rows]


def lists(path: Path) -> dict[str, list]:
    return {
        name: parse(" ".join(text.split()), path.name, line)
        for _, fields in entries(path)
        for name, texts in fields.items()
        for text, line in texts
    }


@dataclass(frozen=True)
class Plot:
    title: str
    file: str
    fields: Mapping[str, list[tuple[str, int]]]

    def parsed(self, key: str) -> list[list]:
        return [parse(text, self.file, line) for text, line in self.fields.get(key, [])]

    @cached_property
    def body(self) -> list:
        return self.parsed("")[0]

    @cached_property
    def happens(self) -> list[list]:
        return self.parsed("happens")

    @cached_property
    def about(self) -> list[list]:
        return self.parsed("about")

    @cached_property
    def questions(self) -> list[tuple[list, list]]:
        asked = [(text.split(" = ", 1), line) for text, line in self.fields.get("q", [])]
        return [(parse(q, self.file, line), parse(a, self.file, line)) for (q, a), line in asked]

    @cached_property
    def slots(self) -> list[tuple[str, list | str]]:
        """In the order of the head, since one may use another; a character is given as its tags."""
        given = [(name, text, line) for name, texts in self.fields.items() for text, line in texts]
        given = [each for each in given if each[0] not in NOT_SLOTS]
        return [
            (name, [text] if text[0] == "@" else parse(text, self.file, line))
            for name, text, line in sorted(given, key=lambda each: each[2])
        ]

    @property
    def short(self) -> bool:
        return "short" in self.fields


@dataclass
class Story:
    plot: Plot
    seed: str
    hero: dict
    slots: dict
    text: str

    def has(self, word: str) -> bool:
        return word in self.text


@dataclass
class Library:
    """All plots and all that they share."""

    folder: Path = PLOTS
    grammar: Grammar = field(init=False)

    def __post_init__(self):
        self.grammar = Grammar(lists(self.folder / "words.txt"))
        self.kinds = table(self.folder / "kinds.txt")
        self.plots = [
            Plot(title, path.name, fields)
            for path in sorted(self.folder.glob("*.txt"))
            if path.name not in ("words.txt", "kinds.txt")
            for title, fields in entries(path)
        ]

    def of(self, wanted: str) -> list[dict]:
        """The kinds that a list of tags and names admits: `pet farm -cow bear`."""
        words = [tag for word in wanted.split() for tag in ALIASES.get(word, (word,))]
        barred = {word[1:] for word in words if word[0] == "-"}
        known = {tag for row in self.kinds for tag in (row["kind"], *row["tags"].split())}
        if unknown := {word.lstrip("-") for word in words} - known:
            raise GrammarError(f"no such kind or tag: {', '.join(sorted(unknown))}")
        return [
            row
            for row in self.kinds
            if {row["kind"], *row["tags"].split()} & set(words) and not {row["kind"], *row["tags"].split()} & barred
        ]

    def heroes(self, plot: Plot) -> list[dict]:
        return self.of(" ".join(text for text, _ in plot.fields["who"]))

    def character(self, kinds: list[dict], pick: random.Random, taken: list[dict]) -> dict:
        """One of `kinds`; unlike those that are taken, unless it is a child, whose kind two may share."""
        free = [row for row in kinds if row["kind"] not in {each["kind"] for each in taken}]
        row = pick.choice(kinds if "child" in kinds[0]["tags"] else free or kinds)
        tags = row["tags"].split()
        he = pick.choice(["he", "she"]) if row["he"] == "any" else row["he"]
        if {"folk", "grown", "tale"} & set(tags) and "ghost" not in tags:
            names = "girls" if he == "she" else "boys"
        else:
            names = f"{he}_{'things' if {'machine', 'thing'} & set(tags) else 'animals'}"
        while "elder" not in tags:
            name = self.grammar.expand(self.grammar.lists[names], {}, pick)
            if name not in {each[""] for each in taken}:
                break
        else:
            name = row["kind"].capitalize()
        pronouns = zip(("he", "him", "his", "himself"), PRONOUNS[he], strict=True)
        return {"": name, "name": name, "kind": row["kind"], "kinds": row["kinds"], "tags": row["tags"], **dict(pronouns)}

    def tell(self, plot: Plot, seed: str, kind: str | None = None) -> Story:
        """The story of `plot` that belongs to `seed`; with `kind`, another hero in the same story."""
        given, seed = seed, f"{plot.title} {seed}"
        cast, body = random.Random(f"{seed} cast"), random.Random(f"{seed} text")
        kinds = [row for row in self.heroes(plot) if kind in (None, row["kind"])]
        row = cast.choice(kinds)
        hero = self.character([row], random.Random(f"{seed} hero"), [])
        taken, slots = [hero], {"hero": hero}
        settings = {"mood": "<good_mood>", "home": f"<home_{row['home']}>"}
        for name, parts in [*((name, parse(text)) for name, text in settings.items()), *plot.slots]:
            choose = random.Random(f"{seed} {name}")
            text = parts[0] if isinstance(parts[0], str) and parts[0][0] == "@" else self.grammar.expand_plain(parts, slots, choose)
            if text[0] == "@":
                wanted = self.same(row) if text == "@same" else text.replace("@", "")
                made = self.character(self.of(wanted), choose, taken)
                taken.append(made)
                slots[name] = made
            elif name in settings:
                hero[name] = text
            else:
                slots[name] = text
        return Story(plot, given, hero, slots, self.grammar.expand(plot.body, slots, body))

    def same(self, row: dict) -> str:
        """Who is at home where the hero is."""
        tags = row["tags"].split()
        return next((tag for tag in ("folk", "sea", "bug", "bird", "land", "fantasy", "thing") if tag in tags), tags[0]).replace(
            "folk", "child"
        )

    def question(self, story: Story, pick: random.Random) -> Iterator[tuple[str, str]]:
        """What may be asked about the story, with the answers."""
        for asked, answer in story.plot.questions:
            yield self.grammar.expand(asked, story.slots, pick), self.grammar.expand(answer, story.slots, pick)
