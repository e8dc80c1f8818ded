"""Train the runs of the study one after the other; started again, it goes on where it stopped.

python training/study/run_queue.py --data DIR --out DIR [--minutes N]
"""

import argparse
import time
from pathlib import Path

import torch
from common import folder_name, runs

from attamba_train import checkpoint
from attamba_train.processes import Processes
from attamba_train.trainer import Trainer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the tokenizer and the packed sources")
    parser.add_argument("--out", type=Path, required=True, help="folder that gets a folder a run")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many minutes")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    begun = time.monotonic()
    for run in runs():
        folder = chosen.out / folder_name(run)
        if checkpoint.exists(folder) and checkpoint.load(folder)["step"] >= run.steps:
            continue
        left = chosen.minutes - (time.monotonic() - begun) / 60
        if left <= 0 or not Trainer(run, chosen.data, folder, Processes()).run(left):
            print(f"stopped in '{run.name}'; the same command goes on", flush=True)
            return
        print(f"'{run.name}' is complete", flush=True)
        torch.compiler.reset()


if __name__ == "__main__":
    main()
