"""What the bundled model is judged by."""

import json
import sys
from pathlib import Path

import pytest

BUNDLED = Path(__file__).parents[1] / "bundled"
STORY = "There was Mia, a little girl. Mia had a kite. The kite flew away over the hill. In the evening, {} found it."


@pytest.fixture
def judge(monkeypatch):
    monkeypatch.syspath_prepend(BUNDLED)
    import judge

    yield judge
    for name in ("judge", "taught", "prompts"):
        sys.modules.pop(name, None)


def row(text, finish="end", score=-1.0, ask="story 0"):
    return {"id": ask, "turns": [["user", "A story."], ["assistant", text]], "finish": finish, "score": score}


def test_requests_are_many_different_ones_without_what_only_the_teacher_is_told(judge):
    found = judge.requests(100, seed=7)
    assert len(set(found)) == 100 and found == judge.requests(100, seed=7)
    assert not any("paragraph" in ask for ask in found)
    assert found != judge.requests(100, seed=8)


def test_an_answer_ends_with_a_sentence(judge):
    assert all(judge.ends(text) for text in ("Good night.", 'He said: "Yes!"', "Is it so?\n"))
    assert not any(judge.ends(text) for text in ("And then", "", 'He said: "Yes"'))


def test_the_line_of_a_model_has_the_means_of_its_answers(judge):
    rows = [row(STORY.format("Mia"), score=-1.0), row(STORY.format("she"), score=-2.0, finish="limit")]
    assert judge.line("small", rows, stories=True) == "| small | -1.500 | 0.0 % | 50 % | 23 | 50 % of 2 |"
    again = [row("The cat sat down there. The cat sat down there.", score=-1.0)]
    assert judge.line("small", again, stories=False) == "| small | -1.000 | 28.6 % | 100 % | 10 |"


def test_answers_and_scores_are_put_together_by_their_ids(judge, monkeypatch, tmp_path):
    asked = tmp_path / "prompts.jsonl"
    asked.write_text('{"id": "a", "say": ["Hi"]}\n{"id": "b", "say": ["Bye"]}\n')
    called = []

    def run(example, *args, out=None):
        called.append(example)
        path, key = (args[2], "finish") if example == "batch" else (out, "logprob")
        path.write_text("".join(json.dumps({"id": i, key: v}) + "\n" for i, v in (("b", 2), ("a", 1))))

    monkeypatch.setattr(judge, "run", run)
    rows = judge.judged(Path("m.gguf"), asked, Path("t.gguf"), tmp_path)
    assert called == ["batch", "score"]
    assert [(row["id"], row["finish"], row["score"]) for row in rows] == [("a", 1, 1), ("b", 2, 2)]


def test_stories_and_answers_of_a_text_are_spread_over_it(judge, tmp_path):
    story, text = STORY.format("Mia") * 5, tmp_path / "conversations.jsonl"
    rows = [{"turns": [["user", f"ask {n}"], ["assistant", story if n % 2 else "Hello."]]} for n in range(404)]
    text.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "out").mkdir()
    found = judge.read(judge.answers_of(text, tmp_path / "out"))
    assert [row["id"] for row in found] == [f"{kind} {n}" for kind in ("stories", "answers") for n in range(100)]
    assert [row["turns"][0][1] for row in found[:3]] == ["ask 1", "ask 5", "ask 9"]
    assert all(len(row["turns"][1][1]) > 300 for row in found[:100])
    assert all(row["turns"][1][1] == "Hello." for row in found[100:])
