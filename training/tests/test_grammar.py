"""The grammar that the bundled model's text is written in."""

import random
import sys
from pathlib import Path

import pytest

BUNDLED = Path(__file__).parents[1] / "bundled"


@pytest.fixture
def grammar(monkeypatch):
    monkeypatch.syspath_prepend(BUNDLED)
    import grammar

    yield grammar
    del sys.modules["grammar"]


def test_alternatives_are_nested_and_may_be_empty(grammar):
    parts = grammar.parse("The {big {red|blue}|small|} dog")
    made = {grammar.Grammar({}).expand(parts, {}, random.Random(seed)) for seed in range(100)}
    assert made == {"The big red dog", "The big blue dog", "The small dog", "The dog"}


def test_slots_have_attributes_and_those_of_the_hero_need_no_name(grammar):
    slots = {"hero": {"": "Mia", "his": "her"}, "friend": {"": "Rex", "his": "his"}, "thing": "kite"}
    parts = grammar.parse("$hero's $thing. $His friend, $friend, lost $friend.his hat. $Thing!")
    made = grammar.Grammar({}).expand(parts, slots, random.Random(1))
    assert made == "Mia's kite. Her friend, Rex, lost his hat. Kite!"


def test_lists_are_shared_and_drawn_afresh(grammar):
    made = grammar.Grammar({"color": grammar.parse("red|blue")})
    drawn = {made.expand(grammar.parse("<color>, <color>"), {}, random.Random(seed)) for seed in range(50)}
    assert drawn == {"Red, red", "Red, blue", "Blue, red", "Blue, blue"}


def test_articles_capitals_and_spaces_are_put_right(grammar):
    assert grammar.tidy('a old dog. he saw an cat , a hour long.\n"look!" it said. "an one."\nhe left.') == (
        'An old dog. He saw a cat, an hour long. "Look!" it said. "A one." He left.'
    )


def test_text_depends_on_the_seed_alone(grammar):
    parts = grammar.parse("{a|b|c}{d|e|f}{g|h|i}{j|k|l}")
    made = [grammar.Grammar({}).expand(parts, {}, random.Random("x 7")) for _ in range(3)]
    assert len(set(made)) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("one\n{two", "story.txt:8: { is never closed"),
        ("one\n\ntwo}", "story.txt:9: a } without a {"),
        ("costs $ 5", "story.txt:7: $ without a name"),
        ("{a|\n$dragon}", "story.txt:8: there is no slot $dragon"),
        ("{a|\n$friend.tail}", "story.txt:8: there is no slot $friend.tail"),
        ("a <place>", "story.txt:7: there is no list <place>"),
    ],
)
def test_mistakes_name_file_and_line(grammar, text, message):
    with pytest.raises(grammar.GrammarError) as error:
        parts = grammar.parse(text, "story.txt", 7)
        for seed in range(20):
            grammar.Grammar({}).expand(parts, {"hero": {}, "friend": {"": "Rex"}}, random.Random(seed))
    assert str(error.value) == message


def test_entries_have_a_head_and_a_text(grammar, tmp_path):
    path = tmp_path / "plots.txt"
    path.write_text("# A comment\n== first\nwho: dog\nwho: cat\nq: long\n  line\n\nOne.\n\nTwo.\n== second\nu: hi\n")
    first, second = grammar.entries(path)
    assert first == ("first", {"who": [("dog", 3), ("cat", 4)], "q": [("long\nline", 5)], "": [("One.\n\nTwo.", 8)]})
    assert second == ("second", {"u": [("hi", 12)]})
    path.write_text("text\n== first\n")
    with pytest.raises(grammar.GrammarError, match=r"plots.txt:1: text before"):
        list(grammar.entries(path))
