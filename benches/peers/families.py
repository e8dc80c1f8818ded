#!/usr/bin/env python3
"""Whether llama.cpp reads the small models of public families that tests/families.rs compares attamba with as transformers
reads them, so that names, orders of rows and conventions are those of the public files.

    pip install numpy gguf llama-cpp-py-sync       llama.cpp, built; the package needs no compiler
    families.py

Prints the relative error of llama.cpp's logits, with keys and values in single precision. llama.cpp ignores the sliding
windows of some models: of those only positions within the window are compared. Exit code 1 if any differs.

One is left out: llama.cpp has windows in an EXAONE 4, and layers without rotation, only if it has 64 layers.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from built import LlamaCpp

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/families"))
import families  # noqa: E402

BOUND = 1e-3
# It has no windows in these.
SEEN_ALL = ("mistral", "phi3")
LEFT_OUT = ("exaone4_windows",)


def main():
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, family in families.FAMILIES.items():
            if name in LEFT_OUT:
                continue
            file = Path(folder, name + ".gguf")
            family.write(file, np.float32)
            count = family.config["sliding_window"] if name in SEEN_ALL else families.TOKENS
            peer = LlamaCpp(file, family.config["max_position_embeddings"], single=True)
            got = peer.feed(family.tokens()[:count])
            peer.close()
            want = np.fromfile(families.kept(name), "<f4").reshape(families.TOKENS, -1)[:count]
            error = families.relative_error(got, want)
            bad += not error < BOUND
            print(f"{name:14} {count} tokens, relative error {error:.1e}", "" if error < BOUND else " DIFFERS", flush=True)
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
