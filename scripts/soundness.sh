#!/usr/bin/env bash
# What tests can't see: the pool in all interleavings of a few threads (loom), in very many regions on
# more threads than cores.
#
#   scripts/soundness.sh [STEP...]     by default all: proof regions
#
# REGIONS: how many regions (by default 10,000,000).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/soundness"

proof() {
    RUSTFLAGS='--cfg loom' cargo test --manifest-path scripts/pool/Cargo.toml \
        --target-dir "$CARGO_TARGET_DIR/loom" --lib -- --nocapture --test-threads 1
}

regions() {
    cargo run --release --manifest-path scripts/pool/Cargo.toml -- "${REGIONS:-10000000}"
}

steps=("$@")
((${#steps[@]})) || steps=(proof regions)
for step in "${steps[@]}"; do
    printf '\n== %s (%d s)\n' "$step" "$SECONDS"
    "$step"
done
