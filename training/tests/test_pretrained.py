"""A pretrained transformer as Attamba: exact before any training, and a delta that makes the same file."""

from dataclasses import replace

import gguf
import numpy as np
import pytest
import torch

from attamba_train import gguf_file, pretrained
from attamba_train.cli import main
from attamba_train.errors import KitError
from attamba_train.model import Chunks, Decoder, Mixer

TOKENS = np.random.default_rng(0).integers(0, 96, 50)
MIXER = Mixer(inner=16, state=4, heads=2)


@pytest.fixture
def base(reference, tmp_path):
    path = tmp_path / "base.gguf"
    reference.make(str(path), 5, {"arch": "llama", "kv_heads": 2, "quant": "Q8_0", "context": 64})
    return path


def error(got, expected) -> float:
    return np.linalg.norm(got - expected) / np.linalg.norm(expected)


def test_chunks_of_one_token_compute_the_base(base, reference, tmp_path):
    out = tmp_path / "out.gguf"
    assert main(["convert", str(base), "--out", str(out), "--chunk", "1", "--window", "0"]) == 0
    assert error(reference.logits(str(out), TOKENS), reference.logits(str(base), TOKENS)) < 1e-12


@pytest.mark.parametrize("scan", ["reset", "carried"])
def test_converted_file_computes_the_base_restricted_to_boundaries_and_a_window(scan, base, reference, tmp_path):
    out, model = tmp_path / "out.gguf", gguf_file.load(base)
    arguments = ["convert", str(base), "--out", str(out), "--chunk", "4", "--window", "3", "--scan", scan]
    assert main(arguments) == 0
    # The same weights without any mixer: a path through the code that has none of the scan.
    shape = pretrained.config_of(model.config, Chunks(length=4, window=3), MIXER)
    restricted = Decoder(replace(shape, mixer=None))
    restricted.load_state_dict(model.state_dict())
    with torch.no_grad():
        expected = restricted(torch.tensor(TOKENS)[None])[0].numpy()
    got = reference.logits(str(out), TOKENS)
    assert error(got, expected) < 1e-5
    assert error(got, reference.logits(str(base), TOKENS)) > 1e-2


@pytest.mark.parametrize(("far", "heads"), [("1", [3]), ("auto", [3, 0])])
def test_far_heads_of_a_converted_file_see_every_token(far, heads, reference, tmp_path):
    base, out = tmp_path / "base.gguf", tmp_path / "out.gguf"

    def profile(writer):
        writer.add_array("llama.memory.far_heads", [3, 0, 1])
        writer.add_uint32("llama.memory.far_count", 2)

    reference.make(str(base), 5, {"arch": "llama", "kv_heads": 2, "context": 64}, profile)
    assert main(["convert", str(base), "--out", str(out), "--chunk", "4", "--window", "3", "--far", far]) == 0
    model = gguf_file.load(base)
    chunks = Chunks(length=4, window=3, far_heads=tuple(divmod(head, 2) for head in heads))
    restricted = Decoder(replace(pretrained.config_of(model.config, chunks, MIXER), mixer=None))
    restricted.load_state_dict(model.state_dict())
    with torch.no_grad():
        expected = restricted(torch.tensor(TOKENS)[None])[0].numpy()
    assert error(reference.logits(str(out), TOKENS, far=(len(heads), 64)), expected) < 1e-5
    assert main(["convert", str(base), "--out", str(out), "--far", "4"]) == 1
    for rubbish in ("-1", "some"):
        with pytest.raises(SystemExit):
            main(["convert", str(base), "--out", str(out), f"--far={rubbish}"])


def test_tensors_of_the_base_keep_their_bytes_and_its_tokenizer_stays(base, tmp_path):
    out = tmp_path / "out.gguf"
    main(["convert", str(base), "--out", str(out), "--type", "Q8_0", "--inner", "32", "--heads", "2"])
    of_base, of_out = gguf.GGUFReader(str(base)), gguf.GGUFReader(str(out))
    copied = {tensor.name: tensor for tensor in of_out.tensors}
    for tensor in of_base.tensors:
        assert tensor.data.tobytes() == copied[tensor.name].data.tobytes()
        assert tensor.tensor_type == copied[tensor.name].tensor_type
    assert gguf_file.load_text(out) == gguf_file.load_text(base)
    assert len(of_out.tensors) > len(of_base.tensors)


def test_delta_and_base_make_the_file_that_was_written_whole(base, tmp_path):
    whole, delta, merged = (tmp_path / f"{name}.gguf" for name in ("whole", "delta", "merged"))
    model = gguf_file.load(base)
    config = pretrained.config_of(model.config, Chunks(length=4, window=3), MIXER)
    student = pretrained.attach(model, config, 3)
    changed = pretrained.mixers(student) | {"blk.1.attn_q.weight": torch.full_like(model.blk[1].attn_q.weight, 0.5)}
    pretrained.write_whole(whole, base, "student", config, changed, "F16")
    pretrained.write_delta(delta, base, "student", config, changed, "F16")
    assert main(["merge", str(base), str(delta), "--out", str(merged)]) == 0
    assert delta.stat().st_size < base.stat().st_size
    files = [gguf.GGUFReader(str(path)) for path in (whole, merged)]
    ours, theirs = ({tensor.name: tensor.data.tobytes() for tensor in file.tensors} for file in files)
    assert ours == theirs
    ours, theirs = ({k: f.contents() for k, f in file.fields.items() if "GGUF" not in k} for file in files)
    assert ours == theirs
    assert (gguf_file.load(merged).blk[1].attn_q.weight == 0.5).all()


def test_delta_refuses_another_base(base, reference, tmp_path):
    other, delta = tmp_path / "other.gguf", tmp_path / "delta.gguf"
    model = gguf_file.load(base)
    config = pretrained.config_of(model.config, Chunks(length=4, window=3), MIXER)
    pretrained.write_delta(
        delta, base, "student", config, pretrained.mixers(pretrained.attach(model, config, 3)), "F16"
    )
    reference.make(str(other), 6, {"arch": "llama", "kv_heads": 2})
    with pytest.raises(KitError, match=r"base\.gguf"):
        pretrained.merge(other, delta, tmp_path / "out.gguf")
    with pytest.raises(KitError, match="not a delta"):
        pretrained.merge(base, base, tmp_path / "out.gguf")


def test_attamba_is_no_base(reference, tmp_path):
    path = tmp_path / "attamba.gguf"
    reference.make(str(path), 1, {})
    with pytest.raises(KitError, match="transformer"):
        pretrained.config_of(gguf_file.read_config(path), Chunks(length=4, window=3), MIXER)
