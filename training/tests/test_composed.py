"""The stories and the talk that the bundled model learns from."""

import json
import random
import re
import sys
from pathlib import Path

import pytest

BUNDLED = Path(__file__).parents[1] / "bundled"
WRITTEN = ["compose", "grammar", "prompts", "stories", "talk", "taught"]


@pytest.fixture(scope="module")
def modules():
    sys.path.insert(0, str(BUNDLED))
    import compose
    import grammar
    import stories
    import talk

    yield {"compose": compose, "grammar": grammar, "stories": stories, "talk": talk}
    sys.path.remove(str(BUNDLED))
    for name in WRITTEN:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def library(modules):
    return modules["stories"].Library()


@pytest.fixture(scope="module")
def composer(modules):
    return modules["compose"].Composer(seed=1)


def missing(modules, lists, parts, slots):
    """The slots and lists in any alternative of `parts`, and of the lists in them, that there are not."""
    for part in modules["grammar"].slots_of(parts):
        if isinstance(part, modules["grammar"].Pick):
            if part.name not in lists:
                yield part
            else:
                yield from missing(modules, lists, lists[part.name], slots)
        else:
            try:
                modules["grammar"].value(part, slots)
            except modules["grammar"].GrammarError as error:
                yield str(error)


def test_there_are_many_plots(library):
    assert len({plot.title for plot in library.plots}) == len(library.plots) >= 120


def test_every_slot_of_every_plot_is_known(modules, library):
    for plot in library.plots:
        slots = library.tell(plot, "1").slots
        texts = [plot.body, *plot.happens, *plot.about, *(text for pair in plot.questions for text in pair)]
        assert plot.happens, plot.title
        assert plot.about, plot.title
        assert plot.short or len(plot.questions) >= 2, plot.title
        for text in texts:
            assert list(missing(modules, library.grammar.lists, text, slots)) == [], plot.title


def test_every_plot_can_be_told_of_every_hero_that_it_admits(library):
    for plot in library.plots:
        kinds = [row["kind"] for row in library.heroes(plot)]
        for number in range(max(50, len(kinds))):
            story = library.tell(plot, str(number), kinds[number % len(kinds)])
            assert story.hero[""] in story.text, plot.title
            assert not re.search(r"[$<>{}|]|\s[,.!?]|\.\.|,,|\b[Aa] [aeiou]\w*[^n]e\b(?<!one)", story.text), story.text
            assert story.text.count('"') % 2 == 0, story.text
            assert re.search(r'[.!?]"?$', story.text), story.text
            assert len(story.text.split()) in (range(18, 90) if plot.short else range(85, 330)), plot.title


def test_names_of_a_story_differ(library):
    for plot in library.plots:
        for number in range(10):
            story = library.tell(plot, str(number))
            names = [slot[""] for slot in story.slots.values() if isinstance(slot, dict)]
            assert len(set(names)) == len(names), plot.title


def test_the_same_story_is_told_of_another_hero(library):
    plot = next(plot for plot in library.plots if plot.title == "one for two")
    cat, cow = (library.tell(plot, "5", kind) for kind in ("cat", "cow"))
    assert cat.hero["kind"] == "cat"
    assert cow.hero["kind"] == "cow"
    assert cat.slots["food"] == cow.slots["food"]
    assert library.tell(plot, "5", "cat").text == cat.text


def test_stories_are_those_that_were_asked_for(composer):
    """The name, the kind and the thing in a request are those of the story."""
    named = 0
    for number in range(600):
        pick = random.Random(number)
        story = composer.story(pick)
        asked = composer.request(story, pick)
        for name in re.findall(r"(?:named|called|name) ([A-Z]\w+)", asked):
            named += 1
            assert name == story.hero[""], asked
        kind = re.search(r"(?:a|an) (\w+) (?:named|called|with the name)", asked)
        assert not kind or kind[1] == story.hero["kind"] or kind[1] == story.hero["mood"], asked
        assert not re.search(r"\b(?:his|her) his\b|[$<>{}|]", asked)
    assert named > 50


def test_what_a_plot_is_said_to_be_about_is_in_it(library):
    kinds = {row["kind"]: row["kinds"] for row in library.kinds}
    for plot in library.plots:
        for number in range(10):
            story = library.tell(plot, str(number))
            for text in plot.about + plot.happens:
                topic = library.grammar.expand_plain(text, story.slots, random.Random(number))
                for kind in kinds.keys() & set(re.findall(r"[a-z]+", topic)):
                    told = rf"\b({kind}|{kinds[kind]})\b"
                    assert re.search(told, f"{story.hero['kind']} {story.text}", re.IGNORECASE), (plot.title, topic)


