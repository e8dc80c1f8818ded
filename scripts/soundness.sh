#!/usr/bin/env bash
# What tests cannot see.
#
#   scripts/soundness.sh [STEP...]     by default all, in this order:
#
#   proof    the pool in all interleavings of a few threads (loom)
#   regions  the pool in very many regions on more threads than cores
#   races    the same, fewer, under ThreadSanitizer
#   miri     the CPU engine's kernels, and whole sessions of tiny models, interpreted by Miri (needs a
#            nightly toolchain with its component miri)
#   fuzz     every fuzz target, under AddressSanitizer (needs cargo-fuzz, and numpy and gguf for seeds)
#
# REGIONS: how many regions (by default 10,000,000); MINUTES: how long each fuzz target runs (5);
# LOOM_MAX_PREEMPTIONS: how often loom switches away from a thread that could go on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/soundness"
# Sanitizers with a stable toolchain. Its standard library is not instrumented.
sanitizers() {
    RUSTC_BOOTSTRAP=1 "$@"
}

pool() {
    cargo "$1" --manifest-path scripts/pool/Cargo.toml "${@:2}"
}

proof() {
    RUSTFLAGS='--cfg loom' CARGO_TARGET_DIR=$CARGO_TARGET_DIR/loom \
        pool test --lib -- --nocapture --test-threads 1
}

regions() {
    pool run --release -- "${REGIONS:-10000000}"
}

races() {
    local flags='-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer'
    RUSTFLAGS=$flags sanitizers pool run --release --target "$(rustc -vV | sed -n 's/host: //p')" \
        -- $((${REGIONS:-10000000} / 10))
}

miri() {
    local tests
    # Isolation is off for the number of processors; floats are rounded as they are on every machine.
    for tests in '--lib small_' '--test small'; do
        # shellcheck disable=SC2086
        MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-deterministic-floats" CARGO_TARGET_DIR=$CARGO_TARGET_DIR/miri \
            cargo +nightly miri test --package attamba --no-default-features $tests
    done
}

fuzz() {
    local target
    [ -d fuzz/corpus ] || "${ATTAMBA_PYTHON:-python3}" fuzz/seeds.py
    # A forged file may ask for memory that no machine has: to be refused it is an answer.
    export ASAN_OPTIONS=allocator_may_return_null=1
    for target in fuzz/fuzz_targets/*.rs; do
        target=$(basename "$target" .rs)
        sanitizers cargo fuzz run "$target" -- -max_total_time=$((60 * ${MINUTES:-5})) \
            -rss_limit_mb=2048 -timeout=20 -max_len=16384 -print_final_stats=1 2>&1 |
            tee "$CARGO_TARGET_DIR/fuzz-$target.log" | tail -n 12
    done
}

mkdir -p "$CARGO_TARGET_DIR"
steps=("$@")
((${#steps[@]})) || steps=(proof regions races miri fuzz)
for step in "${steps[@]}"; do
    printf '\n== %s (%d s)\n' "$step" "$SECONDS"
    "$step"
done
