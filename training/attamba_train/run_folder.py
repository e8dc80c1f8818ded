"""What a run stores besides weights and logs: enough to resume, to export and to write its card."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml
from tokenizers import Tokenizer

from . import checkpoint, csv_log, gguf_file, settings, token_file, tokenizer
from .errors import KitError
from .model import Decoder
from .run_config import RunConfig


@dataclass
class Run:
    """A run as loaded from its folder."""

    config: RunConfig
    model: Decoder
    step: int
    text: gguf_file.Text
    sources: dict[str, dict]
    """What was recorded about each source when it was packed."""
    validation: list[dict[str, str]]
    """The rows of the last validation."""


def describe(folder: Path, config: RunConfig, data: Path):
    """Write the settings, the tokenizer and the description of the data into `folder`."""
    note(folder, config)
    shutil.copyfile(data / config.data.tokenizer, folder / "tokenizer.json")
    sources = {name: token_file.describe(data, name) for name in config.data.sources}
    (folder / "sources.json").write_text(json.dumps(sources, indent=2) + "\n")


def note(folder: Path, config: RunConfig):
    """Write the settings into `folder`."""
    (folder / "run.yaml").write_text(yaml.safe_dump(config.as_dict(), sort_keys=False))


def load(folder: Path) -> Run:
    """The run in `folder` at its last checkpoint."""
    state = checkpoint.load(folder)
    config = settings.read(RunConfig, state["config"], str(folder / checkpoint.NAME))
    model = Decoder(config.model)
    model.load_state_dict(state["model"])
    rows = csv_log.read(folder / "validation.csv")
    last = max((int(row["step"]) for row in rows), default=None)
    return Run(
        config=config,
        model=model,
        step=state["step"],
        text=_text(folder / "tokenizer.json"),
        sources=json.loads((folder / "sources.json").read_text()),
        validation=[row for row in rows if int(row["step"]) == last],
    )


def load_model(path: Path) -> Decoder:
    """The model of a GGUF file or of a run's folder."""
    if path.is_dir():
        return load(path).model
    if path.suffix == ".gguf":
        return gguf_file.load(path)
    raise KitError(f"{path} is neither a .gguf file nor the folder of a run.")


def encode(path: Path, text: Path) -> list[int]:
    """The tokens of the file `text`, using the tokenizer of a GGUF file or of a run's folder."""
    tokenizer_json = (
        (path / "tokenizer.json").read_text() if path.is_dir() else gguf_file.load_text(path).tokenizer_json
    )
    try:
        content = text.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise KitError(f"{text} cannot be read: {error}.") from error
    return Tokenizer.from_str(tokenizer_json).encode(content, add_special_tokens=False).ids


def _text(path: Path) -> gguf_file.Text:
    made = tokenizer.load(path)
    return gguf_file.Text(made.to_str(), made.token_to_id(tokenizer.END_OF_TEXT), tokenizer.CHAT_TEMPLATE)
