"""The runs of the study, as `variants.yaml` lists them."""

import re
from pathlib import Path

import yaml

from attamba_train import run_config, settings

HERE = Path(__file__).parent


def runs() -> list[run_config.RunConfig]:
    """Every run, in queue order."""
    base = settings.load_yaml(HERE / "base.yaml")
    variants = yaml.safe_load((HERE / "variants.yaml").read_text())
    return [settings.read(run_config.RunConfig, _merge(base, variant), variant["name"]) for variant in variants]


def folder_name(run: run_config.RunConfig) -> str:
    """The run's name without characters that are special to a shell."""
    return re.sub(r"[^a-z0-9]+", "-", run.name.lower()).strip("-")


def _merge(base: dict, over: dict) -> dict:
    """`base` with the settings in `over`, section by section."""
    both = {key: _merge(base[key], over[key]) for key in base if isinstance(base[key], dict) and key in over}
    return base | over | both
