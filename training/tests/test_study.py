"""The studies: their runs are comparable, and their reports read what was logged and scored."""

import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from attamba_train import checkpoint, csv_log, settings
from attamba_train import tokenizer as tokenizers
from attamba_train.model import Decoder
from attamba_train.run_config import RunConfig

STUDY = Path(__file__).parents[1] / "study"


MODULES = ("common", "results", "run_queue", "note", "memories", "report", "score", "texts")


@pytest.fixture
def scripts(monkeypatch):
    """Imports the scripts of a study, as they see one another."""

    def of(study: str, *names: str) -> SimpleNamespace:
        monkeypatch.syspath_prepend(STUDY)
        monkeypatch.syspath_prepend(STUDY / study)
        return SimpleNamespace(**{name: importlib.import_module(name) for name in names})

    yield of
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("study", ["scan", "context"])
def test_runs_differ_in_the_model_alone_and_are_of_one_size(scripts, study):
    common = scripts(study, "common").common
    runs = common.runs(study)
    assert len({common.folder_name(run) for run in runs}) == len(runs)
    for longer in (False, True):
        alike = [run for run in runs if run.name.startswith("longer: ") == longer]
        assert len({(str(run.train), run.seed, str(run.data), run.model.context) for run in alike}) <= 1
    sizes = [Decoder(run.model).parameter_count() for run in runs]
    assert max(sizes) / min(sizes) < 1.02


def test_what_is_limited_in_the_context_study_holds_an_eighth(scripts):
    full, *others = scripts("context", "common").common.runs("context")
    whole = full.model.kv_bytes(full.model.context)
    for run in others:
        held = run.model.kv_bytes(run.model.context) / whole
        assert held < 0.13 if run.model.architecture != "mamba" else held == 0, run.name


def test_report_ranks_complete_runs_and_names_the_others(scripts, tmp_path, monkeypatch):
    study = scripts("scan", "common", "report", "note")
    common, report = study.common, study.report
    monkeypatch.setattr(report, "kept_of", lambda study: tmp_path / "results")
    first, second, third, full = common.runs("scan")[:4]
    for run, loss, step in (
        (first, 3.0, first.steps),
        (second, 2.0, second.steps),
        (third, 1.0, 100),
        (full, 2.5, full.steps),
    ):
        folder = tmp_path / common.folder_name(run)
        folder.mkdir()
        log = csv_log.CsvLog(folder / "validation.csv", csv_log.VALIDATION_COLUMNS, 0)
        log.write(step=step, tokens=step * run.step_tokens, chunk=8, source="stories", scored_tokens=1, loss=loss)
        log.close()
    note = page(study.note, "scan", tmp_path, monkeypatch)
    monkeypatch.setattr(report, "HERE", tmp_path)
    monkeypatch.setattr(sys, "argv", ["report.py", "--out", str(tmp_path)])
    report.main()
    text = note.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    rows = [line.split(" | ") for line in text.splitlines() if "**" in line]
    assert [row[0].removeprefix("| ") for row in rows] == [second.name, full.name, first.name]
    assert [row[2] for row in rows] == ["**7.39**", "**12.18**", "**20.09**"]
    assert rows[0][3] == "-39.3%"
    assert f"Not complete yet: {third.name};" in text
    assert (tmp_path / "memory.png").exists() and (tmp_path / "curves.png").exists()


def page(note, study: str, folder: Path, monkeypatch) -> Path:
    """A page for the figures of `study`, which has others already."""
    path = folder / "STUDY.md"
    path.write_text("before\n{}\nold\n{}\nafter\n".format(*note.marks(study)))
    monkeypatch.setattr(note, "NOTE", path)
    return path


def test_queue_keeps_what_is_complete_and_does_not_make_it_again(scripts, data, config, tmp_path, monkeypatch):
    queue = scripts("scan", "run_queue").run_queue
    kept, other = tmp_path / "results", settings.read(RunConfig, config.as_dict() | {"name": "other"}, "other")
    monkeypatch.setattr(queue, "kept_of", lambda study: kept)
    monkeypatch.setattr(queue, "runs", lambda study: [config, other])
    monkeypatch.setattr(sys, "argv", ["run_queue.py", "scan", "--data", str(data), "--out", str(tmp_path / "runs")])
    queue.main()
    assert {path.name for path in kept.iterdir()} == {"tiny", "other"}
    log = csv_log.read(kept / "tiny" / "train.csv")
    assert [int(row["step"]) for row in log] == [config.steps]
    losses = [float(row["loss"]) for row in csv_log.read(tmp_path / "runs" / "tiny" / "train.csv")]
    assert float(log[0]["loss"]) == pytest.approx(sum(losses) / len(losses), abs=1e-5)

    monkeypatch.setattr(
        sys, "argv", ["run_queue.py", "scan", "--data", str(data), "--out", str(tmp_path / "elsewhere")]
    )
    queue.main()
    assert not (tmp_path / "elsewhere").exists()


