"""Which decoder a GGUF file describes, of those families that `spec/architecture.md` lists."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .errors import KitError
from .model.family import PLAIN, Family

NAMES = ("attamba", "exaone4", "gemma3", "granite", "llama", "phi3", "qwen2", "qwen3", "smollm3")
HALF_SPLIT = ("exaone4", "gemma3", "phi3", "qwen2", "qwen3")
FUSED = {"attn_qkv": ("attn_q", "attn_k", "attn_v"), "ffn_up": ("ffn_gate", "ffn_up")}
"""Matrices that phi3 has in one tensor, one after the other."""
DIVISORS = {"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"}
PERIODS = {"exaone4": 4, "gemma3": 6}
"""In which each layer of that number sees everything, if the others have a sliding window."""
PROJECTIONS = ("attn_q", "attn_k", "attn_v", "attn_output")


@dataclass(frozen=True)
class Keys:
    """The keys of a file's family."""

    meta: Mapping[str, object]
    name: str
    """The family: the value of `general.architecture`, and the prefix of its keys."""

    def get(self, key: str, default=None):
        value = self.meta.get(f"{self.name}.{key}", default)
        if value is None:
            raise KitError(f"The file lacks the key {self.name}.{key}.")
        return value

    def size(self, key: str, default: int | None = None) -> int:
        """A number that all layers share."""
        value = self.get(key, default)
        if isinstance(value, list):
            if len(set(value)) != 1:
                raise self.refusal(key, "layers of unequal sizes")
            value = value[0]
        return value

    def refusal(self, key: str, meaning: str) -> KitError:
        return KitError(f"{self.name}.{key} = {self.meta[f'{self.name}.{key}']}: this kit does not train {meaning}.")


