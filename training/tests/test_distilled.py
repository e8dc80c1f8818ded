"""The data made for a distillation."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from attamba_train import corpus, token_file

SCRIPTS = Path(__file__).parents[1] / "distilled"
BOOKS = [" ".join(f"word{book}x{n}" for n in range(400)) for book in range(12)]


def script(name: str):
    sys.path.insert(0, str(SCRIPTS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(SCRIPTS))


@pytest.fixture(scope="module", params=[[], ["--far"]], ids=["near", "far"])
def memories(tmp_path_factory, request):
    """What the script makes of twelve books, half of them held out, and the books themselves."""
    module = script("memories")
    folder = tmp_path_factory.mktemp("memories")
    books, out = folder / "books.jsonl", folder / "memories.jsonl"
    books.write_text("".join(json.dumps({"text": text}) + "\n" for text in BOOKS))
    command = ["--books", str(books), "--out", str(out), "--documents", "1000", "--held-out", "0.5", *request.param]
    module.main(command)
    first = out.read_text()
    module.main(command)
    assert out.read_text() == first
    return [json.loads(line) for line in first.splitlines()]


def test_nothing_is_from_a_book_that_is_held_out(memories):
    held_out = {str(n) for n, text in enumerate(BOOKS) if token_file.fraction(corpus.as_text(text)) < 0.5}
    assert 0 < len(held_out) < len(BOOKS)
    text = json.dumps(memories)
    found = {n for n in map(str, range(len(BOOKS))) if f"word{n}x" in text}
    assert found == {str(n) for n in range(len(BOOKS))} - held_out


def test_every_answer_stands_in_what_came_before(memories):
    conversations = [row["turns"] for row in memories if "turns" in row]
    assert conversations
    for (_, read), _, *asked in conversations:
        for (_, question), (_, answer) in zip(asked[::2], asked[1::2], strict=True):
            value = answer.removesuffix(".").split()[-1]
            names = [word.removesuffix("?") for word in question.replace("'s", "").split()]
            facts = [line for line in read.split("\n\n") if f" {value}" in line and any(n in line for n in names)]
            assert facts, (question, answer)


def test_a_passage_comes_again(memories):
    repeated = [row["text"].split("\n\n") for row in memories if "Question: " not in row.get("text", "Question: ")]
    assert repeated
    assert all(parts[-1].endswith(parts[0]) and len(parts) > 2 for parts in repeated)


def test_the_base_answers_in_turn_and_a_stopped_run_continues(tmp_path):
    """With a stub in place of the runtime that reports how much it has been told before."""
    module, books, out, program = script("answers"), tmp_path / "books.jsonl", tmp_path / "out.jsonl", tmp_path / "chat"
    books.write_text("".join(json.dumps({"text": text}) + "\n" for text in BOOKS))
    program.write_text(
        f"""#!{sys.executable}
import sys
saved = sys.argv[sys.argv.index("--save") + 1]
with open(saved, "a") as file:
    file.writelines(sys.stdin.readlines())
print("answer", len(open(saved).readlines()))
"""
    )
    program.chmod(0o755)
    command = ["--attamba", str(program), "--model", "base.gguf", "--books", str(books), "--out", str(out)]
    module.main([*command, "--conversations", "7"])
    whole = out.read_text()
    conversations = [json.loads(line)["turns"] for line in whole.splitlines()]
    assert len(conversations) == 7
    for turns in conversations:
        (role, _), *asked = turns
        assert role == "system"
        assert [role for role, _ in asked] == ["user", "assistant"] * (len(asked) // 2)
        assert [text for _, text in asked[1::2]] == [f"answer {n + 1}" for n in range(len(asked) // 2)]
    out.write_text("".join(whole.splitlines(keepends=True)[:3]))
    module.main([*command, "--conversations", "7"])
    assert out.read_text() == whole


def test_windows_that_cover_the_text_cost_nothing(data, reference, tmp_path, capsys):
    base, mixed = tmp_path / "base.gguf", tmp_path / "mixed.gguf"
    shape = {"arch": "llama", "vocab": 300, "kv_heads": 4}
    reference.make(str(base), 1, shape, lambda writer: writer.add_array("llama.memory.far_heads", [5, 0]))
    reference.make(str(mixed), 2, shape | {"arch": "attamba"})
    files = ["--base", str(base), "--models", str(mixed), "--data", str(data), "--sources", "stories"]
    seeing = ["--context", "64", "--texts", "1", "--far", "2", "--windows", "63", "4", "--chunks", "8:63", "8:4"]
    script("by_head").main([*files, *seeing, "--precision", "float32"])
    said = capsys.readouterr().out.splitlines()
    figures = {line.split(": ")[0].removeprefix("stories, "): line.split(": ")[1] for line in said}
    assert len(figures) == 3 + 5
    assert figures["base, full attention"] == figures["base, window 63"] != figures["base, window 4"]
    mixed = {name.removeprefix("mixed, "): figure for name, figure in figures.items() if name.startswith("mixed")}
    # The scan of this model is reset at each chunk.
    assert mixed["full attention"] == mixed["window 63"]
    assert len(set(mixed.values())) == 4
