"""A CSV file that grows one row at a time and can be truncated to an earlier step."""

import csv
import os
from pathlib import Path

TRAIN_COLUMNS = ["step", "tokens", "chunk", "loss", "gradient_norm", "learning_rate", "seconds"]
VALIDATION_COLUMNS = ["step", "tokens", "chunk", "source", "scored_tokens", "loss"]


class CsvLog:
    def __init__(self, path: Path, columns: list[str], last_step: int):
        """Keep the rows up to `last_step`: later ones belong to steps that a resumed run repeats."""
        kept = [row for row in read(path) if int(row["step"]) <= last_step] if path.exists() else []
        unfinished = path.with_name(path.name + ".part")
        with open(unfinished, "w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(kept)
        os.replace(unfinished, path)
        self._file = open(path, "a", newline="")  # noqa: SIM115 - open as long as the run
        self._writer = csv.DictWriter(self._file, columns)

    def write(self, **row):
        self._writer.writerow(row)
        self._file.flush()

    def close(self):
        self._file.close()


def read(path: Path) -> list[dict[str, str]]:
    """Every complete row of a log, as text by column."""
    with open(path, newline="") as file:
        return [row for row in csv.DictReader(file) if None not in row.values()]
