"""What the studies' reports have in common: the page they write to, and the look of their plots."""

from pathlib import Path

from common import HERE

NOTE = HERE.parent / "STUDY.md"


def write(study: str, figures: str, note: Path):
    """Replace the figures of `study` in `note`, which are between two comments."""
    begin, end = marks(study)
    text = note.read_text()
    before, after = text.split(begin)[0], text.split(end)[1]
    note.write_text(f"{before}{begin}\n\n{figures}\n\n{end}{after}")


def marks(study: str) -> tuple[str, str]:
    """The comments around the figures of `study`."""
    return f"<!-- figures: written by study/{study}/report.py -->", f"<!-- end of the figures of study/{study} -->"


def finish(figure, path: Path):
    """Write the plot to `path`."""
    for axes in figure.axes:
        axes.grid(alpha=0.3, which="both")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    figure.clear()
