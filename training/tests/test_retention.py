"""Learned retention: what a head keeps, and what its gates learn."""

import json
import math
import sys
from pathlib import Path

import pytest
import torch

from attamba_train import gguf_file

SCRIPTS = Path(__file__).parents[1] / "distilled"


@pytest.fixture
def retention(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    import retention

    yield retention
    for name in ("retention", "by_head", "memories"):
        sys.modules.pop(name, None)


@pytest.fixture
def base(reference, tmp_path):
    path = tmp_path / "base.gguf"
    shape = {"arch": "llama", "vocab": 300, "kv_heads": 2}
    reference.make(str(path), 1, shape, lambda writer: writer.add_array("llama.memory.far_heads", [5, 0]))
    return path


def test_a_head_sees_its_window_the_first_token_and_the_best_of_those_that_left(retention):
    torch.manual_seed(1)
    tokens, window, kept = 40, 5, 4
    scores = torch.randn(tokens)
    visible = retention.Kept(window, kept).sight(scores).visible
    held: list[int] = []
    for t in range(tokens):
        if t > window:  # one by one, as a session would
            held = sorted([*held, t - window - 1], key=lambda j: -scores[j])[:kept]
        assert set(visible[t].nonzero().flatten().tolist()) == {0, *range(max(0, t - window), t + 1), *held}


def test_far_attention_is_the_mean_over_the_queries_beyond_the_window(retention, base):
    model, window = gguf_file.load(base).eval(), 3
    tokens = torch.arange(12) * 7 % 300
    layer = model.blk[0]
    tables, _ = model.plan(12, None, tokens.device)
    x = layer.attn_norm(model.embed(tokens[None]))
    with torch.no_grad():
        found = retention._far_attention(layer, x, tables, window)
        q = retention.rotate(layer.attn_q(x).unflatten(-1, (4, -1)), tables[0])
        k = retention.rotate(layer.attn_k(x).unflatten(-1, (2, -1)), tables[0])
    assert found.shape == (12 - window - 1, 2)
    for head in range(2):
        for j in range(12 - window - 1):
            most = -math.inf
            for query_head in (2 * head, 2 * head + 1):
                paid = []
                for t in [t for t in range(0, 12, retention.STRIDE) if t > j + window]:
                    weight = torch.softmax(q[0, t, query_head] @ k[0, : t + 1, head].T / 16**0.5, -1)
                    paid.append(weight[j].item())
                most = max(most, sum(paid) / max(1, len(paid)))
            assert found[j, head].item() == pytest.approx(math.log(max(most, retention.FLOOR)), abs=1e-4)


def test_gates_learn_what_depends_on_their_input(retention, monkeypatch):
    torch.manual_seed(2)
    weight = torch.randn(8, 2)
    texts = [(x, (x @ weight).tanh()) for x in torch.randn(3, 1000, 8)]
    monkeypatch.setattr(retention, "BATCH", 64)
    _, explained = retention.fit(texts, 64, 1)
    assert explained.min() > 0.8


def test_with_room_for_every_token_the_loss_is_that_of_full_attention(retention, base, data, capsys):
    files = ["--base", str(base), "--data", str(data), "--sources", "stories", "--far", "2"]
    sizes = ["--context", "64", "--observed", "2", "--texts", "1", "--window", "8"]
    said = {}
    for kept in ("64", "4"):
        retention.main([*files, *sizes, "--kept", kept])
        said |= dict(line.rsplit(": ", 1) for line in capsys.readouterr().out.splitlines())
    factors = {name: figure.split("x ")[1] for name, figure in said.items() if "x " in figure}
    assert factors["stories, by head, window 8 and 64 kept, linear"] == factors["stories, full attention"] == "1.0000"
    assert factors["stories, by head, window 8 and 4 kept, linear"] != "1.0000"


def test_values_are_where_they_are_asked_for(retention):
    text, values = retention.questions(retention.random.Random(3), torch.arange(3000) % 7, lambda s: list(s.encode()))
    assert len(text) == 3000 and len(values) == retention.FACTS
    plain = bytes(text.tolist())
    for each in values:
        value = plain[each.start : each.stop]
        assert value.startswith(b" ") and plain.count(value) >= 2, value
        assert plain.rindex(b"Answer: ", 0, each.start) > plain.rindex(b"Question: ", 0, each.start)


def test_recall_with_room_for_every_token_is_that_of_full_attention(retention, base, data, capsys, monkeypatch):
    monkeypatch.setattr(retention, "FACTS", 1)
    files = ["--base", str(base), "--data", str(data), "--sources", "stories", "--far", "2", "--recall", "1"]
    sizes = ["--context", "250", "--observed", "2", "--texts", "1", "--window", "8", "--kept", "250"]
    retention.main([*files, *sizes])
    said = dict(line.split(": ") for line in capsys.readouterr().out.splitlines() if line.startswith("recall"))
    assert said["recall, by head, window 8 and 250 kept, linear"] == said["recall, full attention"]


def test_gates_are_written_into_the_profile(retention, base, data, tmp_path, capsys):
    profile, into = tmp_path / "profile.json", tmp_path / "gates.json"
    profile.write_text(json.dumps({"model": "m", "heads": [{"layer": 0, "head": 1, "attention": 0.5}]}))
    files = ["--base", str(base), "--data", str(data), "--sources", "stories", "--far", "2"]
    sizes = ["--context", "64", "--observed", "2", "--texts", "1", "--window", "8", "--kept", "8"]
    written = ["--profile", str(profile), "--into", str(into)]
    retention.main([*files, *sizes, *written])
    found = json.loads(into.read_text())
    config = gguf_file.load(base).config
    gates = torch.tensor(found.pop("retention_gates"))
    assert gates.shape == (config.layers * config.kv_heads, config.width) and gates.std() > 0
    assert found == json.loads(profile.read_text())
    for wrong in (["--into", str(into)], [*written, "--hidden", "8"]):
        with pytest.raises(SystemExit):
            retention.main([*files, *sizes, *wrong])
    assert "--into needs --profile" in capsys.readouterr().err
