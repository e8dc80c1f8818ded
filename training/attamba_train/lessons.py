"""Distillation losses: match the teacher's attention layer by layer, or its distribution of the next token."""

import torch
from torch import nn
from torch.nn import functional as F

from .model import Decoder

SLICE = {"cpu": 128, "cuda": 2048}  # tokens whose logits are held at once: a vocabulary is wide, and float32


class Attention(nn.Module):
    """How far each layer's attention output is from the teacher's, given the same inputs.

    No gradient passes from layer to layer, so a step is cheap, and each layer gets its own error signal.
    """

    def __init__(self, student: Decoder, teacher: Decoder):
        super().__init__()
        self.student, self.teacher = student, teacher

    def forward(self, tokens, _, chunk: int | None = None, window: int | None = None):
        """Squared error as a fraction of the squared target, averaged over the layers. tokens [B, T]."""
        count, device = tokens.shape[1], tokens.device
        tables, taught = self.teacher.plan(count, None, device)
        _, learned = self.student.plan(count, chunk, device, window)
        h = self.teacher.embed(tokens)
        errors = []
        for teacher, student, theirs, ours in zip(self.teacher.blk, self.student.blk, taught, learned, strict=True):
            with torch.no_grad():
                target = teacher.attend(h, tables, theirs).to(h.dtype)
            errors.append((student.attend(h, tables, ours) - target).square().sum() / target.square().sum())
            with torch.no_grad():
                h = teacher.feed(h + target)
        return torch.stack(errors).mean()


class Distribution(nn.Module):
    """How far the student's predictions are from its teacher's."""

    def __init__(self, student: Decoder, teacher: Decoder):
        super().__init__()
        self.student, self.teacher = student, teacher

    def forward(self, tokens, _, chunk: int | None = None, window: int | None = None):
        """Mean over the tokens [B, T] of the KL divergence of the student's next token from the teacher's, in nats."""
        count, device = tokens.shape[1], tokens.device
        with torch.no_grad():
            taught = self.teacher.hidden(tokens, *self.teacher.plan(count, None, device))
        learned = self.student.hidden(tokens, *self.student.plan(count, chunk, device, window))
        return divergence(learned.flatten(0, 1), taught.flatten(0, 1), self.student.output_weight)


def divergence(learned: torch.Tensor, taught: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    """Mean KL divergence of the distributions that `output` [V, width], frozen, produces from both [n, width]."""
    return _Divergence.apply(learned, taught, output)


class _Divergence(torch.autograd.Function):
    """Loss and gradient in one pass: the logits, which are wide, are computed once and never kept."""

    @staticmethod
    def forward(ctx, learned, taught, output):
        total, gradient = torch.zeros((), device=learned.device), torch.empty_like(learned)
        count = SLICE[learned.device.type]
        for ours, theirs, part in zip(*(each.split(count) for each in (learned, taught, gradient)), strict=True):
            ours, theirs = (F.linear(each, output).float().log_softmax(-1) for each in (ours, theirs))
            wanted = theirs.exp()
            total += (wanted * (theirs - ours)).sum()
            part.copy_(torch.mm(ours.exp_().sub_(wanted), output))
        ctx.save_for_backward(gradient.div_(len(learned)))
        return total / len(learned)

    @staticmethod
    def backward(ctx, incoming):
        (gradient,) = ctx.saved_tensors
        return gradient * incoming, None, None


LESSONS = {"attention": Attention, "distribution": Distribution}
