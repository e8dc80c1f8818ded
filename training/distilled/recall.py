"""Recall of facts far back: by the base, by the base with a window, and by the distilled model.

    python training/distilled/recall.py --attamba BIN --base BASE.gguf --model MERGED.gguf > recall.md

Facts of five kinds are hidden in a book, as in `attamba recall`; the score is the share of the answers' tokens that a
model finds most likely. All but the base with full attention hold an eighth as many keys and values as the base does
at 8192 tokens.
"""

import argparse
import json
import subprocess
from pathlib import Path

# Name, whether it is the distilled model, and the options of `attamba recall` that select it.
CASES = [
    ("base, full attention", False, []),
    ("base, window of 1024 and the sink", False, ["--ring", "1025"]),
    ("distilled, P 64 L 896", True, ["--chunk", "64", "--window", "896"]),
    ("distilled, P 32 L 768", True, ["--chunk", "32", "--window", "768"]),
    ("distilled, P 16 L 512", True, ["--chunk", "16", "--window", "512"]),
    ("distilled, P 8 L 64", True, ["--chunk", "8", "--window", "64"]),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attamba", type=Path, required=True, help="the attamba command")
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="the distilled model, merged")
    parser.add_argument("--lengths", default="1K,2K,4K,8K")
    parser.add_argument("--depths", default="10,50")
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    what = ["--lengths", chosen.lengths, "--depths", chosen.depths, "--trials", str(chosen.trials)]
    print(f"`attamba recall {' '.join(what)}`; share of tokens recalled:\n")
    for number, (name, is_distilled, options) in enumerate(CASES):
        model = chosen.model if is_distilled else chosen.base
        command = [chosen.attamba, "recall", "-m", model, *what, *options, "--json", "--threads", str(chosen.threads)]
        found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)["cells"]
        if not number:
            heads = [f"{each['tokens']} tokens, at {each['depth_percent']:.0f} %" for each in found]
            print("| | " + " | ".join(heads) + " |\n|---|" + "--:|" * len(heads))
        print(
            f"| {name} | " + " | ".join(f"{100 * each['recalled']['share']:.0f} %" for each in found) + " |", flush=True
        )


if __name__ == "__main__":
    main()
