"""Which tokens are used in which step: a pure function of the seed and the step, so that a run can be resumed."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .errors import KitError


@dataclass
class Source:
    name: str
    tokens: np.ndarray
    passes: float
    """Passes over the source per epoch; a fraction takes that part, and the next epoch the following part."""


class Mixture:
    """Windows of `context` + 1 tokens (inputs and targets) drawn from several sources."""

    def __init__(self, sources: list[Source], context: int, seed: int):
        self.sources, self.context, self.seed = sources, context, seed
        # One window fewer than fits, so that all starts can be shifted.
        self.windows = [(len(source.tokens) - 1) // context - 1 for source in sources]
        for source, windows in zip(sources, self.windows, strict=True):
            if windows < 1:
                raise KitError(
                    f"'{source.name}' has {len(source.tokens)} tokens; a context of {context} needs at least "
                    f"{2 * context + 1}."
                )
            if not 0.0 < source.passes <= 1000.0:
                raise KitError(f"'{source.name}' has {source.passes} passes per epoch; it must be between 0 and 1000.")
        self.share = [max(1, round(s.passes * w)) for s, w in zip(sources, self.windows, strict=True)]
        self.epoch_windows = sum(self.share)
        self._epoch = lru_cache(maxsize=2)(self._make_epoch)
        self._pass = lru_cache(maxsize=4 * len(sources))(self._make_pass)

    def batch(self, first: int, count: int) -> np.ndarray:
        """Windows `first`..`first + count` of the endless sequence of windows: [count, context + 1]."""
        return np.stack([self.window(index) for index in range(first, first + count)])

    def window(self, index: int) -> np.ndarray:
        epoch, place = divmod(index, self.epoch_windows)
        order, starts = self._epoch(epoch)
        number = order[place]
        source = int(np.searchsorted(starts, number, "right")) - 1
        drawn = epoch * self.share[source] + number - starts[source]
        round_, place = divmod(int(drawn), self.windows[source])
        permutation, shift = self._pass(source, round_)
        start = int(permutation[place]) * self.context + shift
        return self.sources[source].tokens[start : start + self.context + 1].astype(np.int64)

    def _make_epoch(self, epoch: int):
        starts = np.concatenate([[0], np.cumsum(self.share)[:-1]])
        return np.random.default_rng([self.seed, 1, epoch]).permutation(self.epoch_windows), starts

    def _make_pass(self, source: int, round_: int):
        random = np.random.default_rng([self.seed, 2, source, round_])
        return random.permutation(self.windows[source]), int(random.integers(self.context))


def even_windows(tokens: np.ndarray, context: int, at_most: int) -> np.ndarray:
    """Windows of `context` + 1 tokens spread evenly over `tokens`, about `at_most` tokens in total."""
    windows = (len(tokens) - 1) // context
    count = max(1, min(windows, at_most // context))
    if windows < 1:
        raise KitError(f"{len(tokens)} tokens are held out, but a context of {context} needs {context + 1}.")
    starts = np.arange(count) * windows // count * context
    return np.stack([tokens[start : start + context + 1] for start in starts]).astype(np.int64)
