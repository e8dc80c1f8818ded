#!/usr/bin/env python3
"""Counts what the library's public API consists of: modules, types, their public fields, variants and
methods, traits, functions and constants. Trait implementations and hidden items do not count.

    scripts/public-items.py [--list]
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def documentation() -> dict:
    """The documentation of the library as rustdoc's JSON, which needs unstable options."""
    command = ["cargo", "rustdoc", "--quiet", "--package", "attamba", "--lib", "--"]
    options = ["-Z", "unstable-options", "--output-format", "json"]
    env = os.environ | {"RUSTC_BOOTSTRAP": "1"}
    subprocess.run(command + options, cwd=ROOT, env=env, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return json.loads((target / "doc/attamba.json").read_text())


def children(kind: str, inner: dict, index: dict) -> list:
    """The items that an item contains, by id."""
    if kind == "module":
        return inner["items"]
    if kind == "trait":
        return inner["items"]
    if kind == "use":
        return [inner["id"]]
    own = []
    if kind == "enum":
        own = inner["variants"]
    if kind in ("struct", "variant"):
        fields = inner["kind"]
        if isinstance(fields, dict):
            own = fields["tuple"] if "tuple" in fields else next(iter(fields.values()))["fields"]
    for impl in inner.get("impls", []):
        impl = index[str(impl)]["inner"]["impl"]
        if impl["trait"] is None:
            own = own + impl["items"]
    return own


def main() -> None:
    crate = documentation()
    index, names = crate["index"], {}

    def walk(item: int, path: str) -> None:
        found = index.get(str(item))
        if found is None or item in names:
            return
        (kind, inner), name = *found["inner"].items(), found["name"]
        if kind != "use":
            path = f"{path}::{name}" if path else name
            # The fields of a tuple variant have no names that anybody could use.
            if not (kind == "struct_field" and name.isdigit()):
                names[item] = (kind, path)
        for child in children(kind, inner, index):
            walk(child, path) if child is not None else None

    walk(crate["root"], "")
    if "--list" in sys.argv:
        print(*sorted(f"{path} ({kind})" for kind, path in names.values()), sep="\n")
    for kind, count in Counter(kind for kind, _ in names.values()).most_common():
        print(f"{count:5} {kind}")
    print(f"{len(names):5} in all")


main()
