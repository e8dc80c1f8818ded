import importlib.util
import json
from pathlib import Path

import pytest
import torch

from attamba_train import run_config, settings, token_file, tokenizer

SPEC = Path(__file__).parents[2] / "spec" / "reference.py"


@pytest.fixture(scope="session")
def reference():
    """The executable specification, as a module."""
    spec = importlib.util.spec_from_file_location("reference", SPEC)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors: a second thread costs more than it brings, and results must not depend on it."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def stories(tmp_path_factory):
    """A JSON lines file of 40 little documents: 20 texts and 20 conversations."""
    path = tmp_path_factory.mktemp("stories") / "stories.jsonl"
    rows = [
        {"source": "tales", "text": f"Once there were {n} cats. The cat {n} sat by door {n}." * 9} for n in range(20)
    ]
    rows += [
        {"source": "talk", "turns": [["user", f"Where is cat {n}?"], ["assistant", f"By door {n}, I think."]] * 4}
        for n in range(20)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="session")
def data(stories, tmp_path_factory):
    """A data folder with a tokenizer of 300 entries and the packed source 'stories'."""
    from attamba_train import corpus

    folder = tmp_path_factory.mktemp("data")
    made = tokenizer.train(corpus.documents(stories), 300)
    made.save(str(folder / "tokenizer.json"))
    token_file.pack("stories", corpus.documents(stories), made, folder, 0.2, ["made up for a test, CC0"])
    return folder


ATTAMBA = {
    "projected_kv": False,
    "chunks": {"length": 4, "window": 3, "trained_lengths": [2, 4]},
    "mixer": {"inner": 16, "state": 4, "heads": 2, "scan": "reset"},
}


def run_settings(**model) -> dict:
    """The settings of a run that takes a second or two; `model` replaces parts of its model."""
    shape = {"vocab_size": 300, "context": 32, "width": 32, "layers": 2, "heads": 2, "feed_forward": 64}
    return {
        "name": "tiny",
        "seed": 3,
        "data": {"tokenizer": "tokenizer.json", "sources": {"stories": 1.0}},
        "model": shape | (model or ATTAMBA),
        "train": {
            "tokens": 12 * 4 * 32,
            "batch": 4,
            "learning_rate": 0.003,
            "warmup": 2,
            "precision": "float32",
            "compile": False,
            "validate_every": 6,
            "validation_tokens": 128,
            "checkpoint_every": 100,
        },
    }


@pytest.fixture
def config() -> run_config.RunConfig:
    return settings.read(run_config.RunConfig, run_settings(), "tiny")
