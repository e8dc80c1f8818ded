"""Attention in pieces compared with one T x T matrix."""

import pytest
import torch

from attamba_train.model import by_head
from attamba_train.model.attention import Mask, Sight, attend_all, attend_chunks
from attamba_train.model.blocked import QUERIES, Blocks, attend_blocks
from attamba_train.model.schedule import Schedule

TOKENS = 2 * QUERIES + 22
CASES = [
    (Schedule(8), 8),
    (Schedule(8, offset=5), 0),
    (Schedule(4, offset=3), 20),
    (Schedule(1), 0),
    (Schedule(64), 3),
    (Schedule(8, offset=2, sink=False), 6),
    (Schedule(0), 12),
    (Schedule(0, sink=False), 12),
    (Schedule(8), 500),
]


def dense(q, k, v, schedule, window):
    """The definition: a boolean for every pair of positions."""
    position = torch.arange(q.shape[1])
    gap = position[:, None] - position
    closed = torch.zeros(q.shape[1], dtype=torch.bool)
    for each in schedule.boundaries(q.shape[1]):
        closed[each] = True
    seen = (gap >= 0) & ((gap <= window) | closed)
    repeat = q.shape[2] // k.shape[2]
    k, v = k.repeat_interleave(repeat, 2), v.repeat_interleave(repeat, 2)
    score = torch.einsum("bthd,bshd->bhts", q, k) / q.shape[-1] ** 0.5
    weight = score.masked_fill(~seen, -torch.inf).softmax(-1)
    return torch.einsum("bhts,bshd->bthd", weight, v).flatten(2)


def queries_keys_values():
    generator = torch.Generator().manual_seed(0)
    sizes = [(2, TOKENS, heads, 6) for heads in (4, 2, 2)]
    return [torch.randn(s, generator=generator, dtype=torch.float64, requires_grad=True) for s in sizes]


@pytest.mark.parametrize(("schedule", "window"), CASES, ids=str)
def test_chunked_attention_and_its_gradients_equal_the_masked_matrix(schedule, window):
    qkv = queries_keys_values()
    expected = dense(*qkv, schedule, window)
    gradients = torch.autograd.grad(expected.square().sum(), qkv)
    for attend, sight in [(attend_chunks, Sight), (attend_blocks, Blocks), (attend_all, Mask)]:
        found = attend(*qkv, sight(schedule, window, TOKENS, "cpu"))
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
        found = torch.autograd.grad(found.square().sum(), qkv)
        torch.testing.assert_close(found, gradients, rtol=1e-9, atol=1e-9)


def test_chunks_of_one_token_are_full_attention():
    qkv = queries_keys_values()
    everything = attend_all(*qkv)
    torch.testing.assert_close(attend_chunks(*qkv, Sight(Schedule(1), 0, TOKENS, "cpu")), everything)
    torch.testing.assert_close(attend_blocks(*qkv, Blocks(None, TOKENS, TOKENS, "cpu")), everything)


def test_boundaries_hold_every_chunk_end_once():
    for length in (1, 2, 5, 8):
        for offset in range(length):
            positions = torch.arange(40)
            found = torch.cat([positions[each] for each in Schedule(length, offset).boundaries(40)])
            expected = positions[(positions == 0) | ((positions + offset + 1) % length == 0)]
            assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("reach", [1, 8, 40, TOKENS])
@pytest.mark.parametrize("kind", ["blocks", "sight", "mask"])
def test_heads_that_see_differently_follow_the_rule_of_a_session(kind, reach):
    # Three KV heads of two queries each; the outer ones see everything, the middle one position 0 and its reach.
    generator = torch.Generator().manual_seed(0)
    sizes = [(2, TOKENS, heads, 6) for heads in (6, 3, 3)]
    qkv = [torch.randn(s, generator=generator, dtype=torch.float64, requires_grad=True) for s in sizes]
    near = {"blocks": Blocks, "sight": Sight, "mask": Mask}[kind](Schedule(0), reach - 1, TOKENS, "cpu")
    everything = Blocks(None, TOKENS, TOKENS, "cpu") if kind == "blocks" else None
    found = by_head.attend(*qkv, by_head.ByHead([([0, 2], everything), ([1], near)]))

    position = torch.arange(TOKENS)
    gap = position[:, None] - position
    visible = torch.stack([torch.ones_like(gap), (position == 0) | (gap < reach), torch.ones_like(gap)]).bool()
    visible &= gap >= 0
    q, k, v = qkv
    score = torch.einsum("btgrd,bsgd->bgrts", q.unflatten(2, (3, 2)), k) / 6**0.5
    weight = score.masked_fill(~visible[:, None], -torch.inf).softmax(-1)
    expected = torch.einsum("bgrts,bsgd->btgrd", weight, v).flatten(2)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    gradients = (torch.autograd.grad(each.square().sum(), qkv) for each in (found, expected))
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)
