"""Heads that copy names: the new parts of a model, and their training."""

import dataclasses
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from attamba_train import corpus, gguf_file, token_file, tokenizer
from attamba_train.model import Decoder
from attamba_train.model.config import Chunks, Mixer, ModelConfig

BUNDLED = Path(__file__).parents[1] / "bundled"


@pytest.fixture
def copying(monkeypatch):
    monkeypatch.syspath_prepend(BUNDLED)
    import copying

    # Two heads of 8 for a model of 32.
    for name, value in {"UNITS": 16, "TALK": 1, "FINISHING": 1e-3, "LENGTH": 40, "RARE": 1.0}.items():
        monkeypatch.setattr(copying, name, value)
    return copying


def small() -> Decoder:
    config = ModelConfig(
        vocab_size=300,
        context=48,
        width=32,
        layers=3,
        heads=4,
        kv_heads=4,
        head_dim=8,
        feed_forward=48,
        projected_kv=False,
        chunks=Chunks(length=4, window=3, trained_lengths=(2, 4)),
        mixer=Mixer(inner=16, state=4, heads=2, scan="carried"),
    )
    return Decoder(config).init_weights(1)


def test_a_name_comes_back_within_reach(copying, monkeypatch):
    monkeypatch.setattr(copying, "REACH", 4)
    likely = torch.zeros(10, dtype=torch.bool)
    likely[7:] = True
    windows = torch.tensor([[7, 1, 7, 2, 8, 3, 7, 8, 8, 1]])
    #                           ^ no name at 1, 3, 5; 7 is 4 tokens away at 6, so out of reach
    assert copying.coming_back(windows, likely)[0].nonzero()[:, 0].tolist() == [1, 6, 7]


def test_names_are_rare_words_in_capitals(copying, monkeypatch):
    monkeypatch.setattr(copying, "RARE", 0.3)
    vocabulary = {"ĠThe": 0, "ĠAnna": 1, "Ġanna": 2, "Anna": 3, "ĠA": 4}
    assert copying.names(vocabulary, np.array([0, 0, 1, 2, 3, 4])).nonzero()[:, 0].tolist() == [1]


def test_the_new_parts_change_nothing_at_first(copying):
    base = small()
    model, new = copying.widened(base)
    tokens = torch.arange(48)[None] * 7 % 300
    with torch.no_grad():
        torch.testing.assert_close(model(tokens), base(tokens))
    assert model.config.chunks.far_heads == ((1, 4), (1, 5), (2, 4), (2, 5))
    before = base.state_dict()
    for name, value in model.state_dict().items():
        kept = value if name not in new else value[new[name] == 0]
        if re.search(r"attn_[kv]\.weight", name):
            assert torch.equal(kept.reshape(32, 32), torch.eye(32))
        else:
            assert torch.equal(kept.flatten(), before[name].flatten()), name


def test_what_the_new_heads_write_says_which_name_it_is(copying):
    likely = torch.zeros(300, dtype=torch.bool)
    likely[100:116] = True
    tokens = torch.arange(100, 116).repeat(2)
    mixture = SimpleNamespace(sources=[SimpleNamespace(tokens=tokens.numpy())])
    parts = copying.Copying(small(), mixture, np.zeros((1, 49), np.int64), likely)
    embedding = torch.nn.functional.normalize(parts.model.token_embd.weight.data[100:116], dim=1)
    text = torch.tensor([[100, 5, 107, 115, 6]])
    with torch.no_grad():
        parts.model.token_embd.weight[100:116] = embedding
        parts.hidden(text)
        # The last layer's new heads read a code of sixteen values, one for each name, and write its embedding.
        one, last = parts.layers
        parts.inputs[one] = torch.zeros(1, 5, 32)
        parts.inputs[last] = torch.eye(32)[(text - 100).clamp(0)]
        parts.model.blk[last].attn_v.weight[parts.new_rows] = torch.eye(32)[:16]
        parts.model.blk[last].attn_output.weight[:, parts.new_rows] = 50 * embedding.T
        loss, said = parts.saying(text)
        assert said == 1 and loss < 0.5
        parts.model.blk[last].attn_output.weight[:, parts.new_rows] = 50 * embedding.T.roll(1, 1)
        loss, said = parts.saying(text)
        assert said == 0 and loss > 3
        assert parts.saying(torch.full((1, 5), 5))[0] == 0


