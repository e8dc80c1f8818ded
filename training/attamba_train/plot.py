"""Plots of loss curves."""

import math
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from . import csv_log

POINTS = 400  # at most in a training curve: enough for the eye
STYLES = ["-", "--", ":"]  # of the chunk lengths; the colors tell the sources apart


def losses(folder: Path, name: str):
    """`loss.png` in `folder`: training loss, and validation loss by source, over the tokens trained on."""
    train = csv_log.read(folder / "train.csv")
    figure, axes = pyplot.subplots(figsize=(7, 4))
    tokens, smooth = _means([int(row["tokens"]) for row in train], [float(row["loss"]) for row in train])
    axes.plot([t / 1e6 for t in tokens], smooth, color="0.6", label="training")
    curves = _curves(csv_log.read(folder / "validation.csv"))
    sources, chunks = (list(dict.fromkeys(each)) for each in zip(*curves, strict=True)) if curves else ([], [])
    for (source, chunk), rows in curves.items():
        axes.plot(
            [int(r["tokens"]) / 1e6 for r in rows],
            [float(r["loss"]) for r in rows],
            color=f"C{sources.index(source)}",
            linestyle=STYLES[chunks.index(chunk) % len(STYLES)],
            label=f"{source}, P {chunk}" if chunk else source,
        )
    axes.set(xlabel="million tokens", ylabel="loss (nats per token)", title=name)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.tight_layout()
    figure.savefig(folder / "loss.png", dpi=120)
    pyplot.close(figure)


def _curves(rows: list[dict]) -> dict[tuple[str, str], list[dict]]:
    curves = {}
    for row in rows:
        curves.setdefault((row["source"], row["chunk"]), []).append(row)
    return curves


def _means(x: list, y: list) -> tuple[list, list]:
    """Both lists as means over at most `POINTS` equal intervals."""
    width = max(1, math.ceil(len(x) / POINTS))
    parts = range(0, len(x), width)
    return tuple([sum(v[i : i + width]) / len(v[i : i + width]) for i in parts] for v in (x, y))
