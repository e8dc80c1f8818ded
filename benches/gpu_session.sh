#!/usr/bin/env bash
# What to run on a machine with a GPU that is lent for minutes: the GPU tests, the time of each kernel, and speed beside
# llama.cpp's. Everything is built beforehand, so that only running takes the GPU's time: under ten minutes with a model
# of 1.1 billion weights.
#
#     benches/gpu_session.sh build                      # anywhere, without a GPU
#     benches/gpu_session.sh run MODEL [LLAMA_BENCH]    # results go to $OUT, or to target/gpu-session
#
# ADAPTER names the GPU if there are several, ATTAMBA another build of the command. SMALL=1 takes short prompts and no
# depth, to try the script on a software driver with the bundled model.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=${OUT:-$PWD/target/gpu-session}
tests=target/gpu-session-tests
mkdir -p "$out"

build() {
    cargo build --release --package attamba-cli
    # Paths of the test programs, one a line.
    cargo test --workspace --lib --test gpu --no-run --message-format=json |
        python3 -c '
import json, sys
for line in sys.stdin:
    made = json.loads(line)
    if made.get("executable") and made["target"]["name"] in ("attamba", "gpu"):
        print(made["target"]["name"], made["executable"])' >"$tests"
}

# A step may fail: the next ones are worth their results.
step() {
    local name=$1 start=$SECONDS
    shift
    if "$@" >"$out/$name" 2>"$out/$name.err"; then result=passed; else result="failed, see $out/$name.err"; fi
    echo "$name: $result ($((SECONDS - start)) s)"
}

run() {
    local model=$1 peer=${2:-} depths=0,16384 prompt=512 generate=64 repeat=3
    local adapter=(${ADAPTER:+--adapter "$ADAPTER"})
    if [ -n "${SMALL:-}" ]; then depths=0 prompt=40 generate=4 repeat=1; fi
    local attamba=${ATTAMBA:-target/release/attamba}
    step adapters.txt "$attamba" adapters --verbose
    # Every variant of every kernel, and then whole models.
    while read -r name program; do
        if [ "$name" = attamba ]; then
            step kernels.txt "$program" engine::gpu
        elif [ -z "${SMALL:-}" ]; then
            step models.txt "$program" --skip memory_by_head
        fi
    done <"$tests"
    step profile.json "$attamba" bench -m "$model" --engine gpu "${adapter[@]}" --profile --json \
        -p "$prompt" -n "$generate" -d "$depths" -r 1
    # What longer blocks gain in prefill.
    ATTAMBA_BLOCK=128 step short_blocks.json "$attamba" bench -m "$model" --engine gpu "${adapter[@]}" --json \
        -p "$prompt" -n 1 -d 0 -r "$repeat"
    # What factors rounded to halves gain, where there are matrix units.
    step rounded.json "$attamba" bench -m "$model" --engine gpu "${adapter[@]}" --activations int8 --json \
        -p "$prompt" -n 1 -d 0 -r "$repeat"
    if [ -n "${SMALL:-}" ]; then
        step speed.json "$attamba" bench -m "$model" --engine gpu "${adapter[@]}" --json -v \
            -p "$prompt" -n "$generate" -d "$depths" -r "$repeat"
    else
        step speed.txt python3 benches/gpu_speed.py "$model" "${adapter[@]}" --depths "$depths" ${peer:+--peer "$peer"}
    fi
}

case ${1:-} in
    build) build ;;
    run) shift && run "$@" ;;
    *) sed -n 's/^# \{0,1\}//p' "$0" | head -n 10 && exit 2 ;;
esac
