"""The state of a run between two steps, written so that after a power cut the last complete one remains."""

import os
from pathlib import Path

import torch

from .errors import KitError

NAME = "checkpoint.pt"


def save(folder: Path, state: dict):
    unfinished, path = folder / f"{NAME}.part", folder / NAME
    with open(unfinished, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)


def load(folder: Path) -> dict:
    """The state written by the last `save`, on the CPU."""
    path = folder / NAME
    if not path.exists():
        raise KitError(f"{folder} holds no {NAME}.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds of exceptions for a damaged file
        raise KitError(f"{path} cannot be read: {error}.") from error


def exists(folder: Path) -> bool:
    return (folder / NAME).exists()
