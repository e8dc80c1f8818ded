"""The study: its runs are comparable, and its report reads what they logged."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from attamba_train import csv_log, settings
from attamba_train.model import Decoder
from attamba_train.run_config import RunConfig

STUDY = Path(__file__).parents[1] / "study"


@pytest.fixture
def study(monkeypatch):
    """The scripts of the study, as they see one another."""
    monkeypatch.syspath_prepend(STUDY)
    import common
    import report
    import results
    import run_queue

    yield SimpleNamespace(common=common, report=report, results=results, run_queue=run_queue)
    for name in ("common", "report", "results", "run_queue"):
        del sys.modules[name]


def test_runs_differ_in_the_model_alone_and_are_of_one_size(study):
    runs = study.common.runs()
    assert len({study.common.folder_name(run) for run in runs}) == len(runs)
    for longer in (False, True):
        alike = [run for run in runs if run.name.startswith("longer: ") == longer]
        assert len({(str(run.train), run.seed, str(run.data), run.model.context) for run in alike}) == 1
    sizes = [Decoder(run.model).parameter_count() for run in runs]
    assert max(sizes) / min(sizes) < 1.02


def test_report_ranks_complete_runs_and_names_the_others(study, tmp_path, monkeypatch):
    common, report = study.common, study.report
    monkeypatch.setattr(study.results, "KEPT", tmp_path / "results")
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


def test_queue_keeps_what_is_complete_and_does_not_make_it_again(study, data, config, tmp_path, monkeypatch):
    kept, other = tmp_path / "results", settings.read(RunConfig, config.as_dict() | {"name": "other"}, "other")
    monkeypatch.setattr(study.results, "KEPT", kept)
    monkeypatch.setattr(study.run_queue, "runs", lambda: [config, other])
    monkeypatch.setattr(sys, "argv", ["run_queue.py", "--data", str(data), "--out", str(tmp_path / "runs")])
    study.run_queue.main()
    assert {path.name for path in kept.iterdir()} == {"tiny", "other"}
    log = csv_log.read(kept / "tiny" / "train.csv")
    assert [int(row["step"]) for row in log] == [config.steps]
    losses = [float(row["loss"]) for row in csv_log.read(tmp_path / "runs" / "tiny" / "train.csv")]
    assert float(log[0]["loss"]) == pytest.approx(sum(losses) / len(losses), abs=1e-5)

    monkeypatch.setattr(sys, "argv", ["run_queue.py", "--data", str(data), "--out", str(tmp_path / "elsewhere")])
    study.run_queue.main()
    assert not (tmp_path / "elsewhere").exists()


def test_a_result_of_other_settings_does_not_count(study, config, tmp_path, monkeypatch):
    results, folder = study.results, tmp_path / "run"
    monkeypatch.setattr(results, "KEPT", tmp_path / "results")
    folder.mkdir()
    (folder / "run.yaml").write_text(yaml.safe_dump(config.as_dict()))
    for name, columns in (("train", csv_log.TRAIN_COLUMNS), ("validation", csv_log.VALIDATION_COLUMNS)):
        csv_log.CsvLog(folder / f"{name}.csv", columns, 0).close()
    results.keep(config, folder)
    assert results.is_kept(config)
    assert not results.is_kept(settings.read(RunConfig, config.as_dict() | {"seed": 4}, "tiny"))
