"""This kit's logits compared with those of a runtime, or of the executable specification, on one GGUF file."""

import importlib.util
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from . import gguf_file
from .errors import KitError


@dataclass
class Agreement:
    relative_error: float
    """Norm of the difference over the norm of this kit's logits."""
    same_argmax: float
    """Share of positions at which both find the same token most likely."""


def compare(path: Path, tokens: list[int], others: np.ndarray) -> Agreement:
    """`others` [T, vocab]: logits of `tokens` from another program that read the same file."""
    with torch.no_grad():
        ours = gguf_file.load(path)(torch.tensor(tokens)[None])[0].numpy()
    if others.shape != ours.shape:
        raise KitError(f"The other logits have the shape {others.shape}, not {ours.shape}.")
    if not np.isfinite(others).all():
        raise KitError("The other logits contain numbers that are not finite.")
    error = np.linalg.norm(others - ours) / np.linalg.norm(ours)
    return Agreement(float(error), float((others.argmax(-1) == ours.argmax(-1)).mean()))


def random_tokens(path: Path, count: int, seed: int = 0) -> list[int]:
    """`count` random tokens from a model's vocabulary."""
    vocab_size = gguf_file.load(path).config.vocab_size
    return np.random.default_rng(seed).integers(0, vocab_size, count).tolist()


def runtime_logits(runtime: Path, path: Path, tokens: list[int]) -> np.ndarray:
    """What the command `attamba logits` at `runtime` computes: [T, vocab] float32."""
    with tempfile.TemporaryDirectory() as folder:
        token_path, out = Path(folder) / "tokens.txt", Path(folder) / "logits.f32"
        token_path.write_text(",".join(map(str, tokens)))
        command = [str(runtime), "logits", str(path), "--tokens", f"@{token_path}", "--out", str(out)]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except OSError as error:
            raise KitError(f"{runtime} cannot be started: {error.strerror}.") from error
        if done.returncode:
            raise KitError(f"{runtime} ended with status {done.returncode}: {done.stderr.strip()}")
        return np.fromfile(out, "<f4").reshape(len(tokens), -1)


def reference_logits(reference: Path, path: Path, tokens: list[int]) -> np.ndarray:
    """What the executable specification at `reference` computes: [T, vocab] float64."""
    spec = importlib.util.spec_from_file_location("reference", reference)
    if spec is None or not reference.exists():
        raise KitError(f"{reference} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.logits(str(path), tokens)
