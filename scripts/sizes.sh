#!/usr/bin/env bash
# Prints what each form of the C library takes on this machine, in bytes, as a Markdown table: shared and
# static, with and without the GPU engine. Of a static library counts what it adds to a program, here
# examples/chat.c, stripped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=${CARGO_TARGET_DIR:-target}
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

group() {
    sed ':again; s/\([0-9]\)\([0-9]\{3\}\)\($\|,\)/\1,\2\3/; t again' <<<"$1"
}

echo "| engines | shared library | program with the static library | archive |"
echo "|---|--:|--:|--:|"
for features in "CPU and GPU" "CPU alone"; do
    arguments=()
    if [[ $features == "CPU alone" ]]; then
        arguments=(--no-default-features)
    fi
    cargo build --quiet --package attamba-ffi --profile dist "${arguments[@]}"
    cc -std=c99 -O2 -Iffi/include examples/chat.c "$target/dist/libattamba.a" -lpthread -ldl -lm -static-libgcc \
        -Wl,--gc-sections -s -o "$work/chat"
    sizes=()
    for file in "$target/dist/libattamba.so" "$work/chat" "$target/dist/libattamba.a"; do
        sizes+=("$(group "$(stat --format=%s "$file")")")
    done
    echo "| $features | ${sizes[0]} | ${sizes[1]} | ${sizes[2]} |"
done
