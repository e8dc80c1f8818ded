"""One YAML file: everything that determines what a training run computes."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from . import settings
from .errors import KitError
from .model import ModelConfig

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class DataConfig:
    tokenizer: str
    """File name in the data folder."""
    sources: dict[str, float]
    """Passes per epoch for each packed source in the data folder."""


@dataclass(frozen=True)
class TrainConfig:
    tokens: int
    """Total tokens to train on; the learning rate reaches its final value there."""
    batch: int
    """Windows per step, over all processes."""
    learning_rate: float
    warmup: int
    """Steps."""
    accumulate: int = 1
    """Number of parts that a step's windows are split into and computed one after the other."""
    final_learning_rate: float = 0.1
    """As a fraction of `learning_rate`."""
    weight_decay: float = 0.1
    beta2: float = 0.95
    clip: float = 1.0
    precision: str = "bfloat16"
    compile: bool = True
    validate_every: int = 500
    """Steps."""
    validation_tokens: int = 65536
    """From each source."""
    checkpoint_every: int = 200
    """Steps."""

    def __post_init__(self):
        for name in (
            "tokens",
            "batch",
            "accumulate",
            "validate_every",
            "validation_tokens",
            "checkpoint_every",
        ):
            if not 1 <= getattr(self, name) <= 10**13:
                raise KitError(f"'train.{name}' is {getattr(self, name)}; it must be at least 1.")
        if self.warmup < 0:
            raise KitError(f"'train.warmup' is {self.warmup}; it must not be negative.")
        for name, low, high in (
            ("learning_rate", 0.0, 1.0),
            ("final_learning_rate", 0.0, 1.0),
            ("weight_decay", 0.0, 10.0),
            ("beta2", 0.5, 0.99999),
            ("clip", 1e-6, 1e6),
        ):
            if not low <= getattr(self, name) <= high:
                raise KitError(f"'train.{name}' is {getattr(self, name)}; it must be between {low} and {high}.")
        if self.precision not in PRECISIONS:
            raise KitError(f"'train.precision' is {self.precision!r}; it must be {' or '.join(PRECISIONS)}.")


@dataclass(frozen=True)
class RunConfig:
    name: str
    seed: int
    data: DataConfig
    model: ModelConfig
    train: TrainConfig
    init: str | None = None
    """A GGUF file with the initial weights, as a path relative to where the command runs; None: random weights."""

    def __post_init__(self):
        if not 0 <= self.seed < 2**31:
            raise KitError(f"'seed' is {self.seed}; it must be between 0 and {2**31 - 1}.")
        if self.train.batch % self.train.accumulate:
            raise KitError(
                f"'train.accumulate' ({self.train.accumulate}) does not divide 'train.batch' ({self.train.batch})."
            )
        if not self.data.sources:
            raise KitError("'data.sources' names no source.")
        if self.model.family:
            raise KitError("'model.family' is set; only the models of files have a family, those of runs are plain.")

    @property
    def step_tokens(self) -> int:
        return self.train.batch * self.model.context

    @property
    def steps(self) -> int:
        return max(1, self.train.tokens // self.step_tokens)

    def as_dict(self) -> dict:
        return dataclasses.asdict(self)


def load(path: Path) -> RunConfig:
    return settings.read(RunConfig, settings.load_yaml(path), str(path))
