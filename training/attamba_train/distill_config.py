"""One YAML file: everything that decides what a distillation computes."""

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
    """The llama GGUF file that teaches, as a path from where the command runs."""
    data: DataConfig
    context: int
    """Tokens of a training sequence."""
    chunks: Chunks
    mixer: Mixer
    train: TrainConfig
    """`learning_rate` is that of the mixers."""
    match: str = "distribution"
    """What the student is to give back: what `attention` adds in each layer, or the next token's `distribution`."""
    windows: tuple[int, ...] = ()
    """The windows of which training draws one a step; empty: `chunks.window` alone."""
    attention_rate: float = 0.0
    """Learning rate of W_q, W_k, W_v and W_o as a share of `train.learning_rate`; 0 leaves them as they are."""
    init: str | None = None
    """A delta of the same base to go on from, as a path from where the command runs; None: mixers that add nothing."""

    def __post_init__(self):
        if self.match not in LESSONS:
            raise KitError(f"'match' is {self.match!r}; it may be {' or '.join(LESSONS)}.")
        if not 0.0 <= self.attention_rate <= 1.0:
            raise KitError(f"'attention_rate' is {self.attention_rate}; it must lie between 0 and 1.")
        if self.train.batch % self.train.accumulate:
            raise KitError(
                f"'train.accumulate' ({self.train.accumulate}) does not divide 'train.batch' ({self.train.batch})."
            )
        if self.mixer.scan == "strided":
            raise KitError("'mixer.scan' is strided, which no GGUF file can express; it may be reset or carried.")

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
    """A plan that follows the clock makes the settings anew every few steps, and the file is long."""
    return gguf_file.read_config(Path(path))


def load(path: Path) -> DistillConfig:
    return settings.read(DistillConfig, settings.load_yaml(path), str(path))
