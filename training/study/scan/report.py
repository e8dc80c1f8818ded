"""Write the figures of the study into STUDY.md and draw its plots, from the logs of the runs.

    python training/study/scan/report.py [--out DIR]

It reads the records of complete runs in `results/` and, for the others, the logs in DIR, the folder that `run_queue.py`
fills. Incomplete runs appear only in the plot of the curves.
"""

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

sys.path.insert(0, str(Path(__file__).parents[1]))
import note
import results
from common import folder_name, runs
from common import kept as kept_of

from attamba_train import csv_log
from attamba_train.model import Decoder
from attamba_train.run_config import RunConfig

STUDY = "scan"
HERE = Path(__file__).parent
CONTEXT = 1024  # session length for which the table gives the memory


@dataclass
class Result:
    config: RunConfig
    curve: list[tuple[int, dict[str, float]]]
    """Tokens trained on, and the held-out loss of each source in nats per token."""

    @property
    def complete(self) -> bool:
        return bool(self.curve) and self.curve[-1][0] >= self.config.steps * self.config.step_tokens

    @property
    def perplexity(self) -> float:
        return mean_perplexity(self.curve[-1][1])


def mean_perplexity(losses: dict[str, float]) -> float:
    """Every source counts the same."""
    return math.exp(sum(losses.values()) / len(losses))


def read(folder: Path | None) -> list[Result]:
    """Every run with its results so far, in queue order."""
    found, kept = [], kept_of(STUDY)
    for config in runs(STUDY):
        source = kept if results.is_kept(config, kept) or folder is None else folder
        path = source / folder_name(config) / "validation.csv"
        curve = {}
        for row in csv_log.read(path) if path.exists() else []:
            curve.setdefault(int(row["tokens"]), {})[row["source"]] = float(row["loss"])
        found.append(Result(config, sorted(curve.items())))
    return found


def table(found: list[Result]) -> str:
    """Complete runs from best to worst."""
    done = sorted((r for r in found if r.complete), key=lambda r: r.perplexity)
    sources = list(done[0].curve[-1][1])
    full = next((r.perplexity for r in done if r.config.model.architecture == "transformer"), None)
    head = ["run", "parameters", "perplexity", "vs. full attention", *sources]
    head += [f"keys and values at {CONTEXT} tokens", "scan state"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for r in done:
        model, losses = r.config.model, r.curve[-1][1]
        against = f"{r.perplexity / full - 1:+.1%}" if full else "-"
        cells = [r.config.name, f"{Decoder(model).parameter_count() / 1e6:.2f} M", f"**{r.perplexity:.2f}**", against]
        cells += [f"{math.exp(losses[source]):.2f}" for source in sources]
        cells += [f"{model.kv_bytes(CONTEXT) / 1024:.0f} KiB", f"{model.scan_bytes() / 1024:.0f} KiB"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def tables(found: list[Result]) -> str:
    """A table for each number of tokens that runs were trained on, smallest first."""
    parts = []
    for tokens in sorted({r.config.train.tokens for r in found if r.complete}):
        parts.append(f"After {tokens / 1e6:.0f} million tokens:")
        parts.append(table([r for r in found if r.config.train.tokens == tokens]))
    waiting = [r.config.name for r in found if not r.complete]
    if waiting:
        parts.append(f"Not complete yet: {'; '.join(waiting)}.")
    return "\n\n".join(parts)


def plot_memory(found: list[Result], path: Path):
    """Perplexity over the memory that a session of `CONTEXT` tokens takes, scan state included."""
    figure, axes = pyplot.subplots(figsize=(8, 5))
    for r in found:
        model = r.config.model
        kib = (model.kv_bytes(CONTEXT) + model.scan_bytes()) / 1024
        axes.plot(kib, r.perplexity, "o")
        axes.annotate(r.config.name, (kib, r.perplexity), fontsize=7, xytext=(4, 3), textcoords="offset points")
    axes.set(
        xscale="log",
        xlabel=f"KiB of keys, values and states in a session of {CONTEXT} tokens",
        ylabel="held-out perplexity",
    )
    axes.margins(x=0.3)
    note.finish(figure, path)


def plot_curves(found: list[Result], path: Path):
    figure, axes = pyplot.subplots(figsize=(8, 5))
    for number, r in enumerate(found):
        if r.curve:
            tokens, values = zip(*((t / 1e6, mean_perplexity(losses)) for t, losses in r.curve), strict=True)
            # Ten colors: the next ten runs are dashed.
            style = {"color": f"C{number % 10}", "linestyle": ("-", "--", ":")[number // 10 % 3]}
            axes.plot(tokens, values, marker=".", label=r.config.name, **style)
    axes.set(yscale="log", xlabel="million tokens", ylabel="held-out perplexity")
    axes.legend(fontsize=7)
    note.finish(figure, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="the folder that run_queue.py fills")
    found = read(parser.parse_args().out)
    plot_curves(found, HERE / "curves.png")
    figures = "![learning curves](study/scan/curves.png)"
    done = [r for r in found if r.complete]
    if done:
        fewest = min(r.config.train.tokens for r in done)
        plot_memory([r for r in done if r.config.train.tokens == fewest], HERE / "memory.png")
        figures = f"{tables(found)}\n\n![perplexity against memory](study/scan/memory.png)\n\n{figures}"
    note.write(STUDY, figures, note.NOTE)


if __name__ == "__main__":
    main()