def read(keys: Keys, tensors: Mapping[str, object]) -> Family | None:
    """What the family of a file adds; None for a llama without anything special.

    `tensors`: by name; those of `DIVISORS` are read.
    """
    name, layers, width = keys.name, keys.size("block_count"), keys.size("embedding_length")
    head_dim = keys.size("attention.key_length", width // keys.size("attention.head_count"))
    _refuse(keys, head_dim)
    rotated = keys.get("rope.dimension_count", head_dim)
    frequencies, magnitude = _rotation(keys, rotated, tensors)
    plain = rotated == head_dim and not (_scaling(keys) or _divisors(keys, tensors))
    windows = _windows(keys, layers)
    local = _plain(rotated, keys.get("rope.freq_base_swa", 10000.0)) if name == "gemma3" and any(windows) else ()
    unrotated = range(3, layers, 4) if name == "smollm3" else ()
    if name == "exaone4":
        unrotated = (layer for layer, window in enumerate(windows) if window is None)
    scale = keys.get("attention.scale", 0.0)
    if name == "gemma3" and layers == 62:  # no key says that the largest model has a scale of its own
        scale = scale or (width // keys.size("attention.head_count")) ** -0.5
    found = Family(
        frequencies=() if plain else tuple(frequencies.tolist()),
        magnitude=magnitude,
        half_split=name in HALF_SPLIT,
        unrotated=tuple(unrotated),
        windows=windows if any(windows) else (),
        local_frequencies=tuple(map(float, local)),
        biases=tuple(each for each in PROJECTIONS if f"blk.0.{each}.bias" in tensors),
        head_norms=name in ("exaone4", "gemma3", "qwen3"),
        norms_before=name != "exaone4",
        norms_after=name in ("exaone4", "gemma3"),
        activation="gelu" if name == "gemma3" else "silu",
        embedding_scale=math.sqrt(width) if name == "gemma3" else _of(keys, "granite", "embedding_scale"),
        residual_scale=_of(keys, "granite", "residual_scale"),
        logit_scale=1 / _of(keys, "granite", "logit_scale"),
        attention_scale=scale or None,
    )
    return None if found == PLAIN else found


def _of(keys: Keys, name: str, key: str) -> float:
    return keys.get(key, 1.0) if keys.name == name else 1.0


def _refuse(keys: Keys, head_dim: int):
    if keys.get("final_logit_softcapping", 0.0):
        raise keys.refusal("final_logit_softcapping", "capped logits")
    if keys.get("expert_count", 0):
        raise keys.refusal("expert_count", "mixtures of experts")
    if keys.get("attention.value_length", head_dim) != head_dim:
        raise keys.refusal("attention.value_length", f"values of another width than keys, {head_dim}")


def _windows(keys: Keys, layers: int) -> tuple[int | None, ...]:
    """Tokens that each layer sees, or None; nothing at all if the file has no window that hides anything."""
    window, period = keys.get("attention.sliding_window", 0), PERIODS.get(keys.name)
    if not 0 < window < keys.get("context_length", 1024):
        return ()
    if period is None:
        return (window,) * layers
    listed = keys.get("attention.sliding_window_pattern", period)
    if not isinstance(listed, list):
        listed = [not listed or (layer + 1) % listed > 0 for layer in range(layers)]
    if len(listed) != layers:
        raise KitError(f"{keys.name}.attention.sliding_window_pattern has {len(listed)} entries for {layers} layers.")
    return tuple(window if windowed else None for windowed in listed)


def _plain(rotated: int, base: float) -> np.ndarray:
    half = rotated // 2
    return base ** (-np.arange(half) / half)


def _scaling(keys: Keys) -> str | None:
    """How frequencies are scaled, if they are."""
    factor = keys.get("rope.scaling.factor", keys.get("rope.scale_linear", 1.0))
    kind = keys.get("rope.scaling.type", "linear")
    if kind not in ("none", "linear", "yarn", "longrope"):
        raise keys.refusal("rope.scaling.type", "this scaling of rotary frequencies")
    for key, usual in (("yarn_ext_factor", 1.0), ("yarn_log_multiplier", 0.0)):
        if keys.get(f"rope.scaling.{key}", usual) != usual:
            raise keys.refusal(f"rope.scaling.{key}", "this scaling of rotary frequencies")
    return None if kind in ("none", "longrope") or (kind == "linear" and factor == 1.0) else kind


def _divisors(keys: Keys, tensors: Mapping[str, object]) -> str | None:
    """The tensor of divisors of the frequencies, if there is one."""
    context = keys.get("context_length", 1024)
    long = context > keys.get("rope.scaling.original_context_length", context)
    names = (f"rope_factors_{'long' if long else 'short'}.weight", "rope_freqs.weight")
    return next((name for name in names if name in tensors), None)


def _rotation(keys: Keys, rotated: int, tensors: Mapping[str, object]) -> tuple[np.ndarray, float]:
    """Radians per token of each pair, and the factor of cosines and sines."""
    half, base = rotated // 2, keys.get("rope.freq_base", 10000.0)
    divisors = _divisors(keys, tensors)
    plain = _plain(rotated, base) / (1.0 if divisors is None else np.asarray(tensors[divisors], float))
    magnitude, kind = keys.get("rope.scaling.attn_factor", 1.0), _scaling(keys)
    if kind is None:
        return plain, magnitude
    factor = keys.get("rope.scaling.factor", keys.get("rope.scale_linear", 1.0))
    if kind == "linear":
        return plain / factor, magnitude
    original = keys.get("rope.scaling.original_context_length", keys.get("context_length", 1024))

    def pair(turns: float) -> float:
        """The one that turns so many times within the context of the first training."""
        return rotated * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(base))

    low = max(math.floor(pair(keys.get("rope.scaling.yarn_beta_fast", 32.0))), 0)
    high = min(math.ceil(pair(keys.get("rope.scaling.yarn_beta_slow", 1.0))), rotated - 1)
    ramp = np.clip((np.arange(half) - low) / max(high - low, 0.001), 0, 1)
    return plain / factor * ramp + plain * (1 - ramp), magnitude * (1 + 0.1 * math.log(factor))
