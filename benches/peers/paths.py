"""Paths: the repository, the peer's folder, the models."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PEERS = Path(os.environ.get("ATTAMBA_PEERS") or Path.home() / ".cache/attamba/peers").resolve()
RELEASE = "0.3.36"  # of llama-cpp-python, as in setup.sh
SOURCE = PEERS / f"llama_cpp_python-{RELEASE}"
BUILD = PEERS / f"build-{RELEASE}" / "bin"
RANDOM_MODELS = PEERS / "models"
GEMMA = REPOSITORY / "models/fetched/gemma-3-270m-q4_k_m.gguf"
SMOLLM2 = REPOSITORY / "models/fetched/SmolLM2-135M-Instruct.Q4_1.gguf"
ATTAMBA = REPOSITORY / "target/release/attamba"
SAMPLE = REPOSITORY / "cli/src/sample.txt"


def model(name):
    """The file a name stands for: `smollm2`, `gemma3-270m`, a name of make_models.py, or a path."""
    if name == "smollm2":
        path, hint = SMOLLM2, "models/fetch.sh smollm2 downloads it"
    elif name == "gemma3-270m":
        path, hint = GEMMA, "models/fetch.sh gemma3-270m downloads it"
    elif name.endswith(".gguf"):
        path, hint = Path(name), "is the path right?"
    else:
        path, hint = RANDOM_MODELS / f"{name}.gguf", f"benches/peers/make_models.py {name} makes it"
    if not path.is_file():
        raise SystemExit(f"{path} does not exist; {hint}.")
    return path
