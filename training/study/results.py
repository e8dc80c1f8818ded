"""What is kept of a complete run: small enough to commit, so that the study can continue on another machine."""

import shutil
from pathlib import Path

from common import folder_name

from attamba_train import csv_log, settings
from attamba_train.run_config import RunConfig

EVERY = 20  # training steps per row of the kept log


def keep(run: RunConfig, folder: Path, kept: Path):
    """Copy the record of the complete run in `folder` to its folder in `kept`."""
    target = kept / folder_name(run)
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / "run.yaml", target / "run.yaml")
    shutil.copyfile(folder / "validation.csv", target / "validation.csv")
    log = csv_log.CsvLog(target / "train.csv", csv_log.TRAIN_COLUMNS, 0)
    for row in _means(csv_log.read(folder / "train.csv")):
        log.write(**row)
    log.close()


def is_kept(run: RunConfig, kept: Path) -> bool:
    """Whether the run has been made with exactly these settings."""
    path = kept / folder_name(run) / "run.yaml"
    return path.exists() and settings.read(RunConfig, settings.load_yaml(path), str(path)) == run


def _means(rows: list[dict]):
    """Every `EVERY` steps: the last of them, with their mean loss."""
    for first in range(0, len(rows), EVERY):
        part = rows[first : first + EVERY]
        yield part[-1] | {"loss": f"{sum(float(row['loss']) for row in part) / len(part):.5f}"}
