"""Stories for small children from the plots in plots/*.txt, and what a listener may ask about each.

The head of a plot says who may be its hero (`who`, kinds and tags of plots/kinds.txt), which requests it answers
(`happens`: a story about somebody who ...; `about`: its topics), and questions about it (`q: question? = answer`).
Everything else in the head is a slot: a text that is expanded once, or a character, as in `friend: @land`.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from grammar import Grammar, GrammarError, entries, parse

PLOTS = Path(__file__).parent / "plots"
SHARED = ("words.txt", "kinds.txt")
NOT_SLOTS = {"", "who", "happens", "about", "q", "short"}
HEAD = {"mood": parse("<good_mood>")}  # what every hero has, unless the plot says otherwise
PRONOUNS = {"he": ("he", "him", "his", "himself"), "she": ("she", "her", "her", "herself")}
ANYONE = ("folk", "land", "fantasy", "flyer")
# Whom people ask for: these are drawn so many times as often as the others.
ASKED_FOR = {"girl": 5, "boy": 5, "dog": 4, "cat": 4, "princess": 3, "dragon": 3, "robot": 2, "bear": 2, "rabbit": 2}
AT_HOME = ("child", "sea", "bug", "bird", "land", "fantasy", "thing")  # whom `@same` draws from: the hero's first tag
WITH_PEOPLES_NAMES = {"folk", "grown", "tale"}


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

    def _parsed(self, key: str) -> list[list]:
        return [parse(text, self.file, line) for text, line in self.fields.get(key, [])]

    @cached_property
    def body(self) -> list:
        return self._parsed("")[0]

    @cached_property
    def happens(self) -> list[list]:
        return self._parsed("happens")

    @cached_property
    def about(self) -> list[list]:
        return self._parsed("about")

    @cached_property
    def questions(self) -> list[tuple[list, list]]:
        pairs = [(text.split(" = ", 1), line) for text, line in self.fields.get("q", [])]
        return [(parse(asked, self.file, line), parse(answer, self.file, line)) for (asked, answer), line in pairs]

    @cached_property
    def slots(self) -> dict[str, list]:
        """In the order of the head, since one may use those before it."""
        return {name: self._parsed(name)[0] for name in self.fields if name not in NOT_SLOTS}

    @property
    def who(self) -> str:
        return " ".join(text for text, _ in self.fields["who"])

    @property
    def short(self) -> bool:
        return "short" in self.fields


@dataclass(frozen=True)
class Story:
    plot: Plot
    seed: str
    slots: Mapping
    text: str

    @property
    def hero(self) -> Mapping:
        return self.slots["hero"]


class Library:
    """All plots and all that they share."""

    def __init__(self, folder: Path = PLOTS):
        self.grammar = Grammar(lists(folder / "words.txt"))
        self.kinds = table(folder / "kinds.txt")
        self.plots = [
            Plot(title, path.name, fields)
            for path in sorted(folder.glob("*.txt"))
            if path.name not in SHARED
            for title, fields in entries(path)
        ]
        self._known: dict[str, list[dict]] = {}

    def of(self, wanted: str) -> list[dict]:
        """The kinds that a list of kinds and tags admits: `anyone -owl` or `pet farm bear`."""
        if wanted not in self._known:
            words = [tag for word in wanted.split() for tag in (ANYONE if word == "anyone" else [word])]
            barred, admitted = (
                {word[1:] for word in words if word[0] == "-"},
                {word for word in words if word[0] != "-"},
            )
            marks = [{row["kind"], *row["tags"].split()} for row in self.kinds]
            if unknown := (barred | admitted) - set().union(*marks):
                raise GrammarError(f"no such kind or tag: {', '.join(sorted(unknown))}")
            self._known[wanted] = [
                row for row, mark in zip(self.kinds, marks, strict=True) if mark & admitted and not mark & barred
            ]
        return self._known[wanted]

    def heroes(self, plot: Plot) -> list[dict]:
        return self.of(plot.who)

    def tell(self, plot: Plot, seed: str, kind: str | None = None) -> Story:
        """The story of `plot` that belongs to `seed`; with `kind`, the same of another hero."""

        def chance(what: str) -> random.Random:
            return random.Random(f"{plot.title} {seed} {what}")

        rows = [row for row in self.heroes(plot) if kind in (None, row["kind"])]
        row = chance("kind").choices(rows, [ASKED_FOR.get(row["kind"], 1) for row in rows])[0]
        hero = self._character(row, chance("hero"), [])
        slots = {"hero": hero}
        home = {"home": parse(f"<home_{row['home']}>")}
        for name, parts in {**HEAD, **home, **plot.slots}.items():
            text = self.grammar.expand_plain(parts, slots, chance(name))
            if text[0] == "@":
                slots[name] = self._other(text, list(slots.values()), chance(name))
            elif name in HEAD or name in home:
                hero[name] = text
            else:
                slots[name] = text
        return Story(plot, seed, slots, self.grammar.expand(plot.body, slots, chance("text")))

    def _character(self, row: dict, pick: random.Random, names: list[str]) -> dict:
        """Somebody of the kind `row`, with none of `names`."""
        tags = set(row["tags"].split())
        he = pick.choice(["he", "she"]) if row["he"] == "any" else row["he"]
        if "elder" in tags:
            name = row["kind"].capitalize()
        else:
            sort = "boys girls" if tags & WITH_PEOPLES_NAMES else "he_things she_things" if "thing" in tags else ""
            named = self.grammar.lists[(sort or "he_animals she_animals").split()[he == "she"]]
            name = self.grammar.expand(named, {}, pick)
            while name in names:
                name = self.grammar.expand(named, {}, pick)
        pronouns = dict(zip(PRONOUNS["he"], PRONOUNS[he], strict=True))
        return {"": name, "kind": row["kind"], "kinds": row["kinds"], "tags": row["tags"], **pronouns}

    def _other(self, wanted: str, slots: list, pick: random.Random) -> dict:
        """Another character: of another kind than those that are there, except for children."""
        there = [slot for slot in slots if isinstance(slot, Mapping)]
        hero = there[0]
        if wanted == "@same":
            tags = hero["tags"].split()
            wanted = next((tag for tag in AT_HOME if tag in tags or (tag == "child" and "folk" in tags)), tags[0])
        rows = self.of(wanted.replace("@", ""))
        others = [row for row in rows if row["kind"] not in {each["kind"] for each in there}]
        row = pick.choice(rows if "child" in rows[0]["tags"] else others or rows)
        made = self._character(row, pick, [each[""] for each in there])
        # Ways to mention it first: Rex the dog; his friend Rex.
        child = {"child", "elder"} & set(row["tags"].split())
        made["full"] = made[""] if child else f"{made['']} the {row['kind']}"
        made["new"] = f"{hero['his']} friend {made[pick.choice(['', '', 'full'])]}"
        return made

    def question(self, story: Story, pick: random.Random) -> Iterator[tuple[str, str]]:
        """What may be asked about the story, with the answers."""
        for asked, answer in story.plot.questions:
            yield self.grammar.expand(asked, story.slots, pick), self.grammar.expand(answer, story.slots, pick)
