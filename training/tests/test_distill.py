"""A small pretrained transformer distilled into Attamba."""

import json
from dataclasses import replace

import gguf
import numpy as np
import pytest
import torch
import yaml
from conftest import run_settings
from torch.nn import functional as F

from attamba_train import checkpoint, csv_log, distill, distill_config, gguf_file, lessons, settings, tokenizer
from attamba_train.cli import main
from attamba_train.distill import Distillation
from attamba_train.distill_config import DistillConfig
from attamba_train.errors import KitError
from attamba_train.model import Decoder, ModelConfig
from attamba_train.processes import Processes


@pytest.fixture
def base(data, tmp_path):
    shape = {"vocab_size": 300, "context": 64, "width": 32, "layers": 2, "heads": 4, "kv_heads": 2, "feed_forward": 64}
    model = Decoder(settings.read(ModelConfig, shape, "model")).init_weights(2)
    path = tmp_path / "base.gguf"
    text = gguf_file.Text(tokenizer.load(data / "tokenizer.json").to_str())
    gguf_file.save(path, model, "base", "F16", text)
    return path


@pytest.fixture
def lesson(base) -> DistillConfig:
    made = run_settings()
    return settings.read(
        DistillConfig,
        {
            "name": "pupil",
            "seed": 3,
            "base": str(base),
            "data": made["data"],
            "context": 32,
            "chunks": {"length": 4, "window": 3, "trained_lengths": [4, 8]},
            "mixer": {"inner": 16, "state": 4, "heads": 2},
            "windows": [2, 3],
            "train": made["train"],
        },
        "pupil",
    )


@pytest.fixture
def by_head(lesson, base, tmp_path) -> DistillConfig:
    """A lesson without mixers: the base's profile lists three of its four KV heads, and the first two see far."""
    profiled = tmp_path / "profiled.gguf"
    reader = gguf.GGUFReader(str(base))
    writer = gguf.GGUFWriter(str(profiled), "llama")
    for key, field in reader.fields.items():
        if not key.startswith("GGUF.") and key != "general.architecture":
            writer.add_key_value(key, field.contents(), field.types[0])
    writer.add_array("llama.memory.far_heads", [3, 0, 1])
    writer.add_uint32("llama.memory.far_count", 3)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    chunks = replace(lesson.chunks, length=0, trained_lengths=())
    changed = {"base": str(profiled), "mixer": None, "far_heads": 2, "attention_rate": 1.0, "chunks": chunks}
    return replace(lesson, **changed)


def begin(lesson, data, folder) -> Distillation:
    return Distillation(lesson, data, folder, Processes("cpu"))


