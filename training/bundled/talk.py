"""Small talk, simple questions and honest ignorance from talk/*.txt: entries of `u` (the user) and `a` (the answer).

`weight` says how often an entry is drawn among those of its file. Everything else in the head is a slot: a text, or a
row of a table in talk/tables, as in `animal: @animals` or `fact: @facts.color` (the rows whose `kind` is color). A row
that has - for what an entry speaks of is not drawn for it.
"""

import random
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from grammar import Grammar, GrammarError, Slot, entries, parse, slots_of
from stories import PLOTS, lists, table

TALK = Path(__file__).parent / "talk"
HEAD = {"u", "a", "weight"}
DIGITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()
NUMBERS = [*DIGITS, "seventeen", "eighteen", "nineteen", "twenty", "twenty-one"]


def sums(sign: str, word: str) -> list[dict[str, str]]:
    pairs = [(a, b, a + b if sign == "+" else a - b) for a in range(1, 11) for b in range(1, 11)]
    return [
        {"sum": f"{a} {sign} {b}", "words": f"{NUMBERS[a]} {word} {NUMBERS[b]}", "value": str(c), "number": NUMBERS[c]}
        for a, b, c in pairs
        if c >= 0
    ]


@dataclass(frozen=True)
class Entry:
    title: str
    file: str
    turns: list[tuple[str, list]]
    slots: list[tuple[str, str, int]]
    weight: int

    @cached_property
    def used(self) -> set[tuple[str, str]]:
        """The slots that it speaks of, with the attribute."""
        parts = [part for _, text in self.turns for part in slots_of(text)]
        return {(part.name.lower(), part.attribute or "") for part in parts if isinstance(part, Slot)}


class Talk:
    """All entries by file, with the tables and lists."""

    def __init__(self, folder: Path = TALK):
        self.grammar = Grammar({**lists(PLOTS / "words.txt"), **lists(folder / "words.txt")})
        self.tables = {path.stem: table(path) for path in sorted((folder / "tables").glob("*.txt"))}
        self.tables["sums"], self.tables["minus"] = sums("+", "plus"), sums("-", "minus")
        self.tables["next"] = [{"number": str(n), "value": str(n + 1)} for n in range(20)] + [
            {"number": NUMBERS[n], "value": NUMBERS[n + 1]} for n in range(20)
        ]
        self.entries: dict[str, list[Entry]] = {}
        for path in sorted(folder.glob("*.txt")):
            if path.name != "words.txt":
                self.entries[path.stem] = [entry(title, path.name, fields) for title, fields in entries(path)]

    def rows(self, name: str, wanted: str, used: set[tuple[str, str]]) -> list[dict[str, str]]:
        """The rows of `@table` or `@table.kind` that have all that is spoken of; "" is what the row is about."""
        name_of_table, _, kind = wanted[1:].partition(".")
        rows = []
        for row in self.tables[name_of_table]:
            if kind and row["kind"] != kind:
                continue
            first = next(value for key, value in row.items() if key != "kind" or not kind)
            if all(row.get(attribute) != "-" for slot, attribute in used if slot == name):
                rows.append({**row, "": first})
        if not rows:
            raise GrammarError(f"no rows of {wanted} for ${name}")
        return rows

    def filled(self, entry: Entry, pick: random.Random) -> dict:
        slots: dict = {"hero": {}}
        for name, text, line in entry.slots:
            if text[0] == "@":
                slots[name] = pick.choice(self.rows(name, text, entry.used))
            else:
                slots[name] = self.grammar.expand_plain(parse(text, entry.file, line), slots, pick)
        return slots

    def draw(self, file: str, pick: random.Random) -> list[list[str]]:
        chosen = pick.choices(self.entries[file], [each.weight for each in self.entries[file]])[0]
        return self.say(chosen, pick)

    def say(self, entry: Entry, pick: random.Random) -> list[list[str]]:
        slots = self.filled(entry, pick)
        return [[role, self.grammar.expand(parts, slots, pick)] for role, parts in entry.turns]


def entry(title: str, file: str, fields: dict) -> Entry:
    asked, answered = fields.get("u", []), fields.get("a", [])
    if len(asked) != len(answered) or not asked:
        raise GrammarError(f"{file}: {title!r} has {len(asked)} u and {len(answered)} a")
    turns = []
    for (u, line_u), (a, line_a) in zip(asked, answered, strict=True):
        turns += [("user", parse(u, file, line_u)), ("assistant", parse(a, file, line_a))]
    slots = [(key, *fields[key][0]) for key in fields if key not in HEAD]
    return Entry(title, file, turns, slots, int(fields.get("weight", [("1", 0)])[0][0]))
