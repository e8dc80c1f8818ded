"""Attention of one layer, whose KV heads may see differently: a few everything, the others what is near."""

from dataclasses import dataclass, field

import torch

from .attention import Mask, Sight, attend_all, attend_chunks
from .blocked import Blocks, attend_blocks

Alike = Blocks | Sight | Mask | None
"""What all of some KV heads see; None: every token."""


@dataclass(frozen=True, eq=False)
class ByHead:
    """Groups of a layer's KV heads, each with what it sees."""

    groups: list[tuple[list[int], Alike]]
    order: list[int] = field(init=False)
    """Where each KV head is when the groups are one after the other."""

    def __post_init__(self):
        heads = [head for group, _ in self.groups for head in group]
        object.__setattr__(self, "order", sorted(range(len(heads)), key=heads.__getitem__))


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, sight: ByHead | Alike) -> torch.Tensor:
    """q [B, T, heads, D]; k, v [B, T, kv_heads, D]. Returns [B, T, heads * D]."""
    if isinstance(sight, ByHead):
        q = q.unflatten(2, (k.shape[2], -1))
        seen = [
            attend(q[:, :, heads].flatten(2, 3), k[:, :, heads], v[:, :, heads], of_group).unflatten(
                2, (len(heads), -1)
            )
            for heads, of_group in sight.groups
        ]
        return torch.cat(seen, 2)[:, :, sight.order].flatten(2)
    if sight is None or isinstance(sight, Mask):
        return attend_all(q, k, v, sight)
    return (attend_blocks if isinstance(sight, Blocks) else attend_chunks)(q, k, v, sight)
