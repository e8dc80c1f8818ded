"""Training throughput: whole steps on random tokens, so that no data is needed."""

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from .model import Decoder
from .run_config import RunConfig
from .trainer import make_optimizer


@dataclass
class Throughput:
    tokens_per_second: float
    """From the median of the measured steps."""
    tokens_per_cpu_second: float
    """The same by this process's CPU time, which is valid even while other work keeps the machine busy."""
    first_seconds: float
    """The first step, including compilation."""


def measure(config: RunConfig, device: torch.device, steps: int, plain: bool) -> Throughput:
    """`plain`: scan token by token, without compilation; otherwise the same model."""
    model = Decoder(config.model).init_weights(config.seed).to(device)
    model.plain = plain
    if config.train.compile and not plain:
        model.compile_training()
    optimizer = make_optimizer(model, config.train)
    count = config.train.batch // config.train.accumulate
    seconds = [_step(config, model, optimizer, count, device) for _ in range(steps + 1)]
    tokens = count * config.model.context
    wall, cpu = np.median(seconds[1:], axis=0)
    return Throughput(tokens / wall, tokens / cpu, seconds[0][0])


def _step(config: RunConfig, model: nn.Module, optimizer, count: int, device: torch.device) -> tuple[float, float]:
    """Wall-clock and CPU seconds that a step takes."""
    windows = torch.randint(config.model.vocab_size, (count, config.model.context + 1), device=device)
    begun, cpu_begun = time.monotonic(), time.process_time()
    with torch.autocast(device.type, torch.bfloat16, enabled=config.train.precision == "bfloat16"):
        loss = model(windows[:, :-1], windows[:, 1:])
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), config.train.clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.monotonic() - begun, time.process_time() - cpu_begun
