"""The block form of the scan compared with its definition, token by token, in float64."""

import pytest
import torch

from attamba_train.model.plain import PlainScan
from attamba_train.model.scan import CarriedScan, ResetScan, StridedScan
from attamba_train.model.schedule import Schedule

TOKENS = 53
SCANS = {"reset": ResetScan, "strided": StridedScan}
SCHEDULES = [
    Schedule(length=4),
    Schedule(length=8, offset=3),
    Schedule(length=5, offset=4),
    Schedule(length=24, offset=7),
    Schedule(length=8, offset=3, sink=False),
    Schedule(length=1),
]


def inputs(tokens=TOKENS, batch=2, heads=4, channels=3, groups=2, state=5):
    generator = torch.Generator().manual_seed(0)
    x, dt, b, c = (
        torch.randn(batch, tokens, *shape, generator=generator, dtype=torch.float64)
        for shape in ((heads, channels), (heads,), (groups, state), (groups, state))
    )
    dt = dt.exp()
    return [each.requires_grad_() for each in (x, dt, -dt.detach() * 0.3, b, c)]


@pytest.mark.parametrize("kind", SCANS)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_chunked_scan_and_its_gradients_equal_the_definition(kind, schedule):
    compare(SCANS[kind](schedule, TOKENS, "cpu"), PlainScan(kind, schedule))


def test_carried_scan_and_its_gradients_equal_the_definition():
    compare(CarriedScan(), PlainScan("carried", None))


def compare(fast, plain):
    arguments = inputs()
    weight = torch.randn(TOKENS, 4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    outputs = [form(*arguments) for form in (fast, plain)]
    gradients = [torch.autograd.grad((out * weight).sum(), arguments) for out in outputs]
    torch.testing.assert_close(*outputs, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


def test_long_carried_scan_stays_finite_under_strong_decay():
    x, dt, decay, b, c = inputs(tokens=700)
    assert CarriedScan()(x.float(), dt.float(), decay.float() * 50, b.float(), c.float()).isfinite().all()
