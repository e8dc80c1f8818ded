"""The scan as its definition says, one token after the other: the reference for the results and the speed of `scan`."""

import torch

from .schedule import Schedule


class PlainScan:
    def __init__(self, kind: str, schedule: Schedule | None):
        """`kind`: reset, carried or strided; `schedule` None: no chunks."""
        self.kind, self.schedule = kind, schedule

    def __call__(self, x, dt, decay, b, c):
        """Shapes as in `scan.CarriedScan`."""
        per_group = x.shape[2] // b.shape[2]
        b, c = b.repeat_interleave(per_group, 2), c.repeat_interleave(per_group, 2)
        position = torch.arange(x.shape[1])
        chunk = self.schedule.chunk_of(position) if self.schedule else torch.zeros_like(position)
        start = self.schedule.start_of(chunk) if self.kind == "strided" else position
        slots = (position - start).tolist()
        states = [x.new_zeros(*x.shape[:1], *x.shape[2:], b.shape[-1])] * (max(slots) + 1)
        outputs = []
        for t, slot in enumerate(slots):
            if self.kind == "reset" and t and chunk[t] != chunk[t - 1]:
                states = [torch.zeros_like(states[0])]
            kept = decay[:, t].exp()[..., None, None]
            states = [kept * state for state in states]
            states[slot] = states[slot] + (dt[:, t, :, None] * x[:, t]).unsqueeze(-1) * b[:, t].unsqueeze(2)
            outputs.append((states[slot] * c[:, t].unsqueeze(2)).sum(-1))
        return torch.stack(outputs, 1)
