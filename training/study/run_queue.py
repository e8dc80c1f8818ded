"""Train the runs of a study one after the other; started again, it resumes where it stopped.

    python training/study/run_queue.py scan|context --data DIR --out DIR [--only TEXT] [--minutes N]

The results of a complete run are kept in the study's `results/`, and such a run is not repeated. If started twice with
the same folders, the two processes share the queue.
"""

import argparse
import fcntl
import time
from pathlib import Path

import results
import torch
from common import STUDIES, folder_name, runs
from common import kept as kept_of

from attamba_train.processes import Processes
from attamba_train.trainer import Trainer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--data", type=Path, required=True, help="folder with the tokenizer and the packed sources")
    parser.add_argument("--out", type=Path, required=True, help="folder in which each run gets its own folder")
    parser.add_argument("--only", metavar="TEXT", default="", help="train only the runs with TEXT in their names")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after this many minutes")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    begun = time.monotonic()
    kept = kept_of(chosen.study)
    for run in runs(chosen.study):
        if chosen.only not in run.name or results.is_kept(run, kept):
            continue
        folder = chosen.out / folder_name(run)
        claim = _claim(folder)
        # Another process may have completed it in the meantime.
        if claim is None or results.is_kept(run, kept):
            continue
        left = chosen.minutes - (time.monotonic() - begun) / 60
        if left <= 0 or not Trainer(run, chosen.data, folder, Processes()).run(left):
            print(f"stopped in '{run.name}'; run the same command to resume", flush=True)
            return
        results.keep(run, folder, kept)
        print(f"'{run.name}' is complete", flush=True)
        torch.compiler.reset()


def _claim(folder: Path):
    """The open file whose lock marks the run in `folder` as in progress, or None if another process holds it.

    The system releases the lock with the process, so a run that was cut short is free for the next.
    """
    folder.mkdir(parents=True, exist_ok=True)
    claim = (folder / "claim").open("w")
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    return claim


if __name__ == "__main__":
    main()
