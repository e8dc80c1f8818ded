"""The decoder, readable in one go: embedding, layers, output."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from ..errors import KitError
from .attention import Mask, Sight, rotary_tables, rotate
from .blocked import Blocks
from .by_head import Alike, ByHead, attend
from .config import ModelConfig
from .mixer import Mixer
from .plain import PlainScan
from .scan import CarriedScan, ResetScan, StridedScan
from .schedule import Schedule


@dataclass(frozen=True, eq=False)
class Layout:
    """Everything position-dependent that a layer needs, computed for T tokens."""

    sight: ByHead | Alike
    scan: CarriedScan | ResetScan | StridedScan | PlainScan | None
    reach: list[torch.Tensor] | None
    """In the form that `mixer.convolve` takes."""


class AttentionLayer(nn.Module):
    """Attention over keys and values that a scan may have summarized, then a gated feed-forward network."""

    def __init__(self, config: ModelConfig, index: int):
        super().__init__()
        self.config, traits = config, config.traits
        self.windowed = traits.window(index) is not None
        self.table = None if index in traits.unrotated else int(self.windowed and bool(traits.local_frequencies))
        self.mixes = config.mixer is not None and not self.windowed
        width, kv_width, mixed = config.width, config.kv_width, config.heads * config.head_dim

        def norm(size: int, present: bool) -> nn.Module:
            return nn.RMSNorm(size, config.norm_eps) if present else nn.Identity()

        self.attn_norm = norm(width, traits.norms_before)
        self.attn_q = nn.Linear(width, mixed, bias="attn_q" in traits.biases)
        self.attn_q_norm = norm(config.head_dim, traits.head_norms)
        self.attn_k_norm = norm(config.head_dim, traits.head_norms)
        if config.projected_kv:
            self.attn_k = nn.Linear(width, kv_width, bias="attn_k" in traits.biases)
            self.attn_v = nn.Linear(width, kv_width, bias="attn_v" in traits.biases)
        if self.mixes:
            self.ssm_k = Mixer(config.mixer, kv_width)
            self.ssm_v = Mixer(config.mixer, kv_width)
        self.attn_output = nn.Linear(mixed, width, bias="attn_output" in traits.biases)
        self.post_attention_norm = norm(width, traits.norms_after)
        self.ffn_norm = norm(width, traits.norms_before)
        self.ffn_gate = nn.Linear(width, config.feed_forward, bias=False)
        self.ffn_up = nn.Linear(width, config.feed_forward, bias=False)
        self.ffn_down = nn.Linear(config.feed_forward, width, bias=False)
        self.post_ffw_norm = norm(width, traits.norms_after)

    def forward(self, h, tables, layout: Layout):
        """h [B, T, width] to the same."""
        return self.feed(h + self.attend(h, tables, layout))

    def attend(self, h, tables, layout: Layout):
        """What attention adds to h [B, T, width]."""
        config, traits = self.config, self.config.traits
        x = self.attn_norm(h)
        k, v = (self.attn_k(x), self.attn_v(x)) if config.projected_kv else (x, x)
        if self.mixes:
            k = k + self.ssm_k(k, layout.scan, layout.reach)
            v = v + self.ssm_v(v, layout.scan, layout.reach)
        q = self.attn_q_norm(self.attn_q(x).unflatten(-1, (config.heads, -1)))
        k = self.attn_k_norm(k.unflatten(-1, (config.kv_heads, -1)))
        if self.table is not None:
            q, k = (rotate(each, tables[self.table], traits.half_split) for each in (q, k))
        if traits.attention_scale is not None:  # whatever attends divides by the root of the width
            q = q * (traits.attention_scale * config.head_dim**0.5)
        v = v.unflatten(-1, (config.kv_heads, -1))
        seen = attend(q, k, v, layout.sight)
        return self._scaled(self.post_attention_norm(self.attn_output(seen)))

    def feed(self, h):
        """h [B, T, width] plus the output of the feed-forward network."""
        y = self.ffn_norm(h)
        gate = self.ffn_gate(y)
        gate = F.gelu(gate, approximate="tanh") if self.config.traits.activation == "gelu" else F.silu(gate)
        return h + self._scaled(self.post_ffw_norm(self.ffn_down(gate * self.ffn_up(y))))

    def _scaled(self, added):
        scale = self.config.traits.residual_scale
        return added if scale == 1.0 else scale * added

    def outputs(self):
        """The projections that write into the residual stream."""
        return [self.attn_output, self.ffn_down]


class MambaLayer(nn.Module):
    """A layer of pure Mamba-2: one mixer and nothing else."""

    def __init__(self, config: ModelConfig, _):
        super().__init__()
        self.norm = nn.RMSNorm(config.width, config.norm_eps)
        self.mixer = Mixer(config.mixer, config.width)

    def forward(self, h, tables, layout: Layout):
        return h + self.mixer(self.norm(h), layout.scan, layout.reach)

    def outputs(self):
        return [self.mixer.out_proj]


def run_layer(layer: nn.Module, h, tables, layout: Layout):
    return layer(h, tables, layout)


def mean_loss(h, output, targets):
    """Mean cross-entropy in nats of `targets` [B, T] by the logits that `output` makes of `h` [B, T, width]."""
    logits = F.linear(h, output)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class Decoder(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.plain = False
        """Whether to scan token by token, for comparison."""
        self._compiled_layer = self._compiled_loss = None
        self._plans = {}
        layer = MambaLayer if config.architecture == "mamba" else AttentionLayer
        self.token_embd = nn.Embedding(config.vocab_size, config.width)
        self.blk = nn.ModuleList(layer(config, index) for index in range(config.layers))
        self.output_norm = nn.RMSNorm(config.width, config.norm_eps)
        if not config.tied:
            self.output = nn.Linear(config.width, config.vocab_size, bias=False)

    def init_weights(self, seed: int) -> "Decoder":
        """Random weights that depend only on `seed`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    nn.init.trunc_normal_(module.weight, std=module.in_features**-0.5)
                elif isinstance(module, Mixer):
                    module.init_weights()
            nn.init.trunc_normal_(self.token_embd.weight, std=self.config.width**-0.5)
        # The residual stream is a sum over the layers: scaled so that its magnitude does not depend on their number.
        for layer in self.blk:
            for projection in layer.outputs():
                projection.weight.data *= (2 * self.config.layers) ** -0.5
        return self

    def schedules(self, chunk: int | None) -> list[Schedule | None]:
        """The schedule of each layer for chunks of `chunk` tokens (None: the configured length)."""
        chunks, layers = self.config.chunks, self.config.layers
        if chunks is None:
            return [None] * layers
        length = chunks.length if chunk is None else chunk
        if length != chunks.length and not isinstance(chunks.offsets, str):
            raise KitError(f"The chunk offsets are given for length {chunks.length}; length {length} has none.")
        return [Schedule(length, chunks.offset(i, layers, length), chunks.sink) for i in range(layers)]

    def forward(self, tokens, targets=None, chunk: int | None = None, window: int | None = None):
        """tokens [B, T]. Logits [B, T, vocab]; with `targets` [B, T] the mean cross-entropy in nats.

        `chunk` and `window` override the configured lengths.
        """
        h = self.hidden(tokens, *self.plan(tokens.shape[1], chunk, tokens.device, window))
        if targets is None:
            return F.linear(h, self.output_weight)
        return (self._compiled_loss if self._is_compiled else mean_loss)(h, self.output_weight, targets)

    def plan(self, tokens: int, chunk: int | None, device, window: int | None = None):
        """Everything that depends only on positions: the rotary tables, and a layout for each layer.

        Computed once for each length and kept out of the layers: fused into a compiled kernel it would be recomputed
        for every element.
        """
        key = (tokens, chunk, window, device, self.plain, self._is_compiled)
        if key not in self._plans:
            kinds = [
                (each, self.config.traits.window(i), self.config.far_in(i))
                for i, each in enumerate(self.schedules(chunk))
            ]
            made = {kind: self._lay_out(*kind, tokens, device, window) for kind in kinds}
            self._plans[key] = rotary_tables(tokens, self.config, device), [made[kind] for kind in kinds]
        return self._plans[key]

    def _lay_out(
        self,
        schedule: Schedule | None,
        own: int | None,
        far: tuple[int, ...],
        tokens: int,
        device,
        window: int | None,
    ) -> Layout:
        """`own`: the window that the layer has whatever the others see, the current token counted; `far`: the KV heads
        that see everything."""
        config = self.config
        if own is not None:
            schedule, window = Schedule(length=0, sink=False), own - 1
        elif schedule and window is None:
            window = config.chunks.window
        sight = self._look(schedule, window, tokens, device)
        if far:
            everything = self._look(None, None, tokens, device)
            near = [head for head in range(config.kv_heads) if head not in far]
            sight = ByHead([(list(far), everything), (near, sight)]) if near else everything
        if config.mixer is None or own is not None:
            return Layout(sight, None, None)
        kind = config.mixer.scan
        reach = schedule.reach(tokens, config.mixer.conv, device) if kind == "reset" else None
        if self.plain:
            scan = PlainScan(kind, schedule)
        elif kind == "carried":
            scan = CarriedScan()
        else:
            scan = (ResetScan if kind == "reset" else StridedScan)(schedule, tokens, device)
        return Layout(sight, scan, reach)

    def _look(self, schedule: Schedule | None, window: int | None, tokens: int, device) -> Alike:
        """What KV heads with this schedule (None: no chunks and no window) see."""
        if device.type == "cpu" and not self._is_compiled and self.config.architecture != "mamba":
            return Blocks(schedule, window if schedule else tokens, tokens, device)
        if schedule is None:
            return None
        return (Sight if device.type == "cpu" else Mask)(schedule, window, tokens, device)

    def hidden(self, tokens, tables, layouts: list[Layout]):
        """The hidden states that the output matrix is applied to: [B, T, width]."""
        h = self.embed(tokens)
        for layer, layout in zip(self.blk, layouts, strict=True):
            h = (self._compiled_layer if self._is_compiled else run_layer)(layer, h, tables, layout)
        h, scale = self.output_norm(h), self.config.traits.logit_scale
        return h if scale == 1.0 else scale * h

    def embed(self, tokens):
        """What enters the first layer: [B, T, width]."""
        # The sum over the layers is kept in float32 even if a frozen embedding is not.
        h, scale = self.token_embd(tokens).to(self.output_norm.weight.dtype), self.config.traits.embedding_scale
        return h if scale == 1.0 else scale * h

    @property
    def _is_compiled(self) -> bool:
        return self._compiled_layer is not None and self.training

    @property
    def output_weight(self) -> torch.Tensor:
        return self.token_embd.weight if self.config.tied else self.output.weight

    def compile_training(self):
        """From now on, run compiled while in training mode; each chunk length is compiled when it first occurs.

        One graph serves all layers, since they differ only in their tensors.
        """
        self._compiled_layer, self._compiled_loss = torch.compile(run_layer), torch.compile(mean_loss)

    def parameter_count(self) -> int:
        return sum(p.numel() for p in self.parameters())
