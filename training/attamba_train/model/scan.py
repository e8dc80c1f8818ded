"""The Mamba-2 scan as matrix products over blocks of tokens instead of a loop over tokens.

Within a block, output `t` is a sum over inputs `j <= t`, weighted by `C_t . B_j` and by the decay between
them: one small masked matrix per head. A state that runs on enters each later block once. A scan that is reset
at each chunk is the same sum with the pairs of unequal chunks masked out, and needs no state at all.
"""

import torch
from torch.nn import functional as F

from .schedule import Schedule

BLOCK = 16  # tokens: measured fastest on a CPU among 8, 16, 32 and 64 (`attamba-train bench`)


class CarriedScan:
    """One state through the whole sequence."""

    def __call__(self, x, dt, decay, b, c):
        """x [B, T, H, p] inputs; dt [B, T, H] step sizes; decay [B, T, H] logarithm of the decay on entering
        each token (<= 0); b, c [B, T, G, N]. Returns y [B, T, H, p].
        """
        tokens = x.shape[1]
        blocks = _Blocks(*(_pad(each, 0, BLOCK) for each in (x, dt, decay, b, c)), block=BLOCK)
        causal = torch.ones(BLOCK, BLOCK, dtype=torch.bool, device=x.device).tril()
        return (blocks.within(causal) + blocks.across()).flatten(1, 2)[:, :tokens]


class ResetScan:
    """A fresh state at the first token of each chunk."""

    def __init__(self, schedule: Schedule, tokens: int, device):
        self.block = schedule.length * -(-BLOCK // schedule.length)
        # Padding on the left by the offset makes chunk edges coincide with block edges.
        self.left = schedule.offset
        padded = self.left + tokens + -(self.left + tokens) % self.block
        chunk = schedule.chunk_of(torch.arange(padded, device=device) - self.left)
        rows = chunk.view(-1, 1, 1, self.block)
        self.visible = (rows.unsqueeze(-1) == rows.unsqueeze(-2)).tril()  # [n, 1, 1, Q, Q]

    def __call__(self, x, dt, decay, b, c):
        """Shapes as in `CarriedScan`."""
        tokens = x.shape[1]
        blocks = _Blocks(*(_pad(each, self.left, self.block) for each in (x, dt, decay, b, c)), block=self.block)
        return blocks.within(self.visible).flatten(1, 2)[:, self.left : self.left + tokens]


class StridedScan:
    """One state for each position inside a chunk: a token meets those of equal position in earlier chunks.

    All states decay at every token.
    """

    def __init__(self, schedule: Schedule, tokens: int, device):
        self.length = schedule.length
        position = torch.arange(tokens, device=device)
        chunk = schedule.chunk_of(position)
        self.rows = int(chunk[-1]) + 1
        self.cell = chunk * self.length + position - schedule.start_of(chunk)
        """Where each token is in the grid [row: chunk, column: position in it]."""

    def __call__(self, x, dt, decay, b, c):
        """Shapes as in `CarriedScan`."""
        passed = self._columns(self._grid(decay).cumsum(1))
        between = torch.diff(passed, dim=1, prepend=passed[:, :1])
        x, dt, b, c = (self._columns(self._grid(each)) for each in (x, dt, b, c))
        y = CarriedScan()(x, dt, between, b, c)
        return y.unflatten(0, (-1, self.length)).transpose(1, 2).flatten(1, 2).index_select(1, self.cell)

    def _grid(self, each):
        """[B, T, ...] to [B, rows * columns, ...], zeros in the cells without a token."""
        empty = each.new_zeros(each.shape[0], self.rows * self.length, *each.shape[2:])
        return empty.index_copy(1, self.cell, each)

    def _columns(self, grid):
        """[B, rows * columns, ...] to [B * columns, rows, ...]: each column a sequence of its own."""
        return grid.unflatten(1, (self.rows, self.length)).transpose(1, 2).flatten(0, 1)


class _Blocks:
    """The inputs of a scan split into n blocks of Q tokens, with the heads separated."""

    def __init__(self, x, dt, decay, b, c, block: int):
        self.block = block
        groups, heads = b.shape[2], x.shape[2]
        self.shape = (groups, heads // groups)
        self.x = self._cut(x)  # [B, n, G, H/G, Q, p]
        self.dt = self._cut(dt.unsqueeze(-1)).squeeze(-1)  # [B, n, G, H/G, Q]
        self.b = b.unflatten(1, (-1, block)).transpose(2, 3).unsqueeze(3)  # [B, n, G, 1, Q, N]
        self.c = c.unflatten(1, (-1, block)).transpose(2, 3).unsqueeze(3)
        self.passed = self._cut(decay.unsqueeze(-1)).squeeze(-1).cumsum(-1)  # [B, n, G, H/G, Q]

    def _cut(self, each):
        """[B, T, H, ...] to [B, n, G, H/G, Q, ...]."""
        cut = each.unflatten(1, (-1, self.block)).transpose(2, 3)
        return cut.unflatten(2, self.shape)

    def within(self, visible):
        """What the tokens of a block contribute to its outputs: [B, n, Q, H, p].

        `visible` [Q, Q] or [n, 1, 1, Q, Q]: whether output t may see input j.
        """
        gap = self.passed.unsqueeze(-1) - self.passed.unsqueeze(-2)
        # Masked before the exponential: a gap backwards in time is positive and could overflow.
        weight = gap.masked_fill(~visible, -torch.inf).exp() * self.dt.unsqueeze(-2)
        y = (weight * (self.c @ self.b.transpose(-1, -2))) @ self.x
        return y.flatten(2, 3).transpose(2, 3)

    def across(self):
        """What the previous blocks contribute to the outputs of a block: [B, n, Q, H, p]."""
        total = self.passed[..., -1]  # [B, n, G, H/G]
        left = (total.unsqueeze(-1) - self.passed).exp() * self.dt
        state = (self.x * left.unsqueeze(-1)).transpose(-1, -2) @ self.b  # [B, n, G, H/G, p, N], at the block's end
        total = total.movedim(1, -1).cumsum(-1)  # [B, G, H/G, n]
        gap = F.pad(total, (1, 0))[..., :-1].unsqueeze(-1) - total.unsqueeze(-2)
        count = torch.arange(gap.shape[-1], device=gap.device)
        reach = gap.masked_fill(count.unsqueeze(1) <= count, -torch.inf).exp()
        enters = reach @ state.movedim(1, 3).flatten(-2)  # [B, G, H/G, n, p * N]
        enters = enters.unflatten(-1, state.shape[-2:]).movedim(3, 1)
        y = (self.c @ enters.transpose(-1, -2)) * self.passed.exp().unsqueeze(-1)
        return y.flatten(2, 3).transpose(2, 3)


def _pad(each, left: int, block: int):
    """Zeros before and after the tokens of [B, T, ...]: `left` of them, then up to a multiple of `block`."""
    right = -(left + each.shape[1]) % block
    if not left and not right:
        return each
    return F.pad(each, (0, 0) * (each.dim() - 2) + (left, right))
