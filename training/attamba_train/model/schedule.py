"""Chunk boundaries of one layer, as integer arithmetic on positions."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Schedule:
    """`length` P tokens per chunk (0: no chunks), boundaries shifted to the left by `offset`."""

    length: int
    offset: int = 0
    sink: bool = True
    """Whether position 0 is a chunk of its own."""

    @property
    def first(self) -> int:
        """The first position that closes a chunk, not counting position 0 as a sink."""
        return self.length - 1 - self.offset

    def boundaries(self, tokens: int) -> list[slice]:
        """Slices of positions below `tokens` that contain every boundary once, in order."""
        slices = [slice(0, 1)] if self.sink else []
        if self.length:
            start = self.first + self.length if self.sink and self.first == 0 else self.first
            slices.append(slice(start, tokens, self.length))
        return slices

    def chunk_of(self, positions: torch.Tensor) -> torch.Tensor:
        """The number of the chunk that contains each of `positions`, counted from 0."""
        chunk = (positions + self.offset) // self.length
        return torch.where(positions == 0, -1, chunk) + 1 if self.sink else chunk

    def start_of(self, chunk: torch.Tensor) -> torch.Tensor:
        """The first position of each `chunk`."""
        if not self.sink:
            return (chunk * self.length - self.offset).clamp(min=0)
        start = ((chunk - 1) * self.length - self.offset).clamp(min=1)
        # With the largest offset, position 0 also closes a regular chunk: number 1 is then empty.
        return torch.where(chunk == 0, 0, start)

    def reach(self, tokens: int, taps: int, device) -> list[torch.Tensor]:
        """For each `back` below `taps`: whether a token's chunk contains the one `back` before it, [T, 1]."""
        position = torch.arange(tokens, device=device)
        chunk = self.chunk_of(position)
        return [(chunk == chunk[(position - back).clamp(min=0)]).unsqueeze(1) for back in range(taps)]
