"""Rotary positions, and attention to chunk boundaries and a window without a T x T matrix."""

import torch
from torch.nn import functional as F

from .config import ModelConfig
from .schedule import Schedule

MIN_QUERIES = 16  # least number of queries that share one slice of window keys: smaller products are inefficient


Table = tuple[torch.Tensor, torch.Tensor]  # cos and sin, [T, pairs]


def rotary_tables(tokens: int, config: ModelConfig, device) -> list[Table]:
    """The table of most layers, and that of layers with a window if it is another."""
    half, traits = config.head_dim // 2, config.traits
    frequencies = config.rope_base ** (-torch.arange(half, dtype=torch.float64) / half)
    if traits.frequencies:
        frequencies = torch.tensor(traits.frequencies, dtype=torch.float64)
    tables = [_rotary_table(tokens, frequencies.to(device), traits.magnitude)]
    if traits.local_frequencies:
        local = torch.tensor(traits.local_frequencies, dtype=torch.float64, device=device)
        tables.append(_rotary_table(tokens, local, 1.0))
    return tables


def _rotary_table(tokens: int, frequencies: torch.Tensor, magnitude: float) -> Table:
    """Angles in float64: at large positions float32 would be inaccurate."""
    angle = torch.arange(tokens, dtype=torch.float64, device=frequencies.device).unsqueeze(1) * frequencies
    return (magnitude * angle.cos()).float(), (magnitude * angle.sin()).float()


def rotate(x: torch.Tensor, table: Table, half_split: bool = False) -> torch.Tensor:
    """Rotate the first pairs of x [B, T, heads, head_dim], as many as `table` has, by their angles.

    They are (2j, 2j + 1), or with `half_split` (j, j + pairs).
    """
    cos, sin = (each.unsqueeze(1) for each in table)
    width = 2 * cos.shape[-1]
    x, rest = x[..., :width], x[..., width:]
    one, other = x.chunk(2, -1) if half_split else (x[..., 0::2], x[..., 1::2])
    turned = [one * cos - other * sin, one * sin + other * cos]
    turned = torch.cat(turned, -1) if half_split else torch.stack(turned, -1).flatten(-2)
    return torch.cat([turned, rest], -1) if rest.shape[-1] else turned


def attend_all(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: "Mask | None" = None) -> torch.Tensor:
    """Causal attention to everything that `mask` leaves (None: everything).

    q [B, T, heads, D]; k, v [B, T, kv_heads, D]. Returns [B, T, heads * D].
    """
    repeat = q.shape[2] // k.shape[2]
    if repeat > 1:
        k, v = k.repeat_interleave(repeat, 2), v.repeat_interleave(repeat, 2)
    q, k, v = (each.transpose(1, 2) for each in (q, k, v))
    visible = None if mask is None else mask.visible
    return F.scaled_dot_product_attention(q, k, v, visible, is_causal=mask is None).transpose(1, 2).flatten(2)


class Mask:
    """Which of the T x T scores count: for the fused attention of a GPU, which never stores the scores themselves.

    It also computes those that do not count.
    """

    def __init__(self, schedule: Schedule, window: int, tokens: int, device):
        """A query sees the boundaries of `schedule` and the last `window` + 1 tokens."""
        position = torch.arange(tokens, device=device)
        boundary = torch.zeros(tokens, dtype=torch.bool, device=device)
        for each in schedule.boundaries(tokens):
            boundary[each] = True
        gap = position.unsqueeze(1) - position
        self.visible = (gap >= 0) & (boundary | (gap <= window))  # [T, T]


class Sight:
    """Which scores of T queries count, in two parts: far boundaries, and the near slices that windows cover."""

    def __init__(self, schedule: Schedule, window: int, tokens: int, device):
        """A query sees the boundaries of `schedule` and the last `window` + 1 tokens."""
        self.window = min(window, tokens)
        self.queries = min(max(MIN_QUERIES, self.window), tokens)
        """Queries that share a slice of `queries` + `window` keys."""
        self.short = -tokens % self.queries
        position = torch.arange(tokens, device=device)
        boundaries = torch.cat([position[each] for each in schedule.boundaries(tokens)] or [position[:0]])
        # The same number for every offset, so that all layers run one compiled graph; the padding is never visible.
        most = tokens // schedule.length + 2 if schedule.length else 1
        self.boundaries = F.pad(boundaries, (0, most - len(boundaries)))  # [T / P]
        count = torch.arange(most, device=device)
        old = self.boundaries < (position - self.window).unsqueeze(1)
        self.far = old & (count < len(boundaries))  # [T, T / P]
        key = torch.arange(self.queries + self.window, device=device) - self.window
        gap = torch.arange(self.queries, device=device).unsqueeze(1) - key
        first = torch.arange(0, tokens, self.queries, device=device).view(-1, 1, 1)
        self.near = (gap >= 0) & (gap <= self.window) & (first + key >= 0)  # [n, Q, Q + L]

    def far_keys(self, each: torch.Tensor) -> torch.Tensor:
        """The boundaries among [B, KV, T, D]: [B, KV, 1, T / P, D]."""
        return each.index_select(2, self.boundaries).unsqueeze(2)

    def near_keys(self, each: torch.Tensor) -> torch.Tensor:
        """Overlapping slices of [B, KV, T, D], one for each block of queries: [B, KV, 1, n, D, Q + L]."""
        padded = F.pad(each, (0, 0, self.window, self.short))
        return padded.unfold(2, self.queries + self.window, self.queries).unsqueeze(2)

    def cut(self, each: torch.Tensor) -> torch.Tensor:
        """[..., T, D] to blocks of queries [..., n, Q, D]."""
        return F.pad(each, (0, 0, 0, self.short)).unflatten(-2, (-1, self.queries))


def attend_chunks(q, k, v, sight: Sight) -> torch.Tensor:
    """Attention to what `sight` says, without a T x T matrix. Shapes as in `attend_all`."""
    tokens, kv_heads = q.shape[1], k.shape[2]
    q = q.unflatten(2, (kv_heads, -1)).permute(0, 2, 3, 1, 4) * q.shape[-1] ** -0.5  # [B, KV, R, T, D]
    k, v = k.transpose(1, 2), v.transpose(1, 2)  # [B, KV, T, D]
    far = (q @ sight.far_keys(k).transpose(-1, -2)).masked_fill(~sight.far, -torch.inf)
    near = (sight.cut(q) @ sight.near_keys(k)).masked_fill(~sight.near, -torch.inf)
    near = near.flatten(3, 4)[..., :tokens, :]
    weight = torch.cat([far, near], -1).softmax(-1)
    far, near = weight.split([far.shape[-1], near.shape[-1]], -1)
    near = (sight.cut(near) @ sight.near_keys(v).transpose(-1, -2)).flatten(3, 4)[..., :tokens, :]
    return (far @ sight.far_keys(v) + near).permute(0, 3, 1, 2, 4).flatten(2)
