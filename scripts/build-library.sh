#!/usr/bin/env bash
# Builds libattamba.so for the test programs and prints its folder, also under the
# name that programs look for. The features are those that `cargo test --workspace` resolves to, so
# that most of it is already built, or stays built for it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo build --workspace --lib --test programs >&2
library=$(cd "${CARGO_TARGET_DIR:-target}/debug" && pwd)
ln -sf libattamba.so "$library/libattamba.so.0"
echo "$library"