def test_divergence_and_its_gradient_are_those_of_the_definition():
    learned, taught, output = torch.randn(700, 8, requires_grad=True), torch.randn(700, 8), torch.randn(20, 8)
    p, q = (torch.distributions.Categorical(logits=F.linear(each, output)) for each in (taught, learned))
    expected = torch.distributions.kl_divergence(p, q).mean()
    found = lessons.divergence(learned, taught, output)
    torch.testing.assert_close(found, expected)
    of_definition, ours = (torch.autograd.grad(3 * loss, learned)[0] for loss in (expected, found))
    torch.testing.assert_close(ours, of_definition, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("match", lessons.LESSONS)
def test_a_student_that_sees_all_has_nothing_to_learn_at_first(match, lesson, data, tmp_path):
    chunks = replace(lesson.chunks, length=1, trained_lengths=())
    run = begin(replace(lesson, match=match, chunks=chunks), data, tmp_path / "run")
    tokens = torch.arange(32)[None]
    assert run.parallel(tokens, tokens, chunk=1, window=0).item() == pytest.approx(0, abs=1e-6)
    assert run.parallel(tokens, tokens, chunk=8, window=0).item() > 1e-4


def test_attention_is_matched_layer_by_layer_from_what_enters_the_teacher(lesson, data, tmp_path):
    run = begin(replace(lesson, match="attention"), data, tmp_path / "run")
    tokens = torch.arange(32)[None]
    found = run.parallel(tokens, tokens, chunk=8, window=2)
    entering = {}
    for number, layer in enumerate(run.teacher.blk):
        layer.register_forward_pre_hook(lambda _, given, number=number: entering.update({number: given[0]}))
    run.teacher(tokens)
    table, layouts = run.model.plan(32, 8, tokens.device, 2)
    wanted = run.teacher.plan(32, None, tokens.device)[1]
    errors = []
    for number, layer in enumerate(run.model.blk):
        target = run.teacher.blk[number].attend(entering[number], table, wanted[number])
        error = layer.attend(entering[number], table, layouts[number]) - target
        errors.append((error.norm() / target.norm()) ** 2)
    torch.testing.assert_close(found, sum(errors) / len(errors))
    found.backward()
    assert all(value.grad is not None for value in run.trained().values())


@pytest.mark.parametrize("match", lessons.LESSONS)
@pytest.mark.parametrize("attention_rate", [0.0, 0.1])
def test_student_comes_nearer_and_only_what_is_trained_changes(attention_rate, match, lesson, data, tmp_path):
    lesson = replace(lesson, attention_rate=attention_rate, match=match)
    run = begin(lesson, data, tmp_path / "run")
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    taught = {name: value.clone() for name, value in run.teacher.state_dict().items()}
    assert run.run()
    rows = csv_log.read(tmp_path / "run" / "train.csv")
    losses = [float(row["loss"]) for row in rows]
    assert losses[-1] < losses[0]
    assert {row["chunk"] for row in rows} == {"4", "8"}
    changed = {name for name, value in run.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == run.trained().keys()
    assert any(name.endswith("attn_q.weight") for name in changed) == bool(attention_rate)
    torch.testing.assert_close(run.teacher.state_dict(), taught, rtol=0, atol=0)


def test_run_stopped_and_resumed_gives_the_same_weights(lesson, data, tmp_path):
    lesson = replace(lesson, attention_rate=0.1)
    whole = begin(lesson, data, tmp_path / "whole")
    assert whole.run()
    first = begin(lesson, data, tmp_path / "parts")
    for _ in range(5):
        first.train_step()
    first.save()
    assert checkpoint.load(tmp_path / "parts")["model"].keys() == first.trained().keys()
    parts = begin(lesson, data, tmp_path / "parts")
    assert parts.run()
    torch.testing.assert_close(parts.model.state_dict(), whole.model.state_dict(), rtol=0, atol=0)


def test_frozen_parts_are_kept_in_bfloat16_where_training_computes_in_it(lesson, data, tmp_path):
    run = begin(replace(lesson, train=replace(lesson.train, precision="bfloat16")), data, tmp_path / "run")
    assert run.run()
    kinds = {name: value.dtype for name, value in run.model.named_parameters()}
    assert kinds["blk.0.ffn_up.weight"] == kinds["token_embd.weight"] == torch.bfloat16
    assert all(kinds[name] == torch.float32 for name in run.trained())
    assert run.model.blk[0].ffn_up.weight is run.teacher.blk[0].ffn_up.weight


def test_delta_joined_to_its_base_is_the_student(lesson, base, data, tmp_path, reference):
    lesson = replace(lesson, attention_rate=0.1)
    folder, delta, whole = tmp_path / "run", tmp_path / "delta.gguf", tmp_path / "whole.gguf"
    config = tmp_path / "pupil.yaml"
    config.write_text(yaml.safe_dump(json.loads(json.dumps(lesson.as_dict()))))
    assert main(["distill", str(config), "--data", str(data), "--out", str(folder), "--threads", "1"]) == 0
    assert main(["export", str(folder), "--out", str(delta), "--type", "F32"]) == 0
    assert main(["merge", str(base), str(delta), "--out", str(whole)]) == 0
    assert gguf_file.read_config(whole).context == gguf_file.read_config(base).context == 64
    run = begin(lesson, data, folder)
    names = {tensor.name for tensor in gguf.GGUFReader(str(delta)).tensors}
    assert names == {gguf_file.tensor_name(name) for name in run.trained()}
    tokens = torch.arange(40)
    with torch.no_grad():
        expected = run.model(tokens[None])[0].numpy()
    got = reference.logits(str(whole), tokens.tolist())
    assert np.linalg.norm(got - expected) / np.linalg.norm(expected) < 1e-5


def test_without_mixers_the_student_is_its_teacher_until_a_head_sees_less(by_head, data, tmp_path):
    run = begin(by_head, data, tmp_path / "run")
    tokens = torch.arange(32)[None]
    assert run.parallel(tokens, tokens, chunk=0, window=31).item() == pytest.approx(0, abs=1e-6)
    assert run.parallel(tokens, tokens, chunk=0, window=2).item() > 1e-4
    everywhere = replace(by_head.chunks, far_heads=((0, 0), (0, 1), (1, 0), (1, 1)))
    run = begin(replace(by_head, far_heads=0, chunks=everywhere), data, tmp_path / "all")
    assert run.parallel(tokens, tokens, chunk=0, window=2).item() == pytest.approx(0, abs=1e-6)


def test_a_student_by_head_is_a_transformer_that_sees_as_a_session_does(by_head, data, tmp_path, reference):
    folder, delta, whole = tmp_path / "run", tmp_path / "delta.gguf", tmp_path / "whole.gguf"
    config = tmp_path / "pupil.yaml"
    config.write_text(yaml.safe_dump(json.loads(json.dumps(by_head.as_dict()))))
    assert main(["distill", str(config), "--data", str(data), "--out", str(folder), "--threads", "1"]) == 0
    assert main(["export", str(folder), "--out", str(delta), "--type", "F32"]) == 0
    assert main(["merge", by_head.base, str(delta), "--out", str(whole)]) == 0
    losses = [float(row["loss"]) for row in csv_log.read(folder / "train.csv")]
    assert losses[-1] < losses[0]
    keys = {key: field.contents() for key, field in gguf.GGUFReader(str(whole)).fields.items()}
    assert keys["general.architecture"] == "llama"
    assert keys["llama.memory.far_heads"] == [3, 0]
    assert "llama.memory.far_count" not in keys
    run = begin(by_head, data, folder)
    assert {name.split(".", 2)[2] for name in run.trained()} == set(distill.ATTENTION)
    tokens = torch.arange(40)
    for window in (2, 3, 50):
        with torch.no_grad():
            expected = run.model(tokens[None], window=window)[0].numpy()
        got = reference.logits(str(whole), tokens.tolist(), ring_budget=window + 1, far=(2, len(tokens)))
        assert np.linalg.norm(got - expected) / np.linalg.norm(expected) < 1e-5


def test_chunks_and_heads_that_see_far_work_together_as_in_a_session(by_head, lesson, data, tmp_path, reference):
    lesson = replace(lesson, base=by_head.base, far_heads=2, attention_rate=0.1)
    delta, whole = tmp_path / "delta.gguf", tmp_path / "whole.gguf"
    run = begin(lesson, data, tmp_path / "run")
    assert run.run()
    distill.export(tmp_path / "run", delta, "F32")
    assert main(["merge", by_head.base, str(delta), "--out", str(whole)]) == 0
    tokens = torch.arange(40)
    with torch.no_grad():
        expected = run.model(tokens[None])[0].numpy()
    got = reference.logits(str(whole), tokens.tolist(), far=(2, len(tokens)))
    assert np.linalg.norm(got - expected) / np.linalg.norm(expected) < 1e-5
    assert np.linalg.norm(reference.logits(str(whole), tokens.tolist()) - expected) / np.linalg.norm(expected) > 1e-3


def test_a_later_run_continues_from_a_delta(lesson, data, tmp_path):
    lesson = replace(lesson, attention_rate=0.1)
    run, delta = begin(lesson, data, tmp_path / "run"), tmp_path / "delta.gguf"
    assert run.run()
    distill.export(tmp_path / "run", delta, "F32")
    further = begin(replace(lesson, context=16, init=str(delta)), data, tmp_path / "further")
    torch.testing.assert_close(further.model.state_dict(), run.model.state_dict(), rtol=1e-6, atol=1e-6)
    whole = tmp_path / "whole.gguf"
    assert main(["merge", lesson.base, str(delta), "--out", str(whole)]) == 0
    further = begin(replace(lesson, init=str(whole)), data, tmp_path / "from-whole")
    torch.testing.assert_close(further.model.state_dict(), run.model.state_dict(), rtol=1e-6, atol=1e-6)


def test_compilation_is_refused_on_a_cpu(lesson, data, tmp_path):
    with pytest.raises(KitError, match="compile"):
        begin(replace(lesson, train=replace(lesson.train, compile=True)), data, tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"attention_rate": 2.0}, "attention_rate"),
        ({"match": "both"}, "attention or distribution"),
        ({"mixer": {"inner": 16, "state": 4, "heads": 2, "scan": "strided"}}, "strided"),
        ({"mixer": None}, "must be 0"),
        ({"mixer": None, "chunks": {"length": 0, "window": 3}}, "nothing is trained"),
        ({"far_heads": -1}, "at least 0"),
    ],
)
def test_wrong_settings_are_refused(change, said, lesson, tmp_path):
    path = tmp_path / "pupil.yaml"
    path.write_text(yaml.safe_dump(json.loads(json.dumps(lesson.as_dict() | change))))
    with pytest.raises(KitError, match=said):
        distill_config.load(path)


def test_more_heads_than_the_profile_lists_are_refused(by_head, lesson):
    assert by_head.model.chunks.far_heads == ((1, 1), (0, 0))
    with pytest.raises(KitError, match="lists 3"):
        _ = replace(by_head, far_heads=4).model
    with pytest.raises(KitError, match="attamba profile"):
        _ = replace(lesson, far_heads=1).model
