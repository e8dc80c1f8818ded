"""The processes that train one model together: a single one, or those that `torchrun` started."""

import os

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


class Processes:
    def __init__(self, device: str | None = None):
        """`device`: cpu or cuda; None takes a GPU if there is one."""
        kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.rank, self.count = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        local = int(os.environ.get("LOCAL_RANK", 0))
        self.device = torch.device(kind, local) if kind == "cuda" else torch.device(kind)
        if self.count > 1:
            if kind == "cuda":
                torch.cuda.set_device(self.device)
            distributed.init_process_group("nccl" if kind == "cuda" else "gloo")
            # Models this small gain nothing from sending gradients early, and a graph in pieces compiles for longer.
            torch._dynamo.config.optimize_ddp = False

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        return DistributedDataParallel(model) if self.count > 1 else model

    def any(self, condition: bool) -> bool:
        """Whether `condition` holds in any process: what one decides applies to all."""
        if self.count == 1:
            return condition
        flag = torch.tensor(float(condition), device=self.device)
        distributed.all_reduce(flag, distributed.ReduceOp.MAX)
        return bool(flag.item())

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        if self.count > 1:
            distributed.all_reduce(value)
            value /= self.count
        return value

    def close(self):
        if self.count > 1:
            distributed.destroy_process_group()
