"""The training loop: the resulting weights are the same however often it is stopped and resumed."""

import math
import signal
import time
from collections import deque
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from . import checkpoint, csv_log, evaluate, plot, run_folder, token_file, tokenizer, weights
from .batches import Mixture, Source, even_windows
from .errors import KitError
from .model import Decoder
from .processes import Processes
from .run_config import RunConfig, TrainConfig

LOG_EVERY = 10  # steps between two rows of the log; reading a loss from a GPU makes it wait
# Settings that may change during a run. `tokens` makes the run longer or shorter: the learning rate follows the new
# schedule from the next step on. `accumulate` fits a step to the machine and changes only rounding. The others decide
# how closely a run is monitored, not what it computes.
FREE_SETTINGS = {"tokens", "accumulate", "validate_every", "validation_tokens", "checkpoint_every"}


class Trainer:
    def __init__(self, config: RunConfig, data: Path, folder: Path, processes: Processes):
        """`data`: folder of the tokenizer and packed sources; `folder`: where checkpoint and logs go."""
        self.config, self.folder, self.processes = config, folder, processes
        self.mixture, self.held_out = load_data(config, data)
        parts = config.train.accumulate * processes.count
        if config.train.batch % parts:
            raise KitError(
                f"'train.batch' ({config.train.batch}) is not a multiple of accumulate * processes "
                f"({config.train.accumulate} * {processes.count})."
            )
        self.micro_batch = config.train.batch // parts
        begun = checkpoint.exists(folder)
        self.model = self._make_model(data, begun).to(processes.device)
        self.optimizer = self._make_optimizer()
        self.step, self.seconds = 0, 0.0
        folder.mkdir(parents=True, exist_ok=True)
        if begun:
            self._resume(checkpoint.load(folder))
        if processes.first:
            run_folder.describe(folder, config, data)
        if config.train.compile:
            self.model.compile_training()
        self.parallel = processes.wrap(self._make_objective())

    def run(self, minutes: float | None = None, within: float | None = None) -> bool:
        """Train to the end or for `minutes`; a request to stop (Ctrl-C, SIGTERM) takes effect after the current step.

        With `within`, `train.tokens` is chosen so that the run is complete after that many minutes at the speed of
        the last steps. Returns whether the run is complete.
        """
        first = self.processes.first
        begun, tokens_before, seconds_before = time.monotonic(), self._tokens(), self.seconds
        if within is not None and self.processes.count > 1:
            raise KitError("'--within' works with one process only; several would choose different schedules.")
        pace = None if within is None else Pace(begun + within * 60)
        stop = _StopSignal()
        logs = self._open_logs() if first else None
        bar = tqdm(
            total=self.config.steps,
            initial=self.step,
            unit="step",
            desc=self.config.name,
            disable=None if first else True,
        )
        waiting = []
        while self.step < self.config.steps:
            out_of_time = minutes is not None and time.monotonic() - begun >= minutes * 60
            if self.processes.any(stop.asked or out_of_time):
                break
            waiting.append(self.train_step())
            self.seconds = seconds_before + time.monotonic() - begun
            bar.update()
            due = self.step % self.config.train.validate_every == 0 or self.step == self.config.steps
            if first and (due or len(waiting) == LOG_EVERY):
                loss = self._log(logs[0], waiting)
                speed = (self._tokens() - tokens_before) / (time.monotonic() - begun)
                bar.set_postfix_str(f"loss {loss:.3f}, {speed:.0f} tokens/s")
                if pace is not None:
                    self._plan(pace.steps_left(self.step, time.monotonic()))
                    bar.total = self.config.steps
                    due = due or self.step == self.config.steps
            if first and due:
                self._validate(logs[1], bar, speed)
            if first and self.step % self.config.train.checkpoint_every == 0:
                self.save()
        bar.close()
        if first:
            self._log(logs[0], waiting)
            self.save()
            for log in logs:
                log.close()
            plot.losses(self.folder, self.config.name)
        stop.restore()
        return self.step >= self.config.steps

    def _plan(self, steps_left: int | None):
        """Set how many steps remain (None: leave the schedule unchanged)."""
        if steps_left is None:
            return
        tokens = self._tokens() + steps_left * self.config.step_tokens
        self.config = replace(self.config, train=replace(self.config.train, tokens=max(1, tokens)))

    def train_step(self) -> dict:
        """One update of the weights; returns its figures, with the loss and the norm still on the device."""
        config, train = self.config, self.config.train
        rate = learning_rate(self.step, config.steps, train)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("share", 1.0)
        lengths = self._draw()
        loss = torch.zeros((), device=self.processes.device)
        for part in range(train.accumulate):
            windows = self._windows(part)
            last = part == train.accumulate - 1
            several = isinstance(self.parallel, DistributedDataParallel)
            with self.parallel.no_sync() if several and not last else nullcontext():
                with self._autocast():
                    part_loss = self.parallel(windows[:, :-1], windows[:, 1:], **lengths) / train.accumulate
                part_loss.backward()
            loss += part_loss.detach()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), train.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return {
            "step": self.step,
            "tokens": self._tokens(),
            "chunk": lengths.get("chunk", ""),
            "loss": self.processes.mean(loss),
            "gradient_norm": norm,
            "learning_rate": f"{rate:.4g}",
        }

    def save(self):
        """Write the state after the last step, and the settings, whose schedule may have changed."""
        run_folder.note(self.folder, self.config)
        checkpoint.save(
            self.folder,
            {
                "step": self.step,
                "seconds": self.seconds,
                "config": self.config.as_dict(),
                "model": self._weights(),
                "optimizer": self.optimizer.state_dict(),
            },
        )

    def _resume(self, state: dict):
        difference = _first_difference(state["config"], self.config.as_dict())
        if difference:
            raise KitError(f"{self.folder} holds a run with other settings: {difference}. Choose another folder.")
        self._load_weights(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]

    def _tokens(self) -> int:
        return self.step * self.config.step_tokens

    def _make_model(self, data: Path, begun: bool) -> Decoder:
        """`begun`: whether a checkpoint will provide the weights."""
        return Decoder(self.config.model) if begun else weights.first(self.config, data)

    def _make_objective(self) -> nn.Module:
        """The module that computes the loss of a batch."""
        return self.model

    def _make_optimizer(self) -> torch.optim.Optimizer:
        return make_optimizer(self.model, self.config.train)

    def _weights(self) -> dict[str, torch.Tensor]:
        """The part of the model that a checkpoint keeps."""
        return self.model.state_dict()

    def _load_weights(self, state: dict[str, torch.Tensor]):
        self.model.load_state_dict(state)

    def _draw(self) -> dict[str, int]:
        """The lengths for this step, the same in all processes: none for a model without chunks."""
        chunks = self.config.model.chunks
        if chunks is None:
            return {}
        return {"chunk": int(np.random.default_rng([self.config.seed, 3, self.step]).choice(chunks.lengths))}

    def _score(self, windows: np.ndarray, chunk: int | None) -> float:
        """Loss on held-out `windows`."""
        return evaluate.mean_loss(self.model, windows, self.processes.device, chunk)

    def _windows(self, part: int) -> torch.Tensor:
        """[micro batch, context + 1] for this step, part and process."""
        place = part * self.processes.count + self.processes.rank
        first = self.step * self.config.train.batch + place * self.micro_batch
        windows = torch.from_numpy(self.mixture.batch(first, self.micro_batch))
        return windows.to(self.processes.device)

    def _autocast(self):
        enabled = self.config.train.precision == "bfloat16"
        return torch.autocast(self.processes.device.type, torch.bfloat16, enabled=enabled)

    def _open_logs(self) -> list[csv_log.CsvLog]:
        return [
            csv_log.CsvLog(self.folder / "train.csv", csv_log.TRAIN_COLUMNS, self.step),
            csv_log.CsvLog(self.folder / "validation.csv", csv_log.VALIDATION_COLUMNS, self.step),
        ]

    def _log(self, log: csv_log.CsvLog, waiting: list[dict]) -> float:
        """Write the figures of the `waiting` steps and clear them; returns the last loss."""
        loss = math.nan
        for figures in waiting:
            loss = figures["loss"].item()
            if not math.isfinite(loss):
                raise KitError(
                    f"The loss of step {figures['step']} is {loss}; a lower learning rate or a longer warm-up may help."
                )
            norm = f"{figures['gradient_norm'].item():.4g}"
            log.write(**figures | {"loss": f"{loss:.5f}", "gradient_norm": norm, "seconds": f"{self.seconds:.1f}"})
        waiting.clear()
        return loss

    def _validate(self, log: csv_log.CsvLog, bar: tqdm, speed: float):
        chunks = self.config.model.chunks
        text = []
        for chunk in chunks.lengths if chunks else [None]:
            for source, windows in self.held_out.items():
                loss = self._score(windows, chunk)
                scored = windows.shape[0] * (windows.shape[1] - 1)
                log.write(
                    step=self.step,
                    tokens=self._tokens(),
                    chunk=chunk or "",
                    source=source,
                    scored_tokens=scored,
                    loss=f"{loss:.5f}",
                )
                text.append(f"{source}{f' P {chunk}' if chunk else ''} {evaluate.perplexity(loss):.2f}")
        left = (self.config.steps - self.step) * self.config.step_tokens / speed / 60
        bar.write(
            f"step {self.step} of {self.config.steps}: perplexity {', '.join(text)}; "
            f"{speed:.0f} tokens/s, {left:.0f} min left"
        )


