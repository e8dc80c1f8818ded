"""The shape of a model. Which parts are present decides what it is:

| chunks | mixer | architecture                                                              |
|--------|-------|---------------------------------------------------------------------------|
| yes    | yes   | attamba: keys and values through a scan, chunk boundaries and a window     |
| yes    | no    | sparse: a transformer that sees boundary tokens and a window (length 0: only the window) |
| no     | no    | transformer: full attention                                               |
| no     | yes   | mamba: pure Mamba-2, no attention                                         |
"""

from dataclasses import dataclass

from ..errors import KitError
from .family import PLAIN, Family

SCANS = ("reset", "carried", "strided")
# Limits far above anything this kit is for: they turn a typo into an error message instead of an allocation.
MAX_SIZE = 1 << 20
MAX_LAYERS = 1024


@dataclass(frozen=True)
class Chunks:
    """What a query sees: the last token of each chunk, and a window of recent tokens; a few KV heads see everything."""

    length: int
    """P, tokens per chunk; 0 for none (a sliding window)."""
    window: int
    """L: a token sees itself and the L tokens before it."""
    offsets: str | list[int] = "cyclic"
    """`cyclic` (staggered over the layers), `uniform` (equal in all), or one number per layer."""
    sink: bool = True
    """Whether position 0 always stays visible, as a chunk of its own."""
    trained_lengths: tuple[int, ...] = ()
    """The values of P from which training draws one per batch; empty: only `length`."""
    far_heads: tuple[tuple[int, int], ...] = ()
    """Layer and index of the KV heads that see every token, the best first."""

    def __post_init__(self):
        _within("chunks.length", self.length, 0, MAX_SIZE)
        _within("chunks.window", self.window, 0, MAX_SIZE)
        for length in self.trained_lengths:
            _within("chunks.trained_lengths", length, 1, MAX_SIZE)
        if self.trained_lengths and self.length not in self.trained_lengths:
            raise KitError(
                f"'model.chunks.length' is {self.length}, which is not among 'trained_lengths' "
                f"{list(self.trained_lengths)}."
            )
        if self.trained_lengths and not isinstance(self.offsets, str):
            raise KitError("'model.chunks.offsets' must be cyclic or uniform if several lengths are trained.")
        if isinstance(self.offsets, str) and self.offsets not in ("cyclic", "uniform"):
            raise KitError(f"'model.chunks.offsets' is {self.offsets!r}; it must be cyclic, uniform or a list.")

    @property
    def lengths(self) -> tuple[int, ...]:
        """Every P that training draws from."""
        return self.trained_lengths or (self.length,)

    def offset(self, layer: int, layers: int, length: int) -> int:
        """Tokens by which the boundaries of `layer` are shifted to the left, for chunks of `length`."""
        if self.offsets == "uniform":
            return 0
        return layer * length // layers if self.offsets == "cyclic" else self.offsets[layer]


@dataclass(frozen=True)
class Mixer:
    """The Mamba-2 mixers (one for the keys and one for the values of each layer)."""

    inner: int
    """I, channels of the scan."""
    state: int
    """N, state elements per channel."""
    heads: int
    """H, scan heads: one decay each."""
    groups: int = 1
    """G, groups of heads that share B and C."""
    conv: int = 4
    """C, taps of the causal convolution."""
    scan: str = "reset"
    """`reset` at each chunk, `carried` through, or `strided` (equal positions of neighboring chunks)."""

    def __post_init__(self):
        for name in ("inner", "state", "heads", "groups"):
            _within(f"mixer.{name}", getattr(self, name), 1, MAX_SIZE)
        _within("mixer.conv", self.conv, 1, 64)
        _divides("mixer.heads", self.heads, "mixer.inner", self.inner)
        _divides("mixer.groups", self.groups, "mixer.heads", self.heads)
        if self.scan not in SCANS:
            raise KitError(f"'model.mixer.scan' is {self.scan!r}; it must be one of {', '.join(SCANS)}.")

    @property
    def convolved(self) -> int:
        """Channels that pass through the convolution: x, B and C."""
        return self.inner + 2 * self.groups * self.state


