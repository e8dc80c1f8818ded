"""Packed token files: the documents of a source one after the other, as little-endian integers.

`NAME.train.tokens` and `NAME.validation.tokens` contain nothing but tokens; `NAME.json` next to them records how
they were made. Which documents are held out depends only on their text, not on their order.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from .errors import KitError

SPLITS = ("train", "validation")
DESCRIBED = ("tokenizer", "vocab_size", "attribution", "splits")
BATCH = 512  # documents encoded at once


@dataclass
class Split:
    documents: int = 0
    tokens: int = 0
    bytes: int = 0
    """Number of UTF-8 bytes in the text that the tokens stand for."""


def pack(
    name: str,
    texts: Iterable[str],
    tokenizer: Tokenizer,
    folder: Path,
    held_out: float,
    attribution: list[str],
) -> dict[str, Split]:
    """Tokenize `texts` into `folder`.

    `held_out` is the fraction of documents kept for validation; `attribution` says where the texts come from and
    under which license, one line each, for the card of a model trained on them.
    """
    if not 0.0 <= held_out < 1.0:
        raise KitError(f"The held-out fraction is {held_out}; it must be at least 0 and less than 1.")
    folder.mkdir(parents=True, exist_ok=True)
    kind = token_type(tokenizer.get_vocab_size())
    paths = {split: folder / f"{name}.{split}.tokens" for split in SPLITS}
    totals = {split: Split() for split in SPLITS}
    with ExitStack() as stack:
        files = {split: stack.enter_context(open(f"{path}.part", "wb")) for split, path in paths.items()}
        for batch in _batches(texts):
            for text, encoding in zip(batch, tokenizer.encode_batch(batch, add_special_tokens=False), strict=True):
                split = "validation" if fraction(text) < held_out else "train"
                files[split].write(np.array(encoding.ids, kind).tobytes())
                totals[split].documents += 1
                totals[split].tokens += len(encoding.ids)
                totals[split].bytes += len(text.encode())
    for path in paths.values():
        os.replace(f"{path}.part", path)
    description = {
        "tokenizer": fingerprint(tokenizer),
        "vocab_size": tokenizer.get_vocab_size(),
        "attribution": attribution,
        "splits": {split: asdict(total) for split, total in totals.items()},
    }
    (folder / f"{name}.json").write_text(json.dumps(description, indent=2) + "\n")
    return totals


def read(folder: Path, name: str, split: str, tokenizer: Tokenizer) -> np.ndarray:
    """The tokens of a packed file, mapped into memory."""
    if describe(folder, name)["tokenizer"] != fingerprint(tokenizer):
        raise KitError(f"'{name}' in {folder} was packed with another tokenizer than this run's.")
    path = folder / f"{name}.{split}.tokens"
    kind = token_type(tokenizer.get_vocab_size())
    if not path.stat().st_size:
        return np.empty(0, kind)
    return np.memmap(path, kind, "r")


def describe(folder: Path, name: str) -> dict:
    """What `pack` recorded about a source."""
    path = folder / f"{name}.json"
    if not path.exists():
        raise KitError(f"There is no packed source '{name}' in {folder}; make it with `attamba-train pack`.")
    try:
        description = json.loads(path.read_text())
        missing = [key for key in DESCRIBED if key not in description]
    except (json.JSONDecodeError, TypeError) as error:
        raise KitError(f"{path} is not a description written by `attamba-train pack`: {error}.") from error
    if missing:
        raise KitError(f"{path} lacks '{missing[0]}'; pack the source again.")
    return description


def token_type(vocab_size: int) -> np.dtype:
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


def fingerprint(tokenizer: Tokenizer) -> str:
    return hashlib.sha256(tokenizer.to_str().encode()).hexdigest()


def fraction(text: str) -> float:
    """A number in 0..1 that depends only on `text`."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def _batches(texts: Iterable[str]):
    batch = []
    for text in texts:
        batch.append(text)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