class Pace:
    """How many more steps fit before a deadline, judging by how long the last ones took."""

    def __init__(self, end: float):
        """`end`: of the run, by `time.monotonic`."""
        self.end = end
        self._before: tuple[int, float] | None = None
        self._seconds = deque(maxlen=5)
        """Seconds per step, each a mean since the last call; their median is robust against a validation."""

    def steps_left(self, step: int, now: float) -> int | None:
        """Call every few steps; the first call returns no answer, since the steps before it include compilation."""
        before, self._before = self._before, (step, now)
        if before is None or step == before[0]:
            return None
        self._seconds.append((now - before[1]) / (step - before[0]))
        return max(0, int((self.end - now) / median(self._seconds)))


def load_data(config: RunConfig, folder: Path) -> tuple[Mixture, dict[str, np.ndarray]]:
    """What a run trains on, and its held-out windows by source."""
    text = tokenizer.load(folder / config.data.tokenizer)
    if text.get_vocab_size() != config.model.vocab_size:
        raise KitError(
            f"'model.vocab_size' is {config.model.vocab_size}, but the tokenizer has {text.get_vocab_size()} entries."
        )
    context = config.model.context
    sources = [
        Source(name, token_file.read(folder, name, "train", text), passes)
        for name, passes in config.data.sources.items()
    ]
    held_out = {
        name: even_windows(token_file.read(folder, name, "validation", text), context, config.train.validation_tokens)
        for name in config.data.sources
    }
    return Mixture(sources, context, config.seed), held_out


