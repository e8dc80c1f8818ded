"""The filter for what a teacher writes: an example for every rule."""

import sys
from collections import Counter
from pathlib import Path

import pytest

BUNDLED = Path(__file__).parents[1] / "bundled"
STORY = (
    "Once upon a time, there was a girl named Mia who had a red kite. She took it to the hill. The wind was strong, "
    "and it flew up high. Then the string broke. A bird brought it back to her. She said thank you and gave it bread. "
    "In the evening, Mia went home and told her mother about the bird."
)


@pytest.fixture
def taught(monkeypatch):
    monkeypatch.syspath_prepend(BUNDLED)
    import taught

    yield taught
    for name in ("taught", "prompts"):
        sys.modules.pop(name, None)


def row(text=STORY, finish="end", logprob=-1.0):
    ask = ["user", "Tell me a story about a girl, in one short paragraph."]
    return {"turns": [ask, ["assistant", text]], "finish": finish, "logprob": logprob, "tokens": 80}


def fault(taught, made, others=()):
    return taught.Filter([row(), *others], taught.words(STORY)).fault(made)


def test_a_good_story_is_kept_without_what_the_teacher_was_told(taught):
    dropped = Counter()
    turns = list(taught.good([row()], taught.words(STORY), dropped))
    assert turns == [[["user", "Tell me a story about a girl."], ["assistant", STORY]]]
    assert not dropped


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (row(finish="length"), "not finished"),
        (row("Mia had a kite. It flew away."), "too short or too long"),
        (row(" ".join([STORY] * 4)), "too short or too long"),
        (row(STORY.rstrip(".")), "no end of a sentence"),
        (row(STORY + " She took it to the hill. She took it to the hill."), "repeats itself"),
        (row(STORY.replace("evening, Mia", "evening, Anna")), "forgets its hero"),
        (row(STORY.replace("it bread", "it quinoa")), "rare words"),
    ],
)
def test_each_fault_is_found(taught, made, expected):
    assert fault(taught, made) == expected


def test_the_least_likely_quarter_is_left_out(taught):
    rows = [row(logprob=-number / 10) for number in range(1, 9)]
    sieve = taught.Filter(rows, taught.words(STORY))
    assert [sieve.fault(row(logprob=-number / 10)) == "unlikely" for number in range(1, 9)] == [False] * 6 + [True] * 2


def test_one_that_is_like_another_is_left_out(taught):
    later = STORY.replace("Once upon a time, there", "There")
    sieve = taught.Filter([row(), row(later)], taught.words(STORY))
    assert sieve.fault(row()) is None
    assert sieve.fault(row()) == "like another"
    assert sieve.fault(row(later)) == "like another"
