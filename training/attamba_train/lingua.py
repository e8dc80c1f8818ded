"""Checkpoints of the public Attamba training code (Meta Lingua layout) as models of this kit.

A checkpoint is a folder with `params.json` and either `consolidated/consolidated.pth` or the shards that
PyTorch's distributed checkpoints consist of.
"""

import json
import re
import tempfile
from pathlib import Path

import torch
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from .errors import KitError
from .model import Chunks, Decoder, Mixer, ModelConfig

SCAN_WARNING = (
    "This checkpoint was trained with a scan that joins tokens of equal position in neighboring chunks, not the "
    "tokens of one chunk. The converted file computes the specification's scan, which is a different function: "
    "expect a far worse perplexity than the checkpoint's own until the model is trained further."
)
OUTER = {
    "tok_embeddings.weight": "token_embd.weight",
    "norm.weight": "output_norm.weight",
    "output.weight": "output.weight",
}
INNER = {
    "attentive_ssm.wq.weight": "attn_q.weight",
    "attentive_ssm.wo.weight": "attn_output.weight",
    "attention.wq.weight": "attn_q.weight",
    "attention.wk.weight": "attn_k.weight",
    "attention.wv.weight": "attn_v.weight",
    "attention.wo.weight": "attn_output.weight",
    "attention_norm.weight": "attn_norm.weight",
    "ffn_norm.weight": "ffn_norm.weight",
    "feed_forward.w1.weight": "ffn_gate.weight",
    "feed_forward.w3.weight": "ffn_up.weight",
    "feed_forward.w2.weight": "ffn_down.weight",
}
MIXER = {
    "in_proj.weight": "in_proj.weight",
    "conv_weight": "conv",
    "dt_bias": "dt_bias",
    "A_log": "a_log",
    "D": "d",
    "ssm_norm.weight": "norm",
    "out_proj.weight": "out_proj.weight",
}


def read(folder: Path) -> tuple[dict, dict[str, torch.Tensor]]:
    """The model's settings and its tensors, as the training code wrote them."""
    try:
        settings = json.loads((folder / "params.json").read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise KitError(f"{folder / 'params.json'} cannot be read: {error}.") from error
    if "model" not in settings:
        raise KitError(f"{folder / 'params.json'} has no section 'model'.")
    whole = folder / "consolidated" / "consolidated.pth"
    if not whole.exists() and not (folder / ".metadata").exists():
        raise KitError(f"{folder} holds neither consolidated/consolidated.pth nor the shards of a checkpoint.")
    try:
        if whole.exists():
            return settings["model"], torch.load(whole, map_location="cpu", weights_only=True)["model"]
        with tempfile.TemporaryDirectory() as scratch:
            joined = Path(scratch) / "consolidated.pth"
            dcp_to_torch_save(str(folder), str(joined))
            return settings["model"], torch.load(joined, map_location="cpu", weights_only=True)["model"]
    except (Exception, CheckpointException) as error:  # torch raises many kinds of exceptions for a damaged file
        raise KitError(f"The tensors in {folder} cannot be read: {error}.") from error


def convert(settings: dict, tensors: dict[str, torch.Tensor]) -> Decoder:
    """The same weights as a `Decoder`. Sizes are taken from the tensors, everything else from `settings`."""
    state = {name: tensor.float() for key, tensor in tensors.items() if (name := _name(key))}
    if "token_embd.weight" not in state or "blk.0.attn_q.weight" not in state:
        raise KitError("These tensors are neither an Attamba nor a transformer of the public training code.")
    attamba = "blk.0.ssm_k.in_proj.weight" in state
    config = _config(settings, state, attamba)
    model = Decoder(config)
    if attamba:
        # The training code has no biases here, and may have none for the step sizes.
        for name, value in model.state_dict().items():
            if name.endswith(("conv_bias", "dt_bias")):
                state.setdefault(name, torch.zeros_like(value))
    wrong = model.load_state_dict(state, strict=False)
    misfits = [*wrong.missing_keys, *wrong.unexpected_keys]
    if misfits:
        raise KitError(f"The checkpoint's tensors do not form a model; the first mismatch is {misfits[0]}.")
    return model


def _name(key: str) -> str | None:
    """Our name for a tensor; None for one that the training code's forward pass never reads, or a copy."""
    if key in OUTER:
        return OUTER[key]
    match = re.fullmatch(r"layers\.(\d+)\.(.+)", key)
    if not match:
        return None
    layer, inner = match.groups()
    mixer = re.fullmatch(r"([kv]_ssm)\.(.+)", inner)
    if mixer:
        if mixer[2] not in MIXER:
            raise KitError(f"The tensor {key} has no counterpart in the specification.")
        return f"blk.{layer}.ssm_{mixer[1][0]}.{MIXER[mixer[2]]}"
    return f"blk.{layer}.{INNER[inner]}" if inner in INNER else None


def _config(settings: dict, state: dict[str, torch.Tensor], attamba: bool) -> ModelConfig:
    vocab_size, width = state["token_embd.weight"].shape
    layers = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blk."))
    mixed = state["blk.0.attn_q.weight"].shape[0]
    heads = settings.get("n_heads") or mixed // _need(settings, "head_dim")
    common = dict(
        vocab_size=vocab_size,
        context=settings.get("max_seqlen", 1024),
        width=width,
        layers=layers,
        heads=heads,
        kv_heads=settings.get("n_kv_heads") or heads,
        head_dim=mixed // heads,
        feed_forward=state["blk.0.ffn_gate.weight"].shape[0],
        tied="output.weight" not in state,
        rope_base=settings.get("rope_theta", 10000.0),
        norm_eps=settings.get("norm_eps", 1e-5),
    )
    if not attamba:
        return ModelConfig(**common)
    _check_expressible(settings, state)
    length = _need(settings, "token_chunk")
    convolved, taps = state["blk.0.ssm_k.conv"].shape
    inner = state["blk.0.ssm_k.norm"].shape[0]
    groups = settings.get("n_groups", 1)
    return ModelConfig(
        **common,
        projected_kv=False,
        chunks=Chunks(
            length=length,
            window=_need(settings, "leading_tokens"),
            # Whole steps of length // layers: with fewer tokens per chunk than layers nothing is staggered.
            offsets=[min(length - 1, layer * (length // layers)) for layer in range(layers)],
        ),
        mixer=Mixer(
            inner=inner,
            state=(convolved - inner) // (2 * groups),
            heads=state["blk.0.ssm_k.a_log"].shape[0],
            groups=groups,
            conv=taps,
            scan="reset",
        ),
    )


def _check_expressible(settings: dict, state: dict[str, torch.Tensor]):
    if settings.get("pseudo_chunk"):
        raise KitError("'pseudo_chunk' makes every token visible, which the specification has no chunk length for.")
    if not settings.get("sep_ssm", True):
        raise KitError("Without 'sep_ssm' the values have no scan of their own; the specification needs two.")
    if "blk.0.ssm_k.conv" not in state:
        raise KitError("This checkpoint has no convolution; the specification needs one of at least 1 tap.")
    if state["blk.0.ssm_k.d"].dim() != 1:
        raise KitError("D has an entry for each channel; the specification has one per head.")


def _need(settings: dict, key: str):
    if settings.get(key) is None:
        raise KitError(f"The checkpoint's settings lack '{key}'.")
    return settings[key]