def make_optimizer(model: nn.Module, train: TrainConfig) -> torch.optim.Optimizer:
    """AdamW with weight decay only for matrices, since norms, biases and decays have a scale of their own."""
    matrices = [p for name, p in model.named_parameters() if p.dim() == 2 and not name.endswith("conv")]
    others = [p for name, p in model.named_parameters() if p.dim() != 2 or name.endswith("conv")]
    groups = [
        {"params": matrices, "weight_decay": train.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=train.learning_rate, betas=(0.9, train.beta2), fused=True)


def learning_rate(step: int, steps: int, train: TrainConfig) -> float:
    """Linear warm-up, then half a cosine down to the final rate."""
    if step < train.warmup:
        return train.learning_rate * (step + 1) / train.warmup
    done = (step - train.warmup) / max(1, steps - train.warmup)
    final = train.final_learning_rate
    return train.learning_rate * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done)))


class _StopSignal:
    """Catches Ctrl-C and SIGTERM instead of dying; a second one kills as usual."""

    def __init__(self):
        self.asked = False
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}

    def _note(self, number, frame):
        self.asked = True
        self.restore()

    def restore(self):
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _first_difference(old: dict, new: dict, where: str = "") -> str | None:
    for key in new:
        before, after = old.get(key), new[key]
        if key in FREE_SETTINGS:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            found = _first_difference(before, after, f"{where}{key}.")
            if found:
                return found
        elif before != after:
            return f"'{where}{key}' was {before!r} and is now {after!r}"
    return None
