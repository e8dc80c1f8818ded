"""How well a model predicts held-out windows."""

import math

import numpy as np
import torch
from torch import nn

from .errors import KitError

BATCH_TOKENS = 8192  # tokens scored at once: enough to keep a machine busy, few enough for its memory


@torch.no_grad()
def mean_loss(model: nn.Module, windows: np.ndarray, device: torch.device, chunk: int | None = None) -> float:
    """Mean cross-entropy in nats over windows [n, context + 1], in float32, each evaluated independently."""
    model.eval()
    count = max(1, BATCH_TOKENS // (windows.shape[1] - 1))
    total = 0.0
    for first in range(0, len(windows), count):
        part = torch.from_numpy(windows[first : first + count]).to(device)
        total += model(part[:, :-1], part[:, 1:], chunk).item() * len(part)
    model.train()
    return total / len(windows)


def text_loss(
    model: nn.Module, tokens: list[int], context: int, device: torch.device, chunk: int | None = None
) -> tuple[float, int]:
    """Mean cross-entropy of `tokens`, and the number of tokens it is averaged over.

    The text is split into windows of `context` tokens, each evaluated independently, with its first token not scored.
    """
    if not 2 <= context <= 1 << 20:
        raise KitError(f"A window of {context} tokens cannot be scored; it must have between 2 and {1 << 20}.")
    if len(tokens) < 2:
        raise KitError(f"The text has {len(tokens)} tokens; at least 2 are needed.")
    model = model.to(device)
    total, count = 0.0, 0
    for first in range(0, len(tokens) - 1, context):
        window = np.array([tokens[first : first + context]])
        scored = window.shape[1] - 1
        total += mean_loss(model, window, device, chunk) * scored
        count += scored
    return total / count, count


def perplexity(loss: float) -> float:
    return math.exp(min(loss, 700.0))
