"""A study: models of one size, trained on the same tokens. Its folder has `base.yaml`, which says what its runs share,
`variants.yaml`, which says how each differs, and `results/`.
"""

import re
from pathlib import Path

import yaml

from attamba_train import run_config, settings

HERE = Path(__file__).parent
STUDIES = ("scan", "context")


def runs(study: str) -> list[run_config.RunConfig]:
    """Every run, in queue order."""
    base = settings.load_yaml(HERE / study / "base.yaml")
    variants = yaml.safe_load((HERE / study / "variants.yaml").read_text())
    return [settings.read(run_config.RunConfig, _merge(base, variant), variant["name"]) for variant in variants]


def kept(study: str) -> Path:
    """The folder with a folder for each complete run."""
    return HERE / study / "results"


def folder_name(run: run_config.RunConfig) -> str:
    """The run's name without characters that are special to a shell."""
    return re.sub(r"[^a-z0-9]+", "-", run.name.lower()).strip("-")


def _merge(base: dict, over: dict) -> dict:
    """`base` with the settings in `over`, section by section."""
    both = {key: _merge(base[key], over[key]) for key in base if isinstance(base[key], dict) and key in over}
    return base | over | both
