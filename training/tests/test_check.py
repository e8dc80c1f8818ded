"""Logits compared with another program's."""

import sys

import numpy as np
import pytest
from conftest import SPEC

from attamba_train import check
from attamba_train.errors import KitError

# Speaks the runtime's language: logits MODEL --tokens @FILE --out FILE.
STAND_IN = """#!{python}
import sys
sys.path.insert(0, {spec!r})
import reference
command, model, _, tokens, _, out = sys.argv[1:]
assert command == "logits" and tokens[0] == "@"
ids = [int(t) for t in open(tokens[1:]).read().split(",")]
reference.logits(model, ids).astype("<f4").tofile(out)
"""


@pytest.fixture
def model_path(reference, tmp_path):
    path = tmp_path / "model.gguf"
    reference.make(str(path), 0, {})
    return path


def test_reference_agrees(model_path):
    tokens = check.random_tokens(model_path, 20)
    found = check.compare(model_path, tokens, check.reference_logits(SPEC, model_path, tokens))
    assert found.relative_error < 1e-5
    assert found.same_argmax == 1.0


def test_runtime_is_asked_as_its_command_expects(model_path, tmp_path):
    runtime = tmp_path / "attamba"
    runtime.write_text(STAND_IN.format(python=sys.executable, spec=str(SPEC.parent)))
    runtime.chmod(0o755)
    tokens = check.random_tokens(model_path, 20)
    found = check.compare(model_path, tokens, check.runtime_logits(runtime, model_path, tokens))
    assert found.relative_error < 1e-5


def test_difference_is_found(model_path):
    tokens = check.random_tokens(model_path, 20)
    others = check.reference_logits(SPEC, model_path, tokens)
    assert check.compare(model_path, tokens, others * 1.01).relative_error == pytest.approx(0.01, rel=1e-2)
    with pytest.raises(KitError, match=r"shape \(19, 96\), not \(20, 96\)"):
        check.compare(model_path, tokens, others[1:])
    with pytest.raises(KitError, match="not finite"):
        check.compare(model_path, tokens, np.full_like(others, np.nan))


def test_runtime_that_fails_is_reported(model_path, tmp_path):
    with pytest.raises(KitError, match="cannot be started"):
        check.runtime_logits(tmp_path / "absent", model_path, [1])
    with pytest.raises(KitError, match="ended with status"):
        check.runtime_logits(sys.executable, model_path, [1])
