"""Write the figures of the context study into STUDY.md and draw its plot, from `results/`.

python training/study/context/report.py
"""

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

sys.path.insert(0, str(Path(__file__).parents[1]))
import note
from common import folder_name, kept, runs

from attamba_train.model import Decoder
from attamba_train.run_config import RunConfig

STUDY = "context"
HERE = Path(__file__).parent


@dataclass
class Scored:
    config: RunConfig
    scores: dict

    @property
    def state(self) -> float:
        """KiB of keys and values in 16 bits and of scan state in a session as long as the context."""
        model = self.config.model
        return (model.kv_bytes(model.context) + model.scan_bytes()) / 1024


def read() -> list[Scored]:
    """Every run that has scores, in queue order."""
    paths = [(run, kept(STUDY) / folder_name(run) / "scores.json") for run in runs(STUDY)]
    return [Scored(run, json.loads(path.read_text())) for run, path in paths if path.exists()]


def table(found: list[Scored], heads: list[str], cells) -> str:
    """A row for each run, with the figures that `cells` makes of its scores."""
    head = ["run", *heads]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|--:" * len(heads) + "|"]
    lines += ["| " + " | ".join([each.config.name, *cells(each)]) + " |" for each in found]
    return "\n".join(lines)


def share(part: float) -> str:
    return f"{part:.0%}".replace("%", " %")


def tables(found: list[Scored]) -> str:
    bands, distances = list(found[0].scores["position"]), list(found[0].scores["facts"])

    def overview(each: Scored) -> list[str]:
        size = Decoder(each.config.model).parameter_count() / 1e6
        perplexities = [f"{math.exp(loss):.2f}" for loss in each.scores["position"].values()]
        return [f"{size:.2f} M", f"{each.scores['tokens'] / 1e6:.1f} M", f"{each.state:.0f} KiB", *perplexities]

    def far(each: Scored) -> list[str]:
        return [
            *(share(each.scores["repeated"][distance]["tokens"]) for distance in distances),
            *(share(each.scores["facts"][distance]["tokens"]) for distance in distances),
        ]

    kinds = [f"{kind}, {distance} back" for kind in ("repeated", "fact") for distance in distances]
    return "\n\n".join(
        [
            "Perplexity of held-out books by position, beside what a session of 2048 tokens holds:",
            table(found, ["parameters", "trained on", "state", *bands], overview),
            "Tokens predicted of a repeated passage and of a fact that is asked for, by the distance in tokens:",
            table(found, kinds, far),
        ]
    )


def plot(found: list[Scored], path: Path):
    """Recall over distance, for passages and for facts."""
    figure, pair = pyplot.subplots(1, 2, figsize=(10, 4), sharey=True)
    for axes, kind in zip(pair, ("repeated", "facts"), strict=True):
        for each in found:
            points = {int(distance): 100 * score["tokens"] for distance, score in each.scores[kind].items()}
            label = f"{each.config.name} ({each.state:.0f} KiB)"
            axes.plot(list(points), list(points.values()), marker="o", label=label)
        axes.set(title=kind, xlabel="tokens back", ylabel="% of tokens predicted", xscale="log", ylim=(0, 100))
        axes.set_xticks(list(points), list(points))
        axes.minorticks_off()
    pair[1].legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    note.finish(figure, path)


def main():
    found = read()
    if not found:
        sys.exit("no run has scores yet; score.py makes them")
    plot(found, HERE / "recall.png")
    note.write(STUDY, f"{tables(found)}\n\n![recall over distance](study/context/recall.png)", note.NOTE)


if __name__ == "__main__":
    main()
