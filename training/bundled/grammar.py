"""A small grammar for text: `The {big|small|} dog saw a $thing. $he said: "<hello>"`

`{a|b|}` is one of its alternatives, which may be empty and contain others. `$thing` is a slot, the same
throughout a text; `$friend.his` is an attribute of a slot, and `$his`, if there is no such slot, that of the slot
`hero`. `<hello>` is one of a shared list, chosen afresh each time. A capital, as in `$His`, gives a capital.
The articles a and an, and capitals at the start of sentences, are put right at the end.
(The package `tracery` has such alternatives, but no attributes, and its last release is of 2016.)
"""

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

TOKEN = re.compile(r"([{|}])|\$([A-Za-z_][A-Za-z_0-9]*)(?:\.([a-z_]+))?|<([a-z_0-9]+)>|([^{|}$<]+|.)", re.DOTALL)


class GrammarError(ValueError):
    """A mistake in a text, with the file and the line."""


@dataclass(frozen=True)
class Slot:
    name: str
    attribute: str | None
    where: str


@dataclass(frozen=True)
class Pick:
    name: str
    where: str


@dataclass(frozen=True)
class Choice:
    alternatives: list[list]


def parse(text: str, file: str = "text", line: int = 1) -> list:
    """The parts of `text`, which begins at `line` of `file`."""
    stack: list[tuple[str, list[list]]] = [("", [[]])]
    for token in TOKEN.finditer(text):
        where = f"{file}:{line}"
        bracket, slot, attribute, list_name, literal = token.groups()
        if bracket == "{":
            stack.append((where, [[]]))
        elif bracket == "}":
            if len(stack) == 1:
                raise GrammarError(f"{where}: a }} without a {{")
            alternatives = stack.pop()[1]
            stack[-1][1][-1].append(Choice(alternatives))
        elif bracket:
            stack[-1][1].append([])
        elif slot:
            stack[-1][1][-1].append(Slot(slot, attribute, where))
        elif list_name:
            stack[-1][1][-1].append(Pick(list_name, where))
        elif literal in ("$", "<"):
            raise GrammarError(f"{where}: {literal} without a name")
        else:
            stack[-1][1][-1].append(literal)
        line += token.group().count("\n")
    if len(stack) > 1:
        raise GrammarError(f"{stack[-1][0]}: {{ is never closed")
    alternatives = stack[0][1]
    return alternatives[0] if len(alternatives) == 1 else [Choice(alternatives)]


def slots_of(parts: list) -> Iterator[Slot | Pick]:
    """Every slot and list that any expansion of `parts` may need."""
    for part in parts:
        if isinstance(part, Choice):
            for alternative in part.alternatives:
                yield from slots_of(alternative)
        elif not isinstance(part, str):
            yield part


@dataclass(frozen=True)
class Grammar:
    """The shared lists. Their items may contain alternatives and slots."""

    lists: Mapping[str, list]

    def expand(self, parts: list, slots: Mapping, pick: random.Random) -> str:
        """One text. A slot's value is a string, or a mapping of attributes in which "" is the slot itself."""
        return tidy(self._join(parts, slots, pick))

    def expand_plain(self, parts: list, slots: Mapping, pick: random.Random) -> str:
        """The same for a part of a sentence, as it is."""
        return " ".join(self._join(parts, slots, pick).split())

    def _join(self, parts: list, slots: Mapping, pick: random.Random) -> str:
        return "".join(self._one(part, slots, pick) for part in parts)

    def _one(self, part, slots: Mapping, pick: random.Random) -> str:
        if isinstance(part, Choice):
            return self._join(pick.choice(part.alternatives), slots, pick)
        if isinstance(part, Pick):
            if part.name not in self.lists:
                raise GrammarError(f"{part.where}: there is no list <{part.name}>")
            return self._join(self.lists[part.name], slots, pick)
        return value(part, slots) if isinstance(part, Slot) else part


def value(slot: Slot, slots: Mapping) -> str:
    name, attribute = slot.name[0].lower() + slot.name[1:], slot.attribute or ""
    if name not in slots:
        name, attribute = "hero", attribute or name
    found = slots.get(name)
    found = found.get(attribute) if isinstance(found, Mapping) else None if attribute else found
    if found is None:
        asked = f"{slot.name}.{slot.attribute}" if slot.attribute else slot.name
        raise GrammarError(f"{slot.where}: there is no slot ${asked}")
    return found[:1].upper() + found[1:] if slot.name[0].isupper() else found


def tidy(text: str) -> str:
    text = re.sub(r"\n\s*[a-z]", lambda start: start[0].upper(), text)  # a line begins with a sentence
    text = " ".join(text.split())
    text = re.sub(r" +([,.!?])", r"\1", text)
    text = re.sub(r"\b([Aa])n?(?= (\w+))", lambda a: a[1] + ("n" if vowel(a[2]) else ""), text)
    return re.sub(r'(^"?|[.!?] "?|\." )([a-z])', lambda start: start[1] + start[2].upper(), text)


def vowel(word: str) -> bool:
    like_a_consonant = word.lower().startswith(("one", "once", "uni", "use"))
    return word.lower().startswith(("hour", "honest")) or (word[0] in "aeiouAEIOU" and not like_a_consonant)


def entries(path: Path) -> Iterator[tuple[str, dict[str, list[tuple[str, int]]]]]:
    """The entries of a file: `== title`, then `key: text`, and text without a key, under the key "". A line that is
    indented goes on with the key before it, and # begins a comment. Each text is given with the line it begins in."""
    title, fields, key = None, {}, ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("#"):
            continue
        if line.startswith("== "):
            if title is not None:
                yield title, fields
            title, fields, key = line[3:].strip(), {}, ""
        elif title is None and line.strip():
            raise GrammarError(f"{path.name}:{number}: text before the first ==")
        elif given := re.match(r"([a-z_][a-z_0-9]*): +(?=\S)(.*)", line):
            key = given[1]
            fields.setdefault(key, []).append((given[2], number))
        elif line[:1] == " " and fields.get(key):
            text, first = fields[key][-1]
            fields[key][-1] = (f"{text}\n{line.strip()}", first)
        elif line.strip():
            key = ""
            if "" in fields:
                text, first = fields[""][-1]
                fields[""][-1] = (text + "\n" * (number - first - text.count("\n")) + line, first)
            else:
                fields[""] = [(line, number)]
    if title is not None:
        yield title, fields
