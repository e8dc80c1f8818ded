#!/usr/bin/env bash
# Runs the C programs of ffi/tests/programs under valgrind: no invalid reads, no leaks.
# Valgrind does not support AVX-512, so the kernels are those for AVX2.
#
# Installs valgrind on Debian or Ubuntu where it is missing, as root or with sudo.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v valgrind >/dev/null; then
    as_root=()
    if ((EUID != 0)); then
        as_root=(sudo)
    fi
    "${as_root[@]}" apt-get update -qq
    # libc6-dbg: valgrind refuses to start without the symbols of the loader.
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends valgrind libc6-dbg
fi

library=$(scripts/build-library.sh)
# GPU drivers generate code at run time and leak: that is not tested here.
export VK_ICD_FILENAMES=/nowhere VK_DRIVER_FILES=/nowhere
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
model=$(scripts/bundled-model.sh)

check() {
    local program=$1 start=$SECONDS
    shift
    cc -std=c11 -D_POSIX_C_SOURCE=200809L -g -O1 -pthread -Iffi/include -o "$work/$program" \
        "ffi/tests/programs/$program.c" -L"$library" -lattamba -Wl,-rpath,"$library"
    valgrind --quiet --error-exitcode=1 --leak-check=full --show-leak-kinds=definite,indirect \
        --errors-for-leak-kinds=definite,indirect --fair-sched=yes \
        "$work/$program" "$model" "$work" "$@"
    echo "$program: clean, $((SECONDS - start)) s"
}

check misuse
check older
check chat
check threads
check history
check save
check cycles 5
