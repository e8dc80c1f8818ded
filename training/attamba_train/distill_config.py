"""One YAML file: everything that determines what a distillation computes."""

import dataclasses
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

from . import gguf_file, pretrained, settings
from .errors import KitError
from .lessons import LESSONS
from .model import Chunks, Mixer, ModelConfig
from .run_config import DataConfig, TrainConfig


@dataclass(frozen=True)
class DistillConfig:
    name: str
    seed: int
    base: str
    """The teacher's GGUF file, as a path relative to where the command runs."""
    data: DataConfig
    context: int
    """Tokens of a training sequence."""
    chunks: Chunks
    mixer: Mixer
    train: TrainConfig
    """`learning_rate` applies to the mixers."""
    match: str = "distribution"
    """What the student should match: the `attention` output of each layer, or the next token's `distribution`."""
    windows: tuple[int, ...] = ()
    """The windows from which training draws one per step; empty: `chunks.window` only."""
    attention_rate: float = 0.0
    """Learning rate of W_q, W_k, W_v and W_o as a fraction of `train.learning_rate`; 0 leaves them unchanged."""
    init: str | None = None
    """A delta of the same base to continue from, relative to where the command runs; None: mixers that add nothing."""

    def __post_init__(self):
        if self.match not in LESSONS:
            raise KitError(f"'match' is {self.match!r}; it must be {' or '.join(LESSONS)}.")
        if not 0.0 <= self.attention_rate <= 1.0:
            raise KitError(f"'attention_rate' is {self.attention_rate}; it must be between 0 and 1.")
        if self.train.batch % self.train.accumulate:
            raise KitError(
                f"'train.accumulate' ({self.train.accumulate}) does not divide 'train.batch' ({self.train.batch})."
            )
        if self.mixer.scan == "strided":
            raise KitError("'mixer.scan' is strided, which GGUF files do not support; it must be reset or carried.")

    @cached_property
    def model(self) -> ModelConfig:
        return replace(pretrained.config_of(_read_base(self.base), self.chunks, self.mixer), context=self.context)

    @property
    def step_tokens(self) -> int:
        return self.train.batch * self.context

    @property
    def steps(self) -> int:
        return max(1, self.train.tokens // self.step_tokens)

    def as_dict(self) -> dict:
        return dataclasses.asdict(self)


@lru_cache(maxsize=1)
def _read_base(path: str) -> ModelConfig:
    """Cached, because a schedule by wall-clock time remakes the settings every few steps, and the file is long."""
    return gguf_file.read_config(Path(path))


def load(path: Path) -> DistillConfig:
    return settings.read(DistillConfig, settings.load_yaml(path), str(path))