def test_questions_about_a_story_are_answered_from_it(composer):
    for number in range(200):
        pick = random.Random(number)
        story = composer.story(pick)
        asked, answer = composer.asked(story, pick)
        assert asked.endswith("?")
        for name in re.findall(r"(?<=[a-z,] )[A-Z][a-z]+", answer):
            assert name in story.text, (asked, answer)


def test_every_entry_can_be_said(modules):
    talk = modules["talk"].Talk()
    for entries in talk.entries.values():
        for entry in entries:
            for number in range(5):
                for _, text in talk.say(entry, random.Random(number)):
                    assert text
                    assert not re.search(r"[$<>{}|]|\?\?|\s[,.!?]", text), (entry.title, text)
            slots = talk.filled(entry, random.Random(1))
            for _, parts in entry.turns:
                assert list(missing(modules, talk.grammar.lists, parts, slots)) == [], entry.title


ANSWERS = [("eat", "eats"), ("live", "lives"), ("sound", "sound"), ("young", "young"), ("can", "can")]


@pytest.mark.parametrize(("title", "column"), ANSWERS)
def test_answers_about_animals_agree_with_the_table(modules, title, column):
    talk = modules["talk"].Talk()
    entry = next(entry for entry in talk.entries["animals"] if entry.title == title)
    for number in range(200):
        (_, asked), (_, answer) = talk.say(entry, random.Random(number))
        spoken = [
            row
            for row in talk.tables["animals"]
            if re.search(rf"\b({row['animal']}|{row['plural']})\b", asked, re.IGNORECASE)
        ]
        assert any(row[column].lower() in answer.lower() for row in spoken), (asked, answer)


def test_small_sums_are_right(modules):
    talk = modules["talk"].Talk()
    for row in talk.tables["sums"] + talk.tables["minus"]:
        assert eval(row["sum"]) == int(row["value"])
        assert modules["talk"].NUMBERS[int(row["value"])] == row["number"]


def test_conversations_take_turns_and_depend_on_their_number_alone(composer, modules):
    for number in range(300):
        turns = composer.turns(number)
        assert [role for role, _ in turns] == ["user", "assistant"] * (len(turns) // 2)
        assert 1 <= len(turns) // 2 <= 6
    assert modules["compose"].Composer(seed=1).turns(7) == composer.turns(7)
    assert modules["compose"].Composer(seed=2).turns(7) != composer.turns(7)


def test_no_plot_is_told_twice_in_a_conversation(composer):
    for number in range(50):
        composer.turns(number)
        told = [composer.story(random.Random(f"{number} {n}")).plot.title for n in range(5)]
        assert len(set(told)) == 5


def test_an_offer_that_is_taken_is_kept(composer):
    assert composer.offered("Hello! Would you like a story?") == ""
    assert composer.offered("A cow eats grass. Shall I tell you a story about a cow?") == "cow"
    assert composer.offered("Shall I tell you a story about a rhino?") is None
    assert composer.offered("How are you?") is None
    assert composer.story(random.Random(1), "cow").hero["kind"] == "cow"


def test_files_are_written(modules, tmp_path, monkeypatch, capsys):
    taught = {"id": 1, "finish": "end", "tokens": 80, "logprob": -1.0}
    animals = "cat dog hen fox bee cow pig owl".split()
    said = " ".join(
        ["Rex the dog had a ball.", *(f"The {animal} was red." for animal in animals), "Then Rex slept well."]
    )
    rows = [[["user", "Tell me a story, in one short paragraph."], ["assistant", said]]]
    (tmp_path / "taught.jsonl").write_text("".join(json.dumps({**taught, "turns": turns}) + "\n" for turns in rows))
    out = tmp_path / "out.jsonl"
    arguments = ["compose.py", "--count", "20", "--out", str(out), "--taught", str(tmp_path / "taught.jsonl")]
    monkeypatch.setattr(sys, "argv", arguments)
    modules["compose"].main()
    written = [json.loads(line)["turns"] for line in out.read_text().splitlines()]
    assert len(written) == 21
    assert sum("short paragraph" in text for turns in written for _, text in turns) == 0
    assert "1 of the teacher's answers are kept" in capsys.readouterr().out


def test_nothing_is_written_in_vain(library):
    """Every slot of a plot is used in it."""
    for plot in library.plots:
        written = " ".join(text for texts in plot.fields.values() for text, _ in texts)
        for name in plot.slots.keys() - {"mood", "home"}:
            assert re.search(rf"\$[{name[0]}{name[0].upper()}]{name[1:]}\b", written), (plot.title, name)
