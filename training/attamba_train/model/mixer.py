"""One Mamba-2 mixer: it turns the inputs of a layer into the keys, or the values, of its chunks."""

import torch
from torch import nn
from torch.nn import functional as F

from . import config

NORM_EPS = 1e-5  # fixed by the specification


class Mixer(nn.Module):
    def __init__(self, settings: config.Mixer, width: int):
        """`width`: input and output elements per token."""
        super().__init__()
        self.settings = settings
        inner, heads = settings.inner, settings.heads
        self.in_proj = nn.Linear(width, inner + settings.convolved + heads, bias=False)
        self.conv = nn.Parameter(torch.empty(settings.convolved, settings.conv))
        self.conv_bias = nn.Parameter(torch.zeros(settings.convolved))
        self.dt_bias = nn.Parameter(torch.empty(heads))
        self.a_log = nn.Parameter(torch.empty(heads))
        self.d = nn.Parameter(torch.ones(heads))
        self.norm = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, width, bias=False)

    def init_weights(self):
        nn.init.trunc_normal_(self.conv, std=self.settings.conv**-0.5)
        with torch.no_grad():
            # Steps between 0.01 and 0.7 and decays between 0.01 and 2 per step: from states that hold for
            # hundreds of tokens to states that forget within a few.
            steps = torch.empty_like(self.dt_bias).uniform_().mul_(4.25).sub_(4.6).exp_()
            self.dt_bias.copy_(steps + torch.log(-torch.expm1(-steps)))
            self.a_log.uniform_(0.01, 2.0).log_()

    def forward(self, u: torch.Tensor, scan, reach: list[torch.Tensor] | None) -> torch.Tensor:
        """u [B, T, width]; `scan` one of those in `scan`, `reach` as in `convolve`. Returns [B, T, width]."""
        s = self.settings
        z, xbc, dt = self.in_proj(u).split([s.inner, s.convolved, s.heads], -1)
        xbc = F.silu(convolve(xbc, self.conv, self.conv_bias, reach))
        x, b, c = xbc.split([s.inner, s.groups * s.state, s.groups * s.state], -1)
        x = x.unflatten(-1, (s.heads, -1))
        b, c = (each.unflatten(-1, (s.groups, s.state)) for each in (b, c))
        dt = F.softplus(dt + self.dt_bias)  # float32 also under autocast, because dt_bias is
        y = scan(x, dt, -dt * self.a_log.exp(), b, c)
        y = (y + self.d.unsqueeze(-1) * x).flatten(-2)
        return self.out_proj(F.rms_norm(y * F.silu(z), (s.inner,), self.norm, NORM_EPS))


def convolve(x: torch.Tensor, taps: torch.Tensor, bias: torch.Tensor, reach: list[torch.Tensor] | None) -> torch.Tensor:
    """Causal depthwise convolution of x [B, T, channels] with taps [channels, C], the last on the token itself.

    `reach`, for each tap: whether a token may see the one that many positions before it, [T, 1]; None: it always may.
    """
    tokens, count = x.shape[1], taps.shape[1]
    padded = F.pad(x, (0, 0, count - 1, 0))
    out = bias + x * taps[:, -1]
    for back in range(1, count):
        earlier = padded[:, count - 1 - back : count - 1 - back + tokens]
        out = out + (earlier if reach is None else earlier * reach[back]) * taps[:, -1 - back]
    return out
