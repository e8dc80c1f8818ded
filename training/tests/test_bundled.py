"""The conversations that the bundled model learns from."""

import random
import sys
from pathlib import Path

import pytest

BUNDLED = Path(__file__).parents[1] / "bundled"


@pytest.fixture
def conversations(monkeypatch):
    monkeypatch.syspath_prepend(BUNDLED)
    import conversations

    yield conversations
    del sys.modules["conversations"]


def test_roles_take_turns_and_every_tale_is_told_once(conversations):
    tales = [(f"Title {n}", f"Story {n} of a fox, a fox and a fox.") for n in range(60)]
    told = []
    chance = random.Random(1)
    for first in range(0, 60, 3):
        turns = conversations.greeted(conversations.told(tales[first : first + 3], chance), chance)
        assert [role for role, _ in turns] == ["user", "assistant"] * (len(turns) // 2)
        told += [text for role, text in turns if role == "assistant" and text.startswith("Story")]
    assert sorted(told) == sorted(story for _, story in tales)


def test_tale_loses_its_line_breaks_and_end_mark(conversations):
    text = "A title\n\nThe dog ran\ndown the hill.\n\nIt slept.\n\n##"
    assert conversations.tale(text) == ("A title", "The dog ran down the hill.\n\nIt slept.")


def test_subject_is_what_a_story_names_often(conversations):
    assert conversations.subject("An elephant met an ant. Elephants like this elephant!") == "an elephant"
    assert conversations.subject("A dog met a cat.") is None
    assert conversations.subject("Grandmother, grandmother, grandmother!") == "grandmother"
