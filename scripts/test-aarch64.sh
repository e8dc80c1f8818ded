#!/usr/bin/env bash
# Builds the library's tests for aarch64 Linux and runs them under qemu, as processors with and
# without the extensions that have kernels of their own.
#
#   scripts/test-aarch64.sh [CPU...]     qemu's names; by default cortex-a53 cortex-a76 max
#
# Needs Debian or Ubuntu on another architecture, and root or sudo for what is missing: Debian's
# rustc-web has the standard library for aarch64, rustup's toolchain need not. With ATTAMBA_PYTHON
# (a Python that tests/common/python.rs accepts) the logits are compared with spec/reference.py
# too, on the last of the processors. PROPTEST_CASES sets how many random cases a property gets.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=aarch64-unknown-linux-gnu
# Cortex-A53: NEON alone. Cortex-A76: the dot product too. max: 8-bit matrix products as well.
cpus=("$@")
if ((${#cpus[@]} == 0)); then
    cpus=(cortex-a53 cortex-a76 max)
fi

packages=(
    rustc-web cargo-web libstd-rust-web-dev libstd-rust-web-dev:arm64
    gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static
)
missing=()
for package in "${packages[@]}"; do
    state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    if [[ $state != installed ]]; then
        missing+=("$package")
    fi
done
if ((${#missing[@]} > 0)); then
    echo "installing ${missing[*]}"
    as_root=()
    if ((EUID != 0)); then
        as_root=(sudo)
    fi
    "${as_root[@]}" dpkg --add-architecture arm64
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

# Without RUSTC this cargo would take rustup's compiler.
export RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/aarch64-deb"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=qemu-aarch64-static
# An emulated machine is some twenty times slower.
export PROPTEST_CASES="${PROPTEST_CASES:-64}"

run() {
    /usr/bin/cargo test --no-default-features --target "$target" "$@"
}

run --lib --no-run
for cpu in "${cpus[@]}"; do
    echo "== $cpu"
    export QEMU_CPU=$cpu
    run --quiet --lib -- --nocapture the_portable_table_is_the_last_of_all | grep '^instruction sets'
    run --quiet --lib
done
if [[ -n ${ATTAMBA_PYTHON:-} ]]; then
    echo "== $QEMU_CPU, logits against spec/reference.py"
    run --quiet --test logits
fi
