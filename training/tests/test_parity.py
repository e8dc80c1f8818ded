"""The fast forms compared with the executable specification, in float32."""

import numpy as np
import pytest
import torch

from attamba_train import gguf_file

RELATIVE_ERROR = 1e-5
TOKENS = 45

CASES = {
    "reset": {},
    "carried": {"carry": 1},
    "projected": {"projected": 1, "kv_heads": 2},
    "projected and carried": {"projected": 1, "kv_heads": 1, "carry": 1},
    "uniform offsets": {"cyclic": 0},
    "one token a chunk": {"chunk": 1, "window": 0},
    "largest offset": {"chunk": 3, "layers": 3},
    "chunk longer than a block": {"chunk": 24, "window": 3},
    "chunk longer than the text": {"chunk": 64, "window": 2},
    "window as long as the text": {"window": 60},
    "window longer than a block of queries": {"window": 20},
    "no window": {"window": 0},
    "one tap": {"conv": 1},
    "grouped states": {"groups": 2, "ssm_heads": 4},
    "tied, without biases": {"tied": 1, "bias": 0},
    "odd sizes": {"d": 60, "heads": 6, "kv_heads": 6, "inner": 36, "ssm_heads": 3, "state": 5, "chunk": 5},
    "half precision": {"quant": "F16"},
    "transformer": {"arch": "llama"},
    "transformer with shared keys": {"arch": "llama", "kv_heads": 2, "tied": 1},
}


@pytest.mark.parametrize("name", CASES)
def test_logits_equal_the_reference(name, reference, tmp_path):
    path = str(tmp_path / "random.gguf")
    reference.make(path, len(name), CASES[name])
    tokens = np.random.default_rng(0).integers(0, 96, TOKENS)
    expected = reference.logits(path, tokens)
    with torch.no_grad():
        got = gguf_file.load(path)(torch.tensor(tokens)[None])[0].double().numpy()
    assert np.linalg.norm(got - expected) / np.linalg.norm(expected) < RELATIVE_ERROR