def test_a_result_of_other_settings_does_not_count(scripts, config, tmp_path):
    results, folder, kept = scripts("scan", "results").results, tmp_path / "run", tmp_path / "results"
    folder.mkdir()
    (folder / "run.yaml").write_text(yaml.safe_dump(config.as_dict()))
    for name, columns in (("train", csv_log.TRAIN_COLUMNS), ("validation", csv_log.VALIDATION_COLUMNS)):
        csv_log.CsvLog(folder / f"{name}.csv", columns, 0).close()
    results.keep(config, folder, kept)
    assert results.is_kept(config, kept)
    assert not results.is_kept(settings.read(RunConfig, config.as_dict() | {"seed": 4}, "tiny"), kept)


def test_everything_in_a_text_of_the_context_study_comes_twice(scripts, tmp_path):
    module = scripts("context", "texts").texts
    books, out = tmp_path / "books.jsonl", tmp_path / "texts.jsonl"
    books.write_text("".join(json.dumps({"text": " ".join(f"w{b}x{n}" for n in range(400))}) + "\n" for b in range(9)))
    module.main(["--books", str(books), "--out", str(out), "--documents", "100", "--held-out", "0.5"])
    documents = [json.loads(line)["text"].split("\n\n") for line in out.read_text().splitlines()]
    assert len(documents) == 100
    for parts in documents:
        asked = [part for part in parts if part.startswith("Question: ")]
        told = [part for part in parts if part not in asked and parts.count(part) == 1]
        assert len(asked) == len(told) >= 3 and len(parts) >= 22
        for part in asked:
            value = part.removesuffix(".").split()[-1]
            assert any(f" {value}" in each for each in parts[: parts.index(part)] if each in told), part


@pytest.fixture
def texts(scripts, tmp_path):
    """What the context study scores, made of a book whose words are all different."""
    score = scripts("context", "score").score
    book = tmp_path / "book.txt"
    book.write_text(" ".join(f"{word}{number}" for number in range(900) for word in ("oak", "elm", "fir")))
    tokens = tokenizers.train([book.read_text(), " ".join(kind[0] for kind in score.memories.KINDS)], 300)
    return score, score.Texts(book, 1.1, tokens, 1)


@pytest.mark.parametrize("distance", [128, 1024])
def test_a_passage_comes_again_after_the_distance(texts, distance):
    score, texts = texts
    text, scored = texts.repetition(distance)
    assert len(text) == score.CONTEXT + 1 and scored.stop == len(text)
    assert len(scored) == score.REPEATED - score.GIVEN
    assert [text[at] for at in scored] == [text[at - distance] for at in scored]


def test_the_value_of_a_fact_is_scored_and_told_before(texts):
    score, texts = texts
    for distance in (128, 1792):
        for _ in range(20):
            text, scored = texts.fact(distance)
            decode = texts.tokens.decode
            assert len(text) == score.CONTEXT + 1
            value = decode([text[at] for at in scored]).strip()
            asked = decode(text).index("Question:")
            assert 0 < len(value) < 20 and value in decode(text)[:asked]
            assert decode(text[: scored.stop]).endswith(value)


def test_recall_counts_tokens_and_whole_texts(texts):
    score, _ = texts

    class Successor(torch.nn.Module):
        """Predicts that each token is followed by the next number."""

        def forward(self, tokens):
            return 20.0 * torch.nn.functional.one_hot((tokens + 1) % 10, 10)

    right, half = ([1, 2, 3, 4, 5], range(1, 5)), ([1, 2, 3, 5, 5], range(1, 5))
    figures = score.recall(Successor(), [right, half])
    assert figures["tokens"] == pytest.approx(6 / 8) and figures["exact"] == 0.5
    assert figures["loss"] == pytest.approx(20 * 2 / 8, abs=0.01)


def test_the_context_study_is_scored_and_reported(scripts, data, config, stories, tmp_path, monkeypatch):
    study = scripts("context", "common", "score", "report", "note")
    runs, kept = [config], tmp_path / "results"
    for module in (study.score, study.report):
        monkeypatch.setattr(module, "runs", lambda study: runs)
        monkeypatch.setattr(module, "kept", lambda study: kept)
    folder = tmp_path / "runs" / "tiny"
    folder.mkdir(parents=True)
    model = Decoder(config.model).init_weights(1)
    checkpoint.save(folder, {"step": 5, "model": model.state_dict()})
    arguments = ["--data", str(data), "--out", str(folder.parent), "--books", str(stories), "--held-out", "1.1"]
    monkeypatch.setattr(sys, "argv", ["score.py", *arguments, "--texts", "1"])
    study.score.main()
    scores = json.loads((kept / "tiny" / "scores.json").read_text())
    assert scores["tokens"] == 5 * config.step_tokens
    assert all(3 < loss < 9 for loss in scores["position"].values())

    note = page(study.note, "context", tmp_path, monkeypatch)
    monkeypatch.setattr(study.report, "HERE", tmp_path)
    study.report.main()
    row = [line for line in note.read_text().splitlines() if line.startswith("| tiny")]
    assert len(row) == 2 and "KiB" in row[0] and row[1].count(" %") == 8 and "\nold\n" not in note.read_text()
    assert (tmp_path / "recall.png").exists()
