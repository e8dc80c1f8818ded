"""The decoder as a whole: every kind of model, its gradients, and what it may see."""

import pytest
import torch

from attamba_train import settings
from attamba_train.model import Decoder, ModelConfig

SHAPE = {"vocab_size": 50, "context": 48, "width": 24, "layers": 2, "heads": 2, "feed_forward": 32}
CHUNKS = {"length": 4, "window": 3}
MIXER = {"inner": 12, "state": 3, "heads": 2}
KINDS = {
    "reset": {"chunks": CHUNKS, "mixer": MIXER | {"scan": "reset"}, "projected_kv": False},
    "carried, projected, shared keys": {"chunks": CHUNKS, "mixer": MIXER | {"scan": "carried"}, "kv_heads": 1},
    "strided": {"chunks": CHUNKS, "mixer": MIXER | {"scan": "strided", "conv": 1}},
    "boundaries without a scan": {"chunks": CHUNKS},
    "sliding window": {"chunks": {"length": 0, "window": 5}},
    "far heads": {"chunks": {"length": 0, "window": 5, "far_heads": [[1, 0]]}},
    "far heads and a scan": {
        "chunks": CHUNKS | {"far_heads": [[1, 1], [1, 0]]},
        "mixer": MIXER | {"scan": "carried"},
    },
    "transformer": {},
    "transformer, narrow": {"head_dim": 4},
    "mamba": {"mixer": MIXER | {"scan": "carried"}, "feed_forward": 0},
}


def model_of(kind: str) -> Decoder:
    return Decoder(settings.read(ModelConfig, SHAPE | KINDS[kind], kind)).init_weights(0)


def random_tokens(count=33):
    return torch.randint(0, 50, (2, count), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", KINDS)
def test_no_token_sees_a_later_one(kind):
    model, tokens = model_of(kind), random_tokens()
    changed = tokens.clone()
    changed[:, 20:] = (changed[:, 20:] + 1) % 50
    with torch.no_grad():
        before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :20], after[:, :20])
    assert not torch.allclose(before[:, 20], after[:, 20])


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_equal_finite_differences(kind):
    model, tokens = model_of(kind).double(), random_tokens()
    model(tokens[:, :-1], tokens[:, 1:]).backward()
    step = 1e-5
    for name, parameter in model.named_parameters():
        place = parameter.grad.abs().argmax()
        flat = parameter.data.view(-1)
        ends = []
        for sign in (1, -1):
            flat[place] += sign * step
            with torch.no_grad():
                ends.append(model(tokens[:, :-1], tokens[:, 1:]).item())
            flat[place] -= sign * step
        slope = (ends[0] - ends[1]) / (2 * step)
        assert slope == pytest.approx(parameter.grad.view(-1)[place].item(), rel=1e-4), name


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "mixer" in KINDS[kind]])
def test_token_by_token_scan_computes_the_same(kind):
    model, tokens = model_of(kind).double(), random_tokens()
    with torch.no_grad():
        fast = model(tokens)
        model.plain = True
        torch.testing.assert_close(model(tokens), fast)


def test_sliding_window_forgets_all_but_the_sink():
    model, tokens = model_of("sliding window"), random_tokens()
    changed = tokens.clone()
    # Two layers reach 2 * 5 tokens back.
    changed[:, 1:20] = (changed[:, 1:20] + 1) % 50
    with torch.no_grad():
        torch.testing.assert_close(model(tokens)[:, 31:], model(changed)[:, 31:])


def test_chunk_length_can_be_chosen_at_each_call():
    model, tokens = model_of("reset"), random_tokens()
    config = settings.read(ModelConfig, SHAPE | KINDS["reset"] | {"chunks": {"length": 8, "window": 3}}, "8")
    longer = Decoder(config)
    longer.load_state_dict(model.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(model(tokens, chunk=8), longer(tokens))


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(5)
    first = model_of("reset").state_dict()
    torch.manual_seed(6)
    torch.testing.assert_close(first, model_of("reset").state_dict(), rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["reset", "carried, projected, shared keys"])
def test_compiled_training_in_bfloat16_is_as_near_to_float32_as_eager(kind):
    """Guards the form of the scan's gradients: one form was found that compiles to a write past the end of a buffer."""
    model = model_of(kind)
    exact = gradient(model, bfloat16=False)
    eager_error = (gradient(model) - exact).norm()
    model.compile_training()
    for _ in range(3):
        assert (gradient(model) - exact).norm() < 1.5 * eager_error


def gradient(model: Decoder, bfloat16: bool = True) -> torch.Tensor:
    """The gradient of all parameters as one vector."""
    tokens = random_tokens()
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        loss = model(tokens[:, :-1], tokens[:, 1:])
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def test_bfloat16_stays_near_float32():
    model, tokens = model_of("reset"), random_tokens()
    with torch.no_grad():
        exact = model(tokens)
        with torch.autocast("cpu", torch.bfloat16):
            rough = model(tokens).float()
    assert (rough - exact).norm() / exact.norm() < 0.03
