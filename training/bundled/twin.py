"""The bundled model and a transformer of its size, trained on the same tokens: held-out perplexity and memory.

    python training/bundled/twin.py MODEL_RUN TWIN_RUN --plot twin.png > twin.md

Each run's `run.yaml` and `validation.csv` are read. The scores are from the same held-out windows, each as long as the
training context. A session's size is its keys and values, in 16 bits, plus the state of its scans.
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


@dataclass
class Trained:
    config: RunConfig
    curves: Curves

    @property
    def chunks(self) -> list[str]:
        return list(dict.fromkeys(chunk for _, chunk in self.curves))

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
    return Trained(config, curves)


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


def plot(runs: list[Trained], path: Path):
    """Held-out loss over the tokens, at each model's first chunk length."""
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for run, line in zip(runs, ("-", "--"), strict=True):
        chunks = run.config.model.chunks
        for color, source in enumerate(run.sources):
            curve = run.curves[source, str(chunks.length) if chunks else ""]
            points = [tokens / 1e6 for tokens in curve]
            label = f"{source}, {run.config.name}"
            axes.plot(points, list(curve.values()), line, color=f"C{color}", label=label)
    axes.set(xlabel="million tokens", ylabel="held-out loss (nats per token)")
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
    print("\n".join(table(runs, last_in_common(runs))))


if __name__ == "__main__":
    main()
