"""Attention block by block, for eager training on a CPU: scores of a few queries at a time, which stay in the cache.

Only queries, keys and values are kept for the gradient; the scores are recomputed. Compiled training and
a GPU are better served by the few large products of `attention`.
"""

import torch
from torch.nn import functional as F

from .schedule import Schedule

QUERIES = 64  # per block: measured fastest among 32, 64, 128 and 256 with 3 heads per key


class Blocks:
    """For each block of queries, the keys that any of them sees, and which of them see which."""

    def __init__(self, schedule: Schedule | None, window: int, tokens: int, device):
        """A query sees the boundaries of `schedule` and the last `window` + 1 tokens."""
        position = torch.arange(tokens, device=device)
        slices = schedule.boundaries(tokens) if schedule else []
        boundaries = torch.cat([position[each] for each in slices] or [position[:0]])
        self.parts = []
        """(first query, end, boundaries [F], first near key, what is hidden of these F + near keys)"""
        for begin in range(0, tokens, QUERIES):
            end, first = min(begin + QUERIES, tokens), max(0, begin - window)
            query, near = position[begin:end].unsqueeze(1), position[first:end]
            far = boundaries[boundaries < end - 1 - window]
            hidden = torch.cat([far >= query - window, (near > query) | (near < query - window)], 1)
            self.parts.append((begin, end, far, first, _partly(hidden)))


def _partly(hidden: torch.Tensor) -> list[tuple[slice, torch.Tensor]]:
    """Runs of columns of [Q, n] that are hidden from some queries, each with its part of the matrix."""
    edges = torch.diff(F.pad(hidden.any(0).int(), (1, 1))).nonzero().flatten().tolist()
    return [(slice(*run), hidden[:, slice(*run)].clone()) for run in zip(edges[::2], edges[1::2], strict=True)]


def attend_blocks(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, blocks: Blocks) -> torch.Tensor:
    """q [B, T, heads, D]; k, v [B, T, kv_heads, D]. Returns [B, T, heads * D]."""
    if torch.is_autocast_enabled(q.device.type):
        q, k, v = (each.to(torch.get_autocast_dtype(q.device.type)) for each in (q, k, v))
    heads = q.unflatten(2, (k.shape[2], -1)).permute(0, 2, 3, 1, 4)  # [B, KV, R, T, D]
    k, v = k.transpose(1, 2).contiguous(), v.transpose(1, 2).contiguous()
    out = _Attention.apply(heads * q.shape[-1] ** -0.5, k, v, blocks)
    return out.permute(0, 3, 1, 2, 4).flatten(2)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, blocks: Blocks):
        """q [B, KV, R, T, D], scaled; k, v [B, KV, T, D]. Returns [B, KV, R, T, D]."""
        q = q.contiguous()
        ctx.save_for_backward(q, k, v)
        ctx.blocks = blocks
        out = torch.empty_like(q)
        for begin, end, far, first, hidden in blocks.parts:
            weight = _weights(q[..., begin:end, :], _gather(k, far, first, end), hidden)
            out[..., begin:end, :] = (weight @ _gather(v, far, first, end)).unflatten(2, (*q.shape[2:3], -1))
        return out

    @staticmethod
    def backward(ctx, incoming):
        q, k, v = ctx.saved_tensors
        dq = torch.empty_like(q)
        # A key gathers from many blocks: the sum is kept in at least float32.
        exact = torch.promote_types(k.dtype, torch.float32)
        dk, dv = torch.zeros_like(k, dtype=exact), torch.zeros_like(v, dtype=exact)
        for begin, end, far, first, hidden in ctx.blocks.parts:
            query, keys, values = q[..., begin:end, :], _gather(k, far, first, end), _gather(v, far, first, end)
            weight = _weights(query, keys, hidden)
            grad = incoming[..., begin:end, :].flatten(2, 3)
            _scatter(dv, weight.transpose(-1, -2) @ grad, far, first, end)
            score = torch._softmax_backward_data(grad @ values.transpose(-1, -2), weight, -1, weight.dtype)
            dq[..., begin:end, :] = (score @ keys).unflatten(2, (*q.shape[2:3], -1))
            _scatter(dk, score.transpose(-1, -2) @ query.flatten(2, 3), far, first, end)
        return dq, dk.to(k.dtype), dv.to(v.dtype), None


def _weights(query, keys, hidden) -> torch.Tensor:
    """Attention weights [B, KV, R * Q, n] of query [B, KV, R, Q, D] for keys [B, KV, n, D]."""
    score = query.flatten(2, 3) @ keys.transpose(-1, -2)
    for columns, mask in hidden:
        score.unflatten(2, query.shape[2:4])[..., columns].masked_fill_(mask, -torch.inf)
    return F.softmax(score, -1, dtype=score.dtype)


def _gather(each, far, first: int, end: int) -> torch.Tensor:
    near = each[:, :, first:end]
    return torch.cat([each.index_select(2, far), near], 2) if len(far) else near


def _scatter(total, each, far, first: int, end: int):
    if len(far):
        total.index_add_(2, far, each[:, :, : len(far)].to(total.dtype))
    total[:, :, first:end] += each[:, :, len(far) :]
