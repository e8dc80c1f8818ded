"""What a model of a public family has that a llama does not."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """The defaults are a llama's. A file says all of this; a run cannot choose it."""

    frequencies: tuple[float, ...] = ()
    """Radians per token of each pair of a head's values; the values behind these pairs are not rotated. Empty: those
    that follow from `rope_base`, for the whole head."""
    magnitude: float = 1.0
    """What cosines and sines are multiplied by."""
    half_split: bool = False
    """Whether a pair is (j, j + half) of what is rotated, instead of (2j, 2j + 1)."""
    unrotated: tuple[int, ...] = ()
    """Layers without positions."""
    windows: tuple[int | None, ...] = ()
    """Tokens that a layer sees, the current one counted; None: what the others see. Empty: None for all layers."""
    local_frequencies: tuple[float, ...] = ()
    """`frequencies` of the layers with a window, unless they are those of the others."""
    biases: tuple[str, ...] = ()
    """The projections of attention that have one, by name."""
    head_norms: bool = False
    """Whether queries and keys are normalized head by head before they are rotated."""
    norms_before: bool = True
    """Whether the halves of a layer normalize what they read from the residual stream."""
    norms_after: bool = False
    """Whether they normalize what they add to it."""
    activation: str = "silu"
    """`silu` or `gelu`, the latter in its tanh approximation."""
    embedding_scale: float = 1.0
    residual_scale: float = 1.0
    """Factor of what a half of a layer adds."""
    logit_scale: float = 1.0
    attention_scale: float | None = None
    """Factor of products of queries and keys; None: 1 / sqrt(head_dim)."""

    def window(self, layer: int) -> int | None:
        """Tokens that `layer` sees, if it has a window of its own."""
        return self.windows[layer] if self.windows else None


PLAIN = Family()
