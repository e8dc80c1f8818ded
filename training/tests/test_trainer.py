"""A run: stopped and resumed, in parts, over processes."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import yaml
from conftest import run_settings

from attamba_train import checkpoint, csv_log
from attamba_train.errors import KitError
from attamba_train.processes import Processes
from attamba_train.trainer import Pace, Trainer, learning_rate


def trained(config, data, folder):
    trainer = Trainer(config, data, folder, Processes("cpu"))
    assert trainer.run()
    return trainer.model.state_dict()


def test_run_stopped_and_resumed_gives_the_same_weights(config, data, tmp_path):
    whole = trained(config, data, tmp_path / "whole")
    first = Trainer(config, data, tmp_path / "parts", Processes("cpu"))
    for _ in range(5):
        first.train_step()
    first.save()
    parts = trained(config, data, tmp_path / "parts")
    torch.testing.assert_close(parts, whole, rtol=0, atol=0)


def test_run_learns_and_logs_every_step_once(config, data, tmp_path):
    trained(config, data, tmp_path)
    rows = csv_log.read(tmp_path / "train.csv")
    assert [int(row["step"]) for row in rows] == list(range(1, 13))
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert {row["chunk"] for row in rows} == {"2", "4"}
    validation = csv_log.read(tmp_path / "validation.csv")
    assert [(row["step"], row["chunk"]) for row in validation] == [("6", "2"), ("6", "4"), ("12", "2"), ("12", "4")]
    assert (tmp_path / "loss.png").stat().st_size > 1000


def test_log_of_repeated_steps_is_cut_back(config, data, tmp_path):
    trained(config, data, tmp_path)
    state = checkpoint.load(tmp_path)
    checkpoint.save(tmp_path, state | {"step": 7})
    trained(config, data, tmp_path)
    assert [int(row["step"]) for row in csv_log.read(tmp_path / "train.csv")] == list(range(1, 13))


def test_accumulated_parts_make_the_same_step(config, data, tmp_path):
    whole = trained(config, data, tmp_path / "whole")
    in_parts = replace(config, train=replace(config.train, accumulate=4))
    torch.testing.assert_close(trained(in_parts, data, tmp_path / "parts"), whole, rtol=1e-3, atol=1e-4)


def test_time_limit_stops_between_steps_and_the_run_continues(config, data, tmp_path):
    trainer = Trainer(config, data, tmp_path, Processes("cpu"))
    assert not trainer.run(minutes=1e-9)
    assert checkpoint.load(tmp_path)["step"] == trainer.step < config.steps
    trained(config, data, tmp_path)


def test_a_run_within_a_time_is_complete_by_then(config, data, tmp_path):
    long = replace(config, train=replace(config.train, tokens=10**9, validate_every=10**6, validation_tokens=64))
    trainer = Trainer(long, data, tmp_path, Processes("cpu"))
    assert trainer.run(within=2 / 60)
    assert trainer.step == trainer.config.steps < long.steps
    rows = csv_log.read(tmp_path / "train.csv")
    assert float(rows[-1]["learning_rate"]) < 0.2 * config.train.learning_rate
    # The settings that are kept are those of the original run.
    assert yaml.safe_load((tmp_path / "run.yaml").read_text())["train"]["tokens"] == trainer.config.train.tokens


def test_pace_is_that_of_the_last_steps():
    pace = Pace(end=100.0)
    assert pace.steps_left(10, 50.0) is None
    assert pace.steps_left(20, 55.0) == 90
    assert pace.steps_left(30, 60.0) == 80
    assert pace.steps_left(40, 90.0) == 20  # a validation was among them
    assert pace.steps_left(50, 101.0) == 0


def test_plan_may_be_shortened_on_the_way(config, data, tmp_path):
    first = Trainer(config, data, tmp_path, Processes("cpu"))
    for _ in range(5):
        first.train_step()
    first.save()
    shorter = replace(config, train=replace(config.train, tokens=8 * config.step_tokens))
    trained(shorter, data, tmp_path)
    rates = [float(row["learning_rate"]) for row in csv_log.read(tmp_path / "train.csv")]
    assert checkpoint.load(tmp_path)["step"] == 8
    assert rates == pytest.approx([learning_rate(step, 8, config.train) for step in (5, 6, 7)], rel=1e-3)


def test_request_to_stop_saves_the_step_at_hand(config, data, tmp_path, monkeypatch):
    trainer = Trainer(config, data, tmp_path, Processes("cpu"))
    step = trainer.train_step

    def interrupted():
        os.kill(os.getpid(), signal.SIGTERM)
        return step()

    monkeypatch.setattr(trainer, "train_step", interrupted)
    assert not trainer.run()
    assert checkpoint.load(tmp_path)["step"] == 1


def test_run_with_other_settings_is_not_resumed(config, data, tmp_path):
    trained(config, data, tmp_path)
    other = replace(config, train=replace(config.train, learning_rate=0.5))
    with pytest.raises(KitError, match=r"'train.learning_rate' was 0.003 and is now 0.5"):
        Trainer(other, data, tmp_path, Processes("cpu"))


def test_damaged_checkpoint_is_reported(config, data, tmp_path):
    (tmp_path / checkpoint.NAME).write_bytes(b"half a file")
    with pytest.raises(KitError, match="cannot be read"):
        Trainer(config, data, tmp_path, Processes("cpu"))


def test_interrupted_writing_leaves_the_last_checkpoint(config, data, tmp_path, monkeypatch):
    trainer = Trainer(config, data, tmp_path, Processes("cpu"))
    trainer.train_step()
    trainer.save()

    def power_cut(state, file):
        file.write(b"half")
        raise OSError("power cut")

    monkeypatch.setattr(torch, "save", power_cut)
    trainer.train_step()
    with pytest.raises(OSError, match="power cut"):
        trainer.save()
    assert checkpoint.load(tmp_path)["step"] == 1


def test_loss_that_is_not_finite_ends_the_run(config, data, tmp_path):
    trainer = Trainer(config, data, tmp_path, Processes("cpu"))
    trainer.model.output_norm.weight.data.fill_(float("inf"))
    with pytest.raises(KitError, match=r"The loss of step 1 is nan"):
        trainer.run()


def test_wrong_vocabulary_is_reported(config, data, tmp_path):
    other = replace(config, model=replace(config.model, vocab_size=512))
    with pytest.raises(KitError, match="is 512, but the tokenizer has 300 entries"):
        Trainer(other, data, tmp_path, Processes("cpu"))


def test_learning_rate_rises_and_falls_to_its_share(config):
    rates = [learning_rate(step, 100, config.train) for step in range(101)]
    assert rates[0] == pytest.approx(0.0015)
    assert max(rates) == rates[2] == pytest.approx(0.003)
    assert rates[100] == pytest.approx(0.0003)
    assert rates[2:] == sorted(rates[2:], reverse=True)


@pytest.mark.slow
def test_two_processes_train_the_same_model_as_one(config, data, tmp_path):
    whole = trained(config, data, tmp_path / "one")
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run_settings()))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "attamba_train", "train", str(tmp_path / "run.yaml"), "--device", "cpu", "--threads", "1"]
    command += ["--data", str(data), "--out", str(tmp_path / "two")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    torch.testing.assert_close(checkpoint.load(tmp_path / "two")["model"], whole, rtol=1e-3, atol=1e-4)
