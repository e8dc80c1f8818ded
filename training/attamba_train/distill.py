"""A pretrained transformer distilled into Attamba: the base itself, with full attention, is the teacher.

Only the mixers are trained and, if enabled, the attention matrices. Everything else stays as it is, is shared by
teacher and student, and is kept in bfloat16 if the training computes in it.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from . import checkpoint, evaluate, gguf_file, lessons, pretrained, settings
from .distill_config import DistillConfig
from .errors import KitError
from .model import Decoder
from .trainer import Trainer

ATTENTION = ("attn_q.weight", "attn_k.weight", "attn_v.weight", "attn_output.weight")


class Distillation(Trainer):
    config: DistillConfig

    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that the student does not share with its teacher."""
        return _trained(self.model)

    def _make_model(self, data: Path, begun: bool) -> Decoder:
        config = self.config
        if config.train.compile and self.processes.device.type == "cpu":
            raise KitError(
                "On a CPU 'train.compile' must be false: each pair of chunk length and window would be compiled."
            )
        self.teacher = gguf_file.load(Path(config.base)).requires_grad_(False)
        student = pretrained.attach(self.teacher, config.model, config.seed)
        if config.attention_rate:
            _own_attention(student)
        if config.train.precision == "bfloat16":
            _shorten_frozen(self.teacher, student)
        if config.init and not begun:
            init, trained = Path(config.init), _trained(student)
            reader = gguf_file.open_reader(init)
            if pretrained.BASE_SHA256 in reader.fields:
                reader = pretrained.open_delta(init, Path(config.base))
            load_trained(student, gguf_file.read_parameters(reader, init, trained))
        return student

    def _make_objective(self) -> nn.Module:
        if self.config.train.compile:
            self.teacher.compile_training()
        return lessons.LESSONS[self.config.match](self.model, self.teacher.to(self.processes.device))

    def _make_optimizer(self) -> torch.optim.Optimizer:
        train, trained = self.config.train, self.trained()
        attention = [value for name, value in trained.items() if name.endswith(ATTENTION)]
        matrices = [value for name, value in trained.items() if name.endswith("_proj.weight")]
        others = [value for name, value in trained.items() if not name.endswith((*ATTENTION, "_proj.weight"))]
        groups = [
            {"params": matrices, "weight_decay": train.weight_decay},
            {"params": others, "weight_decay": 0.0},
            # Decay would pull what the base has learned towards zero.
            {"params": attention, "weight_decay": 0.0, "share": self.config.attention_rate},
        ]
        groups = [group for group in groups if group["params"]]
        return torch.optim.AdamW(groups, lr=train.learning_rate, betas=(0.9, train.beta2), fused=True)

    def _draw(self) -> dict[str, int]:
        windows = self.config.windows or (self.config.chunks.window,)
        window = np.random.default_rng([self.config.seed, 4, self.step]).choice(windows)
        return super()._draw() | {"window": int(window)}

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: value.detach() for name, value in self.trained().items()}

    def _load_weights(self, state: dict[str, torch.Tensor]):
        load_trained(self.model, state)

    def _score(self, windows: np.ndarray, chunk: int | None) -> float:
        with self._autocast():
            return evaluate.mean_loss(self.model, windows, self.processes.device, chunk)


def _trained(student: Decoder) -> dict[str, nn.Parameter]:
    return {name: value for name, value in student.named_parameters() if value.requires_grad}


@torch.no_grad()
def load_trained(student: Decoder, state: dict[str, torch.Tensor]):
    for name, value in state.items():
        student.get_parameter(name).copy_(value)


def export(folder: Path, out: Path, kind: str):
    """The delta of the run in `folder`: only its trained tensors.

    The context is the base's: it handles these distances, however short the sequences seen by its student were.
    """
    state = checkpoint.load(folder)
    config = settings.read(DistillConfig, state["config"], str(folder / checkpoint.NAME))
    base = Path(config.base)
    model = replace(config.model, context=gguf_file.read_config(base).context)
    pretrained.write_delta(out, base, config.name, model, state["model"], kind)


def is_run(folder: Path) -> bool:
    """Whether `folder` holds a distillation rather than a training run."""
    return "base" in checkpoint.load(folder)["config"]


def _own_attention(student: Decoder):
    """Replace the attention matrices, which the teacher owns, by trainable copies."""
    for layer in student.blk:
        for name in ATTENTION:
            linear = layer.get_submodule(name.removesuffix(".weight"))
            linear.weight = nn.Parameter(linear.weight.detach().clone())


def _shorten_frozen(*models: Decoder):
    for model in models:
        for parameter in model.parameters():
            if parameter.dim() == 2 and not parameter.requires_grad:
                parameter.data = parameter.data.bfloat16()