def test_only_the_new_parts_and_names_are_trained_and_it_continues(copying, tmp_path, capsys):
    base = small()
    people = ["Anna", "Bert", "Cora", "Dora", "Emil"]
    text = tmp_path / "text.jsonl"
    text.write_text(
        "".join(f'{{"text": "Here is {a} and there is {b}. Oh {a}, said {b}."}}\n' for a in people for b in people) * 9
    )
    made = tokenizer.train(corpus.documents(text), 300)
    made.save(str(tmp_path / "tokenizer.json"))
    token_file.pack("people", corpus.documents(text), made, tmp_path, 0.3, ["made up for a test, CC0"])
    before, out = tmp_path / "before.gguf", tmp_path / "out"
    gguf_file.save(before, base, "small", "F32", gguf_file.Text(made.to_str(), 0, None))
    settings = {
        "name": "small",
        "seed": 1,
        "init": str(before),
        "data": {"tokenizer": "tokenizer.json", "sources": {"people": 1.0}},
        "model": dataclasses.asdict(base.config) | {"family": None},
        "train": {"tokens": 4096, "batch": 2, "learning_rate": 0.001, "warmup": 1, "validation_tokens": 96},
    }
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(json.loads(json.dumps(settings))))
    command = [
        str(config),
        "--data",
        str(tmp_path),
        "--out",
        str(out),
        "--looking",
        "2",
        "--finishing",
        "0",
        "--rounds",
    ]
    copying.main([*command, "2"])
    assert "before round 1" in capsys.readouterr().out
    copying.main([*command, "2", "1"])
    told = capsys.readouterr().out
    assert "before round 1" not in told and "before round 2" in told
    state = torch.load(out / "checkpoint.pt")["model"]
    _, new = copying.widened(base)
    named = copying.names(made.get_vocab(), token_file.read(tmp_path, "people", "train", made))
    assert 5 <= named.sum() < 20
    trained = gguf_file.load(before).state_dict()
    embedding, of_base = state.pop("token_embd.weight"), trained.pop("token_embd.weight")
    assert torch.equal(embedding[~named], of_base[~named])
    assert (embedding[named] != of_base[named]).any()
    for name, value in trained.items():
        kept = state[name] if name not in new else state[name][new[name] == 0]
        assert torch.equal(kept.flatten(), value.flatten()), name
    assert (state["blk.2.attn_output.weight"][:, 32:] != 0).any()
    assert gguf_file.read_config(out / "small.gguf").chunks.far_heads == ((1, 4), (1, 5), (2, 4), (2, 5))


def test_finishing_trains_all_weights_on_windows_that_begin_as_a_chat_does(copying, monkeypatch):
    text = torch.tensor([5, 6, 0, 7, 8, 0, 9, 9, 9] * 20)
    mixture = SimpleNamespace(
        sources=[SimpleNamespace(tokens=text.numpy())],
        batch=lambda first, count: np.stack([text[first + row : first + row + 49].numpy() for row in range(count)]),
    )
    likely = torch.arange(300) == 7
    parts = copying.Copying(small(), mixture, np.zeros((1, 49), np.int64), likely)
    before = {name: value.clone() for name, value in parts.model.state_dict().items()}
    seen = []
    losses = parts.losses
    monkeypatch.setattr(parts, "losses", lambda windows, chunk: (seen.append(windows), losses(windows, chunk))[1])
    talk = SimpleNamespace(end=0, windows=lambda step, count, length: torch.zeros(count, length, dtype=torch.long))
    parts.finish(0, 2, talk)
    assert [tuple(windows.shape) for windows in seen] == [(8, 41)] * 2
    assert all((windows[:, 0] == 0).all() and (windows[1:, 1] != 0).all() for windows in seen)
    trained = parts.model.state_dict()
    assert all(not torch.equal(trained[name], value) for name, value in before.items())


def test_a_window_without_an_end_of_text_begins_where_it_does(copying):
    assert copying.begins(torch.tensor([5] * 44), 0) == 0
    # 40 tokens have to follow it.
    assert copying.begins(torch.tensor([5, 5, 5, 0] + [5] * 40), 0) == 3
    assert copying.begins(torch.tensor([5, 5, 5, 5, 0] + [5] * 39), 0) == 0


def test_windows_of_small_talk_begin_with_a_conversation_and_have_no_story(copying):
    made = tokenizer.train(["Hello! How are you today? What is the name of the dog? " * 9], 300)
    talk = copying.SmallTalk(made)
    windows = talk.windows(3, 4, 200)
    first = [made.token_to_id("<|endoftext|>"), made.token_to_id("<|user|>")]
    assert windows.shape == (4, 200) and windows[:, :2].tolist() == [first] * 4
    assert torch.equal(windows, talk.windows(3, 4, 200)) and not torch.equal(windows, talk.windows(4, 4, 200))
    for text in made.decode_batch(windows.tolist(), skip_special_tokens=False):
        assert all(len(answer.split("<|endoftext|>")[0]) < 250 for answer in text.split("<|assistant|>")[1:])
