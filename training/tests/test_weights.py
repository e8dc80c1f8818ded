"""A run that starts from the weights of a file."""

from dataclasses import replace

import pytest
import torch
from conftest import run_settings

from attamba_train import gguf_file, run_config, settings, tokenizer, weights
from attamba_train.cli import main
from attamba_train.errors import KitError
from attamba_train.model import Decoder
from attamba_train.processes import Processes
from attamba_train.trainer import Trainer


def saved(config, data, path, kind="F16"):
    """A model unlike the one from the run's seed, as a file with the tokenizer of `data`."""
    model = Decoder(config.model).init_weights(config.seed + 1)
    gguf_file.save(path, model, "first", kind, gguf_file.Text(tokenizer.load(data / "tokenizer.json").to_str()))
    return model


@pytest.mark.parametrize(("kind", "tolerance"), [("F32", 1e-6), ("F16", 1e-3), ("Q8_0", 2e-2)])
def test_run_begins_with_the_weights_of_the_file(config, data, tmp_path, kind, tolerance):
    path = tmp_path / "first.gguf"
    model = saved(config, data, path, kind)
    run = replace(config, init=str(path))
    begun = Trainer(run, data, tmp_path / "run", Processes("cpu"))
    torch.testing.assert_close(begun.model.state_dict(), model.state_dict(), rtol=tolerance, atol=tolerance)


def test_file_is_not_read_again_for_a_run_that_has_begun(config, data, tmp_path):
    path = tmp_path / "first.gguf"
    saved(config, data, path)
    run = replace(config, init=str(path))
    first = Trainer(run, data, tmp_path / "run", Processes("cpu"))
    first.train_step()
    first.save()
    path.unlink()
    again = Trainer(run, data, tmp_path / "run", Processes("cpu"))
    torch.testing.assert_close(again.model.state_dict(), first.model.state_dict(), rtol=0, atol=0)


def test_context_and_chunks_may_differ(config, data, tmp_path):
    path = tmp_path / "first.gguf"
    saved(config, data, path)
    wider = replace(config.model, context=16, chunks=replace(config.model.chunks, window=9, trained_lengths=()))
    begun = weights.first(replace(config, init=str(path), model=wider), data)
    assert begun.config == wider


def test_another_model_is_refused(config, data, tmp_path):
    path = tmp_path / "first.gguf"
    saved(config, data, path)
    carried = replace(config.model, mixer=replace(config.model.mixer, scan="carried"))
    with pytest.raises(KitError, match=r"'model\.mixer'"):
        weights.first(replace(config, init=str(path), model=carried), data)


def test_another_tokenizer_is_refused(config, data, tmp_path):
    path = tmp_path / "first.gguf"
    saved(config, data, path)
    tokenizer.train(["quite another text"] * 9, 300).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(KitError, match="tokenizer"):
        weights.first(replace(config, init=str(path)), tmp_path)


def test_tokenizer_of_a_file_is_written_as_it_was(config, data, tmp_path):
    path, out = tmp_path / "first.gguf", tmp_path / "new" / "tokenizer.json"
    saved(config, data, path)
    assert main(["extract-tokenizer", str(path), "--out", str(out)]) == 0
    assert tokenizer.load(out).to_str() == tokenizer.load(data / "tokenizer.json").to_str()


def test_yaml_names_the_file():
    read = settings.read(run_config.RunConfig, run_settings() | {"init": "first.gguf"}, "tiny")
    assert read.init == "first.gguf"
