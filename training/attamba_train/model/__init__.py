"""The decoder in PyTorch: `config` says what it is, `decoder` reads top to bottom, the rest are its parts."""

from .config import Chunks, Mixer, ModelConfig
from .decoder import Decoder

__all__ = ["Chunks", "Decoder", "Mixer", "ModelConfig"]
