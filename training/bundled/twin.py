"""The bundled model and a transformer of its size, trained on the same tokens: held-out perplexity and memory.

    python training/bundled/twin.py MODEL_RUN TWIN_RUN --plot twin.png > twin.md

Each run's `run.yaml`, `validation.csv` and `train.csv` are read. The scores are from the same held-out windows, each as
long as the training context. A session's size is its keys and values, in 16 bits, plus the state of its scans. The
training losses are compared too: in every step both runs are trained on the same tokens.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from attamba_train import csv_log, evaluate, settings
from attamba_train.run_config import RunConfig

# (source, chunk length or "") -> tokens trained on -> loss in nats per token
Curves = dict[tuple[str, str], dict[int, float]]
STEPS = 10


@dataclass
class Trained:
    config: RunConfig
    curves: Curves
    training: dict[int, float]  # tokens trained on -> mean loss of the last `STEPS` steps

    @property
    def chunks(self) -> list[str]:
        return list(dict.fromkeys(chunk for _, chunk in self.curves))

    @property
    def reached(self) -> int:
        """The tokens trained on when the last of all losses was computed."""
        return max(max(curve) for curve in (self.training, *self.curves.values()))

    @property
    def sources(self) -> list[str]:
        return list(dict.fromkeys(source for source, _ in self.curves))


def read(folder: Path) -> Trained:
    path = folder / "run.yaml"
    config = settings.read(RunConfig, settings.load_yaml(path), str(path))
    curves: Curves = {}
    for row in csv_log.read(folder / "validation.csv"):
        curve = curves.setdefault((row["source"], row["chunk"]), {})
        curve[int(row["tokens"])] = float(row["loss"])
    steps = [(int(row["tokens"]), float(row["loss"])) for row in csv_log.read(folder / "train.csv")]
    ends = range(STEPS, len(steps) + 1, STEPS)
    means = {steps[end - 1][0]: sum(loss for _, loss in steps[end - STEPS : end]) / STEPS for end in ends}
    return Trained(config, curves, means)


def last_in_common(runs: list[Trained]) -> int:
    """Number of tokens that all curves of all runs reach."""
    return max(set.intersection(*(set(curve) for run in runs for curve in run.curves.values())))


def table(runs: list[Trained], tokens: int) -> list[str]:
    sources = runs[0].sources
    context = runs[0].config.model.context
    lines = [
        f"| after {tokens / 1e6:.1f} million tokens | {' | '.join(sources)} | session of {context} tokens |",
        "|---|" + "--:|" * (len(sources) + 1),
    ]
    for run in runs:
        for chunk in run.chunks:
            model = run.config.model
            if chunk:
                model = replace(model, chunks=replace(model.chunks, length=int(chunk)))
            losses = [run.curves[source, chunk][tokens] for source in sources]
            held = model.kv_bytes(context) + model.scan_bytes()
            cells = [f"{evaluate.perplexity(loss):.2f}" for loss in losses]
            name = run.config.name + (f", P {chunk}" if chunk else "")
            lines.append(f"| {name} | {' | '.join(cells)} | {held / 1024:.0f} KiB |")
    return lines


def training_table(runs: list[Trained], rows: int = 6) -> list[str]:
    """The training loss at up to `rows` numbers of tokens that both have reached, the last one included."""
    common = [tokens for tokens in runs[0].training if tokens in runs[1].training]
    every = -(-len(common) // rows) or 1
    lines = [
        f"| training loss, mean of {STEPS} steps | {' | '.join(run.config.name for run in runs)} |",
        "|---|" + "--:|" * len(runs),
    ]
    for tokens in common[::-1][::every][::-1]:
        losses = [f"{run.training[tokens]:.3f}" for run in runs]
        lines.append(f"| after {tokens / 1e6:.1f} million tokens | {' | '.join(losses)} |")
    return lines


def _until(curve: dict[int, float], last: int) -> tuple[list[float], list[float]]:
    """Million tokens, and the losses there."""
    kept = {tokens: loss for tokens, loss in curve.items() if tokens <= last}
    return [tokens / 1e6 for tokens in kept], list(kept.values())


def plot(runs: list[Trained], path: Path):
    """Held-out loss over the tokens, at each model's first chunk length, and the training loss."""
    figure, axes = pyplot.subplots(figsize=(7, 4))
    shared = min(run.reached for run in runs)  # further on there is nothing to compare
    for run, line in zip(runs, ("-", "--"), strict=True):
        chunks = run.config.model.chunks
        axes.plot(*_until(run.training, shared), line, color="gray", label=f"training, {run.config.name}", lw=1)
        for color, source in enumerate(run.sources):
            curve = run.curves[source, str(chunks.length) if chunks else ""]
            label = f"{source}, {run.config.name}"
            axes.plot(*_until(curve, shared), line + "o", color=f"C{color}", label=label, ms=3)
    axes.set(xlabel="million tokens", ylabel="loss (nats per token)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def main(arguments: list[str] | None = None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs=2, metavar="RUN", help="folder with a run's settings and logs")
    parser.add_argument("--plot", type=Path, required=True)
    chosen = parser.parse_args(arguments)
    runs = [read(folder) for folder in chosen.runs]
    plot(runs, chosen.plot)
    print("\n".join([*table(runs, last_in_common(runs)), "", *training_table(runs)]))


if __name__ == "__main__":
    main()
