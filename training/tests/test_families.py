"""Models of public families: the small random ones that the runtime is tested with, and what becomes of them."""

import copy
import importlib.util
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from test_pretrained import error

from attamba_train import distill, gguf_file, lessons, pretrained
from attamba_train.cli import main
from attamba_train.errors import KitError
from attamba_train.model import Chunks, Mixer

FILE = Path(__file__).parents[2] / "tests" / "families" / "families.py"
MIXER = Mixer(inner=16, state=4, heads=2)


def public():
    spec = importlib.util.spec_from_file_location("families", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PUBLIC = public()
WINDOWED = ["mistral", "phi3"]
"""Those each of whose layers has a window of its own."""


def family(name: str):
    """A model by name; `NAME opened` has a window as long as its context."""
    found = copy.copy(PUBLIC.FAMILIES[name.removesuffix(" opened")])
    if name.endswith(" opened"):
        found.config = found.config | {"sliding_window": found.config["max_position_embeddings"]}
    return found


OPENED = [f"{name} opened" for name in (*WINDOWED, "gemma3", "exaone4_windows")]
EVERY = [*(name for name in PUBLIC.FAMILIES if name not in WINDOWED), *OPENED]


@pytest.fixture
def base(request, tmp_path):
    """The file of the family that a test is for."""
    path = tmp_path / "base.gguf"
    family(request.param).write(str(path), np.float32)
    return path


def tokens_of(path: Path) -> list[int]:
    return np.random.default_rng(1).integers(0, gguf_file.read_config(path).vocab_size, 40).tolist()


@torch.no_grad()
def logits(path: Path, tokens: list[int]) -> np.ndarray:
    return gguf_file.load(path)(torch.tensor(tokens)[None])[0].double().numpy()


def student_of(base: Path, chunks: Chunks):
    """A student whose mixers add something, and the parameters that differ from those of `base`."""
    model = gguf_file.load(base)
    student = pretrained.attach(model, pretrained.config_of(model.config, chunks, MIXER), seed=3)
    distill._own_attention(student)
    for layer in student.blk:
        for mixer in (layer.ssm_k, layer.ssm_v) if layer.mixes else ():
            torch.nn.init.normal_(mixer.out_proj.weight, std=0.2)
        layer.attn_q.weight.data *= 1.5
    changed = {name: value for name, value in student.state_dict().items() if ".ssm_" in name}
    attention = {name: value for name, value in student.state_dict().items() if name.endswith(distill.ATTENTION)}
    return student, changed | attention


@pytest.mark.parametrize("name", PUBLIC.FAMILIES)
def test_logits_are_those_of_transformers(name, tmp_path):
    path, tokens = tmp_path / "base.gguf", PUBLIC.FAMILIES[name].tokens()
    PUBLIC.FAMILIES[name].write(str(path), np.float16)
    kept = np.fromfile(PUBLIC.kept(name), "<f4").reshape(len(tokens), -1)
    assert error(logits(path, tokens), kept) < 1e-4


@pytest.mark.parametrize("base", EVERY, indirect=True)
def test_chunks_of_one_token_compute_the_base(base, reference, tmp_path):
    out, tokens = tmp_path / "out.gguf", tokens_of(base)
    assert main(["convert", str(base), "--out", str(out), "--chunk", "1", "--window", "0"]) == 0
    expected = reference.logits(str(base), tokens)
    assert error(reference.logits(str(out), tokens), expected) < 1e-12
    assert error(logits(base, tokens), expected) < 1e-5
    assert error(logits(out, tokens), expected) < 1e-5


@pytest.mark.parametrize("base", EVERY, indirect=True)
def test_file_with_mixers_computes_what_the_student_does(base, reference, tmp_path):
    out, tokens = tmp_path / "out.gguf", tokens_of(base)
    student, changed = student_of(base, Chunks(length=4, window=3))
    pretrained.write_whole(out, base, "student", student.config, changed, "F32")
    with torch.no_grad():
        expected = student(torch.tensor(tokens)[None])[0].numpy()
    assert error(reference.logits(str(out), tokens), expected) < 1e-5
    assert error(logits(out, tokens), expected) < 1e-6
    assert error(reference.logits(str(base), tokens), expected) > 1e-2


@pytest.mark.parametrize("base", EVERY, indirect=True)
def test_delta_and_base_make_the_file_that_was_written_whole(base, tmp_path):
    whole, delta, merged = (tmp_path / f"{name}.gguf" for name in ("whole", "delta", "merged"))
    student, changed = student_of(base, Chunks(length=4, window=3))
    pretrained.write_whole(whole, base, "student", student.config, changed, "F32")
    pretrained.write_delta(delta, base, "student", student.config, changed, "F32")
    assert main(["merge", str(base), str(delta), "--out", str(merged)]) == 0
    files = [gguf.GGUFReader(str(path)) for path in (whole, merged)]
    ours, theirs = ({tensor.name: tensor.data.tobytes() for tensor in file.tensors} for file in files)
    assert ours == theirs
    ours, theirs = ({k: f.contents() for k, f in file.fields.items() if "GGUF" not in k} for file in files)
    assert ours == theirs
    # And a later run finds in the delta what it trains.
    read = gguf_file.read_parameters(pretrained.open_delta(delta, base), delta, changed)
    torch.testing.assert_close(read, changed)


@pytest.mark.parametrize("match", lessons.LESSONS)
@pytest.mark.parametrize("base", EVERY, indirect=True)
def test_a_student_that_sees_all_has_nothing_to_learn_at_first(base, match):
    teacher = gguf_file.load(base).requires_grad_(False)
    config = pretrained.config_of(teacher.config, Chunks(length=1, window=0), MIXER)
    lesson = lessons.LESSONS[match](pretrained.attach(teacher, config, seed=0), teacher)
    tokens = torch.tensor(tokens_of(base))[None]
    assert lesson(tokens, tokens).item() == pytest.approx(0, abs=1e-6)
    if match == "attention":  # some of these models are all but certain of the next token, whatever they see
        assert lesson(tokens, tokens, chunk=8, window=2).item() > 1e-2
    with torch.autocast("cpu", torch.bfloat16):
        lesson(tokens, tokens, chunk=8, window=2).backward()
    gradients = [layer.ssm_k.out_proj.weight.grad for layer in lesson.student.blk if layer.mixes]
    assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)


