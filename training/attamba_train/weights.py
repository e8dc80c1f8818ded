"""The initial weights of a run: random ones, or those of a GGUF file that training continues from."""

import dataclasses
import math
from pathlib import Path

from tokenizers import Tokenizer

from . import gguf_file, tokenizer
from .errors import KitError
from .model import Decoder
from .run_config import RunConfig

# What a run may change in the model that it continues from: which tokens are visible, not what the weights mean.
FREE_SETTINGS = {"context", "chunks"}


def first(config: RunConfig, data: Path) -> Decoder:
    """The model before the first step; `data` is the folder of the tokenizer."""
    model = Decoder(config.model).init_weights(config.seed)
    if config.init is None:
        return model
    path = Path(config.init)
    begun = gguf_file.load(path)
    of_file, of_run = dataclasses.asdict(begun.config), dataclasses.asdict(config.model)
    for name in of_run:
        if name not in FREE_SETTINGS and not _same(of_file[name], of_run[name]):
            raise KitError(
                f"The run cannot start from {path}: 'model.{name}' is {of_run[name]!r}, in the file {of_file[name]!r}."
            )
    if Tokenizer.from_str(gguf_file.load_text(path).tokenizer_json).to_str() != _tokenizer_json(config, data):
        raise KitError(f"The run cannot start from {path}: its tokenizer is not the one in {data}.")
    model.load_state_dict(begun.state_dict())
    return model


def _same(one, other) -> bool:
    """Equal, or equal except for the float32 in which a file stores it."""
    return math.isclose(one, other, rel_tol=1e-6) if isinstance(one, float) else one == other


def _tokenizer_json(config: RunConfig, data: Path) -> str:
    return tokenizer.load(data / config.data.tokenizer).to_str()
