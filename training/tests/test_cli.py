"""The command, from text to a checked GGUF file, the way a user types it."""

import math

import pytest
import yaml
from conftest import SPEC, run_settings

from attamba_train import gguf_file
from attamba_train.cli import main


def run(*arguments) -> int:
    return main([str(each) for each in arguments])


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data):
    """The folder of a finished run of the tiny model."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "run.yaml").write_text(yaml.safe_dump(run_settings()))
    assert run("train", folder / "run.yaml", "--data", data, "--out", folder / "run", "--device", "cpu") == 0
    return folder / "run"


def test_tokenizer_and_pack(stories, tmp_path, capsys):
    assert run("tokenizer", stories, "--vocab-size", 290, "--out", tmp_path / "t.json") == 0
    assert "290 entries" in capsys.readouterr().out
    pack = ["pack", stories, "--tokenizer", tmp_path / "t.json", "--out", tmp_path, "--name", "talk"]
    assert run(*pack, "--sources", "talk", "--held-out", "0.25") == 0
    assert "talk validation:" in capsys.readouterr().out
    assert run(*pack, "--held-out", "1.5") == 1
    assert "The held-out fraction is 1.5" in capsys.readouterr().err


def test_export_check_and_card(finished, tmp_path, capsys):
    path = tmp_path / "tiny.gguf"
    assert run("export", finished, "--out", path, "--type", "F16") == 0
    assert run("check", path, "--reference", SPEC, "--tokens", 12) == 0
    assert run("check", path, "--reference", SPEC, "--tokens", 12, "--tolerance", 0) == 1
    assert "is above 0.00e+00" in capsys.readouterr().err
    text = gguf_file.load_text(path)
    assert text.end_of_text == 0
    assert "<|assistant|>" in text.chat_template
    card = path.with_suffix(".md").read_text()
    assert "made up for a test, CC0" in card
    assert "| stories | 2 | 128 |" in card
    assert f"{path.stat().st_size / 1e6:.1f} MB" in card


def test_perplexity_of_run_and_file_agree(finished, stories, tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text("Once there were 3 cats. The cat 3 sat by door 3. " * 9)
    run("export", finished, "--out", tmp_path / "tiny.gguf", "--type", "F32")
    capsys.readouterr()
    values = []
    for model in (finished, tmp_path / "tiny.gguf"):
        assert run("perplexity", model, text, "--context", 20, "--device", "cpu") == 0
        values.append(float(capsys.readouterr().out.split()[1]))
    assert values[0] == pytest.approx(values[1], rel=1e-3)
    assert 1 < values[0] < math.exp(math.log(300) + 1)
    assert run("perplexity", finished, text, "--context", 1) == 1
    assert "A window of 1 tokens cannot be scored" in capsys.readouterr().err


def test_throughput_is_measured_for_both_scans(tmp_path, capsys):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run_settings()))
    for form in ([], ["--plain"]):
        assert run("bench", tmp_path / "run.yaml", "--steps", 1, "--device", "cpu", *form) == 0
        assert "tokens/s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "absent.yaml", "--data", ".", "--out", "."], "absent.yaml cannot be read"),
        (["train", "x.yaml", "--data", ".", "--out", ".", "--minutes", "-1"], "--minutes is -1.0"),
        (["export", "absent", "--out", "x.gguf"], "absent holds no checkpoint.pt"),
        (["perplexity", "x.txt", "y.txt"], "neither a .gguf file nor the folder of a run"),
        (["check", "absent.gguf", "--reference", "r.py"], "absent.gguf cannot be read as GGUF"),
        (["tokenizer", "absent.txt", "--out", "t.json"], "absent.txt cannot be read"),
        (["bench", "x.yaml", "--steps", "0"], "--steps is 0"),
        (["distill", "absent.yaml", "--data", ".", "--out", "."], "absent.yaml cannot be read"),
        (["convert", "absent.gguf", "--out", "x.gguf"], "absent.gguf cannot be read as GGUF"),
        (["merge", "absent.gguf", "delta.gguf", "--out", "x.gguf"], "absent.gguf cannot be read as GGUF"),
    ],
)
def test_mistakes_end_in_a_sentence(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    assert message in capsys.readouterr().err