@pytest.mark.parametrize("base", WINDOWED, indirect=True)
def test_windows_of_all_layers_are_refused_by_name(base, tmp_path, capsys):
    window = next(v.contents() for k, v in gguf.GGUFReader(str(base)).fields.items() if k.endswith(".sliding_window"))
    out = tmp_path / "out.gguf"
    assert main(["convert", str(base), "--out", str(out)]) == 1
    assert f"attention.sliding_window = {window}" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("key", "add", "value"),
    [
        ("final_logit_softcapping", "add_float32", 30.0),
        ("expert_count", "add_uint32", 8),
        ("rope.scaling.type", "add_string", "dynamic"),
        ("attention.value_length", "add_uint32", 4),
    ],
)
def test_what_is_not_trained_is_refused_by_name(key, add, value, tmp_path):
    path, odd = tmp_path / "odd.gguf", family("qwen2")
    odd.keys = lambda writer, _: getattr(writer, add)(f"qwen2.{key}", value)
    odd.write(str(path), np.float32)
    with pytest.raises(KitError, match=f"qwen2.{key} = {value}"):
        gguf_file.load(path)


def test_a_tensor_without_use_is_refused(tmp_path):
    path, odd = tmp_path / "odd.gguf", family("qwen3")
    odd.tensors = lambda _: {"blk.0.attn_sinks.weight": np.zeros(4, np.float32)}
    odd.write(str(path), np.float32)
    with pytest.raises(KitError, match="attn_sinks"):
        gguf_file.load(path)


def test_a_family_is_not_written_as_a_llama(tmp_path):
    path = tmp_path / "base.gguf"
    family("qwen2").write(str(path), np.float32)
    with pytest.raises(KitError, match="family"):
        gguf_file.save(tmp_path / "out.gguf", gguf_file.load(path), "name", "F32", gguf_file.Text("{}"))
