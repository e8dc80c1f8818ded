"""The runs that the kit ships: the bundled model fits its file, and the transformer is a fair baseline."""

import dataclasses
from pathlib import Path

import pytest

from attamba_train import distill_config, gguf_file, run_config, weights
from attamba_train.model import Decoder

CONFIGS = Path(__file__).parents[1] / "configs"
BUNDLED = ["bundled-attamba", "bundled-transformer"]


def load(name: str) -> run_config.RunConfig:
    return run_config.load(CONFIGS / f"{name}.yaml")


def test_every_config_can_be_read():
    for path in CONFIGS.glob("*.yaml"):
        read = distill_config if path.name.startswith("distill") else run_config
        assert read.load(path).steps > 1, path


def test_training_continues_with_the_model_of_the_bundled_file(tmp_path):
    begun, copying, further = (load(f"bundled-{name}") for name in ("attamba", "copying", "continue"))
    assert (copying.model, copying.data, copying.name) == (begun.model, begun.data, begun.name)
    assert (further.data, further.name) == (begun.data, begun.name)
    assert further.init == f"../models/{begun.name}.gguf"
    file = CONFIGS.parent / further.init
    (tmp_path / further.data.tokenizer).write_text(gguf_file.load_text(file).tokenizer_json)
    model = weights.first(dataclasses.replace(further, init=str(file)), tmp_path)
    assert model.config.far_in(further.model.layers - 1) == (8, 9)


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_file_is_at_most_8_mb(name, tmp_path):
    path = tmp_path / "model.gguf"
    tokenizer_json = " " * 300_000
    gguf_file.save(path, Decoder(load(name).model).init_weights(0), name, "Q8_0", gguf_file.Text(tokenizer_json))
    assert path.stat().st_size <= 8_000_000


def test_twin_has_the_same_size_and_sees_the_same_tokens():
    attamba, transformer = map(load, BUNDLED)
    sizes = [Decoder(config.model).parameter_count() for config in (attamba, transformer)]
    assert max(sizes) / min(sizes) < 1.01
    assert (attamba.data, attamba.train, attamba.seed) == (transformer.data, transformer.train, transformer.seed)
    assert attamba.model.context == transformer.model.context >= 1024
    assert set(attamba.model.chunks.lengths) == {4, 8, 16}
