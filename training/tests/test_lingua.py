"""Checkpoints in the layout of the public training code."""

import json

import pytest
import torch
from torch.distributed.checkpoint.format_utils import torch_save_to_dcp

from attamba_train import lingua
from attamba_train.errors import KitError

WIDTH, LAYERS, HEADS, INNER, STATE, VOCAB, FORWARD = 32, 3, 4, 16, 6, 40, 48
SETTINGS = {
    "n_heads": HEADS,
    "token_chunk": 8,
    "leading_tokens": 5,
    "n_groups": 1,
    "max_seqlen": 256,
    "pseudo_chunk": False,
    "sep_ssm": True,
}


def tensors(scan: bool = True) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator) * 0.2

    made = {
        "tok_embeddings.weight": draw(VOCAB, WIDTH),
        "norm.weight": draw(WIDTH),
        "output.weight": draw(VOCAB, WIDTH),
    }
    for layer in range(LAYERS):
        attention = "attentive_ssm" if scan else "attention"
        p = f"layers.{layer}."
        for name in ("wq", "wo") if scan else ("wq", "wk", "wv", "wo"):
            made[f"{p}{attention}.{name}.weight"] = draw(WIDTH, WIDTH)
        made |= {f"{p}{name}.weight": draw(WIDTH) for name in ("attention_norm", "ffn_norm")}
        made |= {f"{p}feed_forward.{name}.weight": draw(FORWARD, WIDTH) for name in ("w1", "w3")}
        made[f"{p}feed_forward.w2.weight"] = draw(WIDTH, FORWARD)
        for side in "kv" if scan else "":
            mixer = {
                "in_proj.weight": draw(2 * INNER + 2 * STATE + HEADS, WIDTH),
                "conv_weight": draw(INNER + 2 * STATE, 4),
                "A_log": draw(HEADS),
                "D": draw(HEADS),
                "ssm_norm.weight": draw(INNER),
                "out_proj.weight": draw(WIDTH, INNER),
            }
            made |= {f"{p}{side}_ssm.{name}": value for name, value in mixer.items()}
            # The training code registers every mixer twice, and a norm that it never applies.
            made |= {f"{p}attentive_ssm.{side}_ssm.{name}": value for name, value in mixer.items()}
            made[f"{p}{side}_ssmnorm.weight"] = draw(WIDTH)
    return made


def write(folder, settings, state, shards=False):
    folder.mkdir(exist_ok=True)
    (folder / "params.json").write_text(json.dumps({"model": settings}))
    whole = folder / "consolidated" / "consolidated.pth"
    whole.parent.mkdir()
    torch.save({"model": state}, whole)
    if shards:
        torch_save_to_dcp(whole, folder)
        whole.unlink()


@pytest.mark.parametrize("shards", [False, True])
def test_every_tensor_finds_its_place(shards, tmp_path):
    state = tensors()
    write(tmp_path / "ckpt", SETTINGS, state, shards)
    model = lingua.convert(*lingua.read(tmp_path / "ckpt"))
    layer = model.blk[1]
    for ours, theirs in (
        (layer.attn_q.weight, "attentive_ssm.wq.weight"),
        (layer.ffn_gate.weight, "feed_forward.w1.weight"),
        (layer.ffn_up.weight, "feed_forward.w3.weight"),
        (layer.ssm_v.conv, "v_ssm.conv_weight"),
        (layer.ssm_k.a_log, "k_ssm.A_log"),
        (layer.ssm_k.norm, "k_ssm.ssm_norm.weight"),
    ):
        torch.testing.assert_close(ours.detach(), state[f"layers.1.{theirs}"])
    config = model.config
    assert (config.chunks.length, config.chunks.window, config.mixer.state, config.mixer.heads) == (8, 5, STATE, HEADS)
    assert config.chunks.offsets == [0, 2, 4]
    assert not config.projected_kv
    assert model(torch.arange(30)[None]).isfinite().all()


def test_chunks_shorter_than_the_layers_are_not_staggered(tmp_path):
    model = lingua.convert(SETTINGS | {"token_chunk": 2}, tensors())
    assert model.config.chunks.offsets == [0, 0, 0]


def test_transformer_is_converted_too():
    model = lingua.convert({"n_heads": HEADS}, tensors(scan=False))
    assert model.config.architecture == "transformer"
    assert model.config.projected_kv


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pseudo_chunk": True}, "'pseudo_chunk' makes every token visible"),
        ({"sep_ssm": False}, "Without 'sep_ssm'"),
        ({"token_chunk": None}, "settings lack 'token_chunk'"),
    ],
)
def test_settings_without_counterpart_are_refused(change, message):
    with pytest.raises(KitError, match=message):
        lingua.convert(SETTINGS | change, tensors())


def test_tensors_without_counterpart_are_refused():
    with pytest.raises(KitError, match="neither an Attamba nor a transformer"):
        lingua.convert(SETTINGS, {"other": torch.zeros(1)})
    with pytest.raises(KitError, match=r"k_ssm\.init_states has no counterpart"):
        lingua.convert(SETTINGS, tensors() | {"layers.0.k_ssm.init_states": torch.zeros(1)})
    per_channel = {f"layers.{i}.{s}_ssm.D": torch.zeros(HEADS, 4) for i in range(LAYERS) for s in "kv"}
    with pytest.raises(KitError, match="D has an entry for each channel"):
        lingua.convert(SETTINGS, tensors() | per_channel)


def test_missing_files_are_reported(tmp_path):
    with pytest.raises(KitError, match=r"params.json cannot be read"):
        lingua.read(tmp_path)
    (tmp_path / "params.json").write_text('{"model": {}}')
    with pytest.raises(KitError, match="holds neither consolidated"):
        lingua.read(tmp_path)
    (tmp_path / ".metadata").write_bytes(b"half a file")
    with pytest.raises(KitError, match=r"The tensors in .* cannot be read"):
        lingua.read(tmp_path)
