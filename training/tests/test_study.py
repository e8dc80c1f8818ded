"""The study: its runs can be compared, and its report reads what they logged."""

import sys
from pathlib import Path

import pytest

from attamba_train import csv_log
from attamba_train.model import Decoder

STUDY = Path(__file__).parents[1] / "study"


@pytest.fixture
def study(monkeypatch):
    """The scripts of the study, as they see one another."""
    monkeypatch.syspath_prepend(STUDY)
    import common
    import report

    yield common, report
    del sys.modules["common"], sys.modules["report"]


def test_runs_differ_in_the_model_alone_and_are_of_one_size(study):
    runs = study[0].runs()
    assert len({study[0].folder_name(run) for run in runs}) == len(runs)
    assert len({(run.train.tokens, run.seed, str(run.data), run.model.context) for run in runs}) == 1
    sizes = [Decoder(run.model).parameter_count() for run in runs]
    assert max(sizes) / min(sizes) < 1.02


def test_report_ranks_complete_runs_and_names_the_others(study, tmp_path, monkeypatch):
    common, report = study
    first, second, third, full = common.runs()[:4]
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
    note = tmp_path / "STUDY.md"
    note.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    monkeypatch.setattr(report, "NOTE", note)
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
