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
    train: TrainConfig
    """`learning_rate` applies to the mixers."""
    mixer: Mixer | None = None
    """None: no chunk states, so that `chunks.length` is 0 and the student remains a transformer."""
    far_heads: int = 0
    """How many KV heads see every token, whatever the others see: the first of those that the base's profile lists."""
    match: str = "distribution"
    """What the student should match: the `attention` output of each layer, or the next token's `distribution`."""
    windows: tuple[int, ...] = ()
    """The windows from which training draws one per step; empty: `chunks.window` only."""
    attention_rate: float = 0.0
    """Learning rate of W_q, W_k, W_v and W_o as a fraction of `train.learning_rate`; 0 leaves them unchanged."""
    init: str | None = None
    """A delta of the same base to continue from, or a whole file, relative to where the command runs; None: mixers that
    add nothing."""

    def __post_init__(self):
        if self.match not in LESSONS:
            raise KitError(f"'match' is {self.match!r}; it must be {' or '.join(LESSONS)}.")
        if self.far_heads < 0:
            raise KitError(f"'far_heads' is {self.far_heads}; it must be at least 0.")
        if not 0.0 <= self.attention_rate <= 1.0:
            raise KitError(f"'attention_rate' is {self.attention_rate}; it must be between 0 and 1.")
        if self.train.batch % self.train.accumulate:
            raise KitError(
                f"'train.accumulate' ({self.train.accumulate}) does not divide 'train.batch' ({self.train.batch})."
            )
        if self.mixer is None and (self.chunks.length or not self.attention_rate):
            raise KitError(
                "Without a 'mixer', 'chunks.length' must be 0, and 'attention_rate' above 0, or nothing is trained."
            )
        if self.mixer and self.mixer.scan == "strided":
            raise KitError("'mixer.scan' is strided, which GGUF files do not support; it must be reset or carried.")

    @cached_property
    def model(self) -> ModelConfig:
        base, far = _read_base(self.base, self.far_heads)
        chunks = replace(self.chunks, far_heads=far) if far else self.chunks
        return replace(pretrained.config_of(base, chunks, self.mixer), context=self.context)

    @property
    def step_tokens(self) -> int:
        return self.train.batch * self.context

    @property
    def steps(self) -> int:
        return max(1, self.train.tokens // self.step_tokens)

    def as_dict(self) -> dict:
        return dataclasses.asdict(self)


@lru_cache(maxsize=1)
def _read_base(path: str, count: int) -> tuple[ModelConfig, tuple[tuple[int, int], ...]]:
    """The base's shape, and the first `count` KV heads that its profile lists.

    Cached, because a schedule by wall-clock time remakes the settings every few steps, and the file is long.
    """
    base = gguf_file.read_config(Path(path))
    return base, pretrained.first_far_heads(Path(path), base, count)


def load(path: Path) -> DistillConfig:
    return settings.read(DistillConfig, settings.load_yaml(path), str(path))
