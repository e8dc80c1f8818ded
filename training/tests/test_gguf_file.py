"""Models written as GGUF and read back, and the contents of such a file."""

from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

from attamba_train import gguf_file, settings
from attamba_train.errors import KitError
from attamba_train.model import Decoder, ModelConfig

SHAPE = {"vocab_size": 64, "context": 128, "width": 64, "layers": 3, "heads": 2, "feed_forward": 96}
MIXER = {"inner": 32, "state": 8, "heads": 2, "groups": 2}
CHUNKS = {"length": 4, "window": 5, "trained_lengths": [4, 8]}
KINDS = {
    "reset": {"chunks": CHUNKS, "mixer": MIXER, "projected_kv": False},
    "carried": {
        "chunks": {"length": 6, "window": 0},
        "mixer": MIXER | {"scan": "carried"},
        "kv_heads": 1,
        "tied": False,
    },
    "transformer": {"head_dim": 16},
}
TEXT = gguf_file.Text('{"a": 1}', 0, "{{ x }}")


def test_a_temperature_is_recommended_only_if_there_is_one(tmp_path):
    model = model_of(KINDS["transformer"])
    for temperature in (None, 0.25):
        path = tmp_path / f"{temperature}.gguf"
        gguf_file.save(path, model, "test", "F16", TEXT, temperature)
        field = gguf.GGUFReader(path).get_field("general.sampling.temp")
        assert (field and field.contents()) == temperature


def model_of(kind: dict) -> Decoder:
    return Decoder(settings.read(ModelConfig, SHAPE | kind, "model")).init_weights(1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("file_type", "error"), [("F32", 1e-6), ("F16", 2e-3), ("Q8_0", 6e-2)])
def test_file_computes_what_the_model_does(kind, file_type, error, tmp_path):
    model, path = model_of(KINDS[kind]), tmp_path / "model.gguf"
    gguf_file.save(path, model, "test", file_type, TEXT)
    tokens = torch.arange(40)[None]
    with torch.no_grad():
        expected, got = model(tokens), gguf_file.load(path)(tokens)
    assert (got - expected).norm() / expected.norm() < error
    assert gguf_file.load_text(path) == TEXT


def test_reference_reads_a_written_file(reference, tmp_path):
    model, path = model_of(KINDS["carried"]), str(tmp_path / "model.gguf")
    gguf_file.save(path, model, "test", "F32", TEXT)
    with torch.no_grad():
        got = model(torch.arange(40)[None])[0].double().numpy()
    expected = reference.logits(path, range(40))
    assert np.linalg.norm(got - expected) / np.linalg.norm(expected) < 1e-5


def test_heads_that_see_far_are_named_in_the_file(reference, tmp_path):
    kind = {"chunks": {"length": 4, "window": 5, "far_heads": [[2, 1], [0, 0]]}, "mixer": MIXER | {"scan": "carried"}}
    model, path = model_of(kind), str(tmp_path / "model.gguf")
    gguf_file.save(path, model, "test", "F32", TEXT)
    assert gguf.GGUFReader(path).get_field("attamba.memory.far_heads").contents() == [5, 0]
    assert gguf_file.read_config(Path(path)).chunks.far_heads == ((2, 1), (0, 0))
    with torch.no_grad():
        got = model(torch.arange(40)[None])[0].double().numpy()
    expected = reference.logits(path, range(40), far=(2, 40))
    assert np.linalg.norm(got - expected) / np.linalg.norm(expected) < 1e-5


def test_bytes_of_a_session_count_the_heads_that_see_far():
    model = model_of({"chunks": {"length": 0, "window": 4, "far_heads": [[1, 0]]}}).config
    # Two bytes a number, keys and values of 32: one head keeps 100 tokens, five heads a window of 5 and position 0.
    assert model.kv_bytes(100) == 2 * 2 * 32 * (100 + 5 * 6)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [("reset", {"carry": 0}), ("carried", {"carry": 1, "projected": 1}), ("transformer", {"arch": "llama"})],
)
def test_keys_and_tensors_are_those_of_the_specification(kind, changes, reference, tmp_path):
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    gguf_file.save(ours, model_of(KINDS[kind]), "test", "F16", TEXT)
    reference.make(str(theirs), 0, {"tied": int(kind != "carried"), "quant": "F16"} | changes)
    expected, got = gguf.GGUFReader(theirs), gguf.GGUFReader(ours)
    extra = {f"tokenizer.{key}" for key in ("chat_template", *(f"ggml.{e}_token_id" for e in ("bos", "eos", "eot")))}
    if kind == "reset":
        extra.add("attamba.chunk.trained_lengths")
    assert set(got.fields) - extra == set(expected.fields)
    types = {key: field.types[:1] for key, field in got.fields.items() if key not in extra}
    assert types == {key: field.types[:1] for key, field in expected.fields.items()}
    assert {t.name: t.tensor_type for t in got.tensors} == {t.name: t.tensor_type for t in expected.tensors}


def test_numbers_of_lists_are_unsigned(tmp_path):
    path = tmp_path / "model.gguf"
    gguf_file.save(path, model_of(KINDS["reset"]), "test", "F16", TEXT)
    fields = gguf.GGUFReader(path).fields
    for key, values in (("offsets", [0, 1, 2]), ("trained_lengths", [4, 8])):
        field = fields[f"attamba.chunk.{key}"]
        assert field.types == [gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.UINT32]
        assert field.contents() == values


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ({"chunks": CHUNKS, "mixer": MIXER | {"scan": "strided"}}, "strided scan is not part of the specification"),
        ({"chunks": CHUNKS, "mixer": MIXER} | {"chunks": {"length": 4, "window": 5, "sink": False}}, "without a sink"),
        ({"chunks": CHUNKS}, "of the kind 'sparse' has no GGUF form"),
        ({"mixer": MIXER | {"scan": "carried"}}, "of the kind 'mamba' has no GGUF form"),
    ],
)
def test_model_that_no_file_can_express_is_refused(kind, message, tmp_path):
    with pytest.raises(KitError, match=message):
        gguf_file.save(tmp_path / "model.gguf", model_of(kind), "test", "F16", TEXT)
    assert not list(tmp_path.iterdir())


def test_broken_files_are_reported(reference, tmp_path):
    path = tmp_path / "model.gguf"
    for content in (b"", b"GGUF", b"not a model at all, but long enough to look at"):
        path.write_bytes(content)
        with pytest.raises(KitError, match="cannot be read as GGUF"):
            gguf_file.load(path)
    writer = gguf.GGUFWriter(str(path), "attamba")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(KitError, match=r"lacks the key attamba\.embedding_length"):
        gguf_file.load(path)
    reference.make(str(path), 0, {"arch": "llama"})
    with pytest.raises(KitError, match="'other' is not one of F32"):
        gguf_file.save(path, gguf_file.load(path), "test", "other", TEXT)
