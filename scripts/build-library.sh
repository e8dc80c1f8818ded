#!/usr/bin/env bash
# Builds libattamba.so for the programs of tests and prints the folder that it lies in, also under the
# name that programs look for. The features are those that `cargo test --workspace` settles on, which
# finds most of it built, or leaves it so.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo build --workspace --lib --test programs >&2
library=$(cd "${CARGO_TARGET_DIR:-target}/debug" && pwd)
ln -sf libattamba.so "$library/libattamba.so.0"
echo "$library"
