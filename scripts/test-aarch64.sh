#!/usr/bin/env bash
# Builds the library and its tests for aarch64 Linux and runs them under qemu, on processors with and
# without the extensions that have dedicated kernels; then checks the shared library, and runs
# C programs that use it.
#
#   scripts/test-aarch64.sh [--all] [CPU...]     qemu's names; default: cortex-a53 cortex-a76 max
#
# With --all the whole test suite runs on the last of the processors, including the logits against
# spec/reference.py and the GPU engine on a software driver for arm64, which takes half an
# hour or more; ATTAMBA_PYTHON names a Python for it (see tests/common/python.rs). PROPTEST_CASES sets
# the number of random cases per property.
#
# Needs Debian or Ubuntu on another architecture, and root or sudo to install what is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/debian-rust.sh

all=
if [[ ${1:-} == --all ]]; then
    all=1
    shift
fi
target=aarch64-unknown-linux-gnu
# Cortex-A53: NEON only. Cortex-A76: dot product too. max: 8-bit matrix products as well.
cpus=("$@")
if ((${#cpus[@]} == 0)); then
    cpus=(cortex-a53 cortex-a76 max)
fi

install_missing rustc-web cargo-web libstd-rust-web-dev libstd-rust-web-dev:arm64 \
    gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/aarch64-deb"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=qemu-aarch64-static
# An emulated machine is about twenty times slower.
export PROPTEST_CASES="${PROPTEST_CASES:-64}"

run() {
    /usr/bin/cargo test --package attamba --no-default-features --target "$target" "$@"
}

run --lib --no-run
for cpu in "${cpus[@]}"; do
    echo "== $cpu"
    export QEMU_CPU=$cpu
    run --quiet --lib -- --nocapture the_portable_table_is_the_last_of_all | grep '^instruction sets'
    run --quiet --lib
done
if [[ -n $all ]]; then
    echo "== $QEMU_CPU, the whole suite"
    install_missing libvulkan1:arm64 mesa-vulkan-drivers:arm64
    export VK_ICD_FILENAMES=/usr/share/vulkan/icd.d/lvp_icd.aarch64.json
    export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/tmp}
    run --quiet --features gpu --tests
fi

echo "== instructions of the kernels"
install_missing gcc qemu-user
CARGO_TARGET_DIR=${CARGO_TARGET_DIR%/aarch64-deb} python3 benches/arm/count.py --check

echo "== libattamba.so"
/usr/bin/cargo build --package attamba-ffi --profile dist --target "$target"
library=$CARGO_TARGET_DIR/$target/dist
scripts/check-library.sh "$library/libattamba.so"
ln -sf libattamba.so "$library/libattamba.so.0"
export VK_ICD_FILENAMES=/nowhere VK_DRIVER_FILES=/nowhere
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
for program in chat threads misuse; do
    aarch64-linux-gnu-gcc -std=c11 -D_POSIX_C_SOURCE=200809L -O1 -pthread -Iffi/include \
        -o "$work/$program" "ffi/tests/programs/$program.c" -L"$library" -lattamba
    # The libraries from the distribution's arm64 packages, if installed, otherwise the compiler's.
    qemu-aarch64-static -E LD_LIBRARY_PATH="$library:/usr/aarch64-linux-gnu/lib" \
        -L /usr/aarch64-linux-gnu "$work/$program" "$(scripts/bundled-model.sh)" "$work"
    echo "$program: same output as on this machine"
done