@dataclass(frozen=True)
class ModelConfig:
    """The whole decoder; lengths in tokens, the rest in elements."""

    vocab_size: int
    context: int
    width: int
    layers: int
    heads: int = 1
    kv_heads: int = 0
    """0: as many as `heads`."""
    head_dim: int = 0
    """0: width / heads."""
    feed_forward: int = 0
    """F; only pure Mamba-2 goes without (0)."""
    projected_kv: bool = True
    """Whether W_k and W_v exist; required for a model without a mixer."""
    tied: bool = True
    """Whether the output matrix is the embedding."""
    rope_base: float = 10000.0
    norm_eps: float = 1e-5
    chunks: Chunks | None = None
    mixer: Mixer | None = None
    family: Family | None = None
    """What the model of a file has beyond a llama."""

    def __post_init__(self):
        for name in ("vocab_size", "context", "width", "heads"):
            _within(name, getattr(self, name), 1, MAX_SIZE)
        _within("layers", self.layers, 1, MAX_LAYERS)
        for name in ("kv_heads", "head_dim", "feed_forward"):
            _within(name, getattr(self, name), 0, MAX_SIZE)
        if not 1.0 < self.rope_base < 1e12:
            raise KitError(f"'model.rope_base' is {self.rope_base}; it must be between 1 and 1e12.")
        if not 0.0 < self.norm_eps < 1.0:
            raise KitError(f"'model.norm_eps' is {self.norm_eps}; it must be between 0 and 1.")
        object.__setattr__(self, "kv_heads", self.kv_heads or self.heads)
        if not self.head_dim:
            _divides("heads", self.heads, "width", self.width)
            object.__setattr__(self, "head_dim", self.width // self.heads)
        _divides("kv_heads", self.kv_heads, "heads", self.heads)
        if self.architecture == "mamba":
            if self.mixer.scan != "carried":
                raise KitError("A model of mixers only has no chunks, so 'model.mixer.scan' must be carried.")
            return
        _within("feed_forward", self.feed_forward, 1, MAX_SIZE)
        if self.head_dim % 2:
            raise KitError(f"A head has {self.head_dim} elements; rotary positions need an even number.")
        if not self.projected_kv and self.mixer is None:
            raise KitError("'model.projected_kv' is false, but without a mixer nothing else makes keys and values.")
        if not self.projected_kv and self.kv_width != self.width:
            raise KitError(
                f"Without projected_kv, kv_heads * head_dim ({self.kv_heads} * {self.head_dim}) must equal "
                f"the width, {self.width}."
            )
        if self.chunks and not isinstance(self.chunks.offsets, str):
            self._check_offsets(self.chunks.offsets)
        if self.chunks:
            self._check_far_heads(self.chunks.far_heads)
        if self.mixer and not self.chunks.length:
            raise KitError("'model.chunks.length' is 0, but a mixer needs chunks of at least 1 token.")

    def _check_offsets(self, offsets: list[int]):
        if len(offsets) != self.layers:
            raise KitError(f"'model.chunks.offsets' has {len(offsets)} entries for {self.layers} layers.")
        wrong = [offset for offset in offsets if not 0 <= offset < max(self.chunks.length, 1)]
        if wrong:
            raise KitError(f"A chunk offset is {wrong[0]}; it must be between 0 and {self.chunks.length - 1}.")

    def _check_far_heads(self, heads: tuple[tuple[int, int], ...]):
        for index, head in enumerate(heads):
            if len(head) != 2 or not (0 <= head[0] < self.layers and 0 <= head[1] < self.kv_heads):
                raise KitError(
                    f"'model.chunks.far_heads' holds {list(head)}; a layer below {self.layers} and a KV head below "
                    f"{self.kv_heads} are expected."
                )
            if head in heads[:index]:
                raise KitError(f"'model.chunks.far_heads' holds {list(head)} twice.")
            if self.traits.window(head[0]) is not None:
                raise KitError(f"'model.chunks.far_heads' holds {list(head)}, of a layer with a window of its own.")

    def far_in(self, layer: int) -> tuple[int, ...]:
        """The KV heads of `layer` that see every token, in ascending order."""
        return tuple(sorted(head for of, head in self.chunks.far_heads if of == layer)) if self.chunks else ()

    @property
    def architecture(self) -> str:
        if self.mixer:
            return "attamba" if self.chunks else "mamba"
        return "sparse" if self.chunks else "transformer"

    @property
    def traits(self) -> Family:
        return self.family or PLAIN

    @property
    def kv_width(self) -> int:
        """Elements of one key, and of one value, of one layer."""
        return self.kv_heads * self.head_dim

    def kv_bytes(self, tokens: int) -> int:
        """Bytes of keys and values that a session of `tokens` tokens holds, in 16 bits."""
        if self.architecture == "mamba":
            return 0
        kept, far = tokens, 0
        if self.chunks:
            older = max(tokens - self.chunks.window - 1, 0)
            boundaries = -(-older // self.chunks.length) if self.chunks.length else int(self.chunks.sink)
            kept, far = min(tokens, boundaries + self.chunks.window + 1), len(self.chunks.far_heads)
        return 2 * 2 * self.head_dim * (far * tokens + (self.layers * self.kv_heads - far) * kept)

    def scan_bytes(self) -> int:
        """Bytes of scan and convolution state that a session holds, in 32 bits, whatever its length."""
        if not self.mixer:
            return 0
        mixers = 2 if self.chunks else 1
        rows = self.chunks.length if self.chunks and self.mixer.scan == "strided" else 1
        scan = rows * self.mixer.inner * self.mixer.state
        return 4 * self.layers * mixers * (scan + (self.mixer.conv - 1) * self.mixer.convolved)


def _within(name: str, value: int, low: int, high: int):
    if not low <= value <= high:
        raise KitError(f"'model.{name}' is {value}; it must be between {low} and {high}.")


def _divides(part: str, small: int, whole: str, large: int):
    if large % small:
        raise KitError(f"'model.{part}' ({small}) does not divide 'model.{whole}' ({large}).")
