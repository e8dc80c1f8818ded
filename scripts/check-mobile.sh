#!/usr/bin/env bash
# Builds libattamba for arm64 Android and iOS on Debian or Ubuntu, without their SDKs, and checks what
# can be checked there: that everything compiles and links, the exported functions, the alignment and
# the size. The result is not for shipping: that needs the NDK (scripts/build-android.sh) and a Mac
# (scripts/build-xcframework.sh).
#
#   scripts/check-mobile.sh [android] [ios]     default: both
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/debian-rust.sh

systems=("$@")
if ((${#systems[@]} == 0)); then
    systems=(android ios)
fi
install_missing rustc-web cargo-web libstd-rust-web-dev rust-web-src gcc-aarch64-linux-gnu lld llvm

# The standard library is built from source, since it is not available prebuilt for these targets.
export RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=std,panic_unwind
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/mobile"

build() {
    /usr/bin/cargo build --package attamba-ffi --profile dist --target "$1"
}

android() {
    # Empty stand-ins for the system's libraries: the symbols that the library needs from them stay
    # undefined.
    local stand_ins=$CARGO_TARGET_DIR/stand-ins
    mkdir -p "$stand_ins"
    for name in c m dl log unwind; do
        echo | aarch64-linux-gnu-gcc -shared -nostdlib -x c - -o "$stand_ins/lib$name.so" \
            -Wl,-soname,"lib$name.so"
    done
    export CARGO_TARGET_AARCH64_LINUX_ANDROID_LINKER=aarch64-linux-gnu-gcc
    # The NDK's linker is lld too. A cross compiler looks for it only where it is told to.
    local lld
    lld=$(dirname "$(readlink -f "$(command -v ld.lld)")")
    export CARGO_TARGET_AARCH64_LINUX_ANDROID_RUSTFLAGS="$(scripts/android-link-flags.sh) \
-Clink-arg=-fuse-ld=lld -Clink-arg=-B$lld -Clink-arg=-nostdlib -Clink-arg=-L$PWD/$stand_ins \
-Clink-arg=-Wl,--unresolved-symbols=ignore-all"
    build aarch64-linux-android
    scripts/check-library.sh "$CARGO_TARGET_DIR/aarch64-linux-android/dist/libattamba.so"
}

ios() {
    # A static library is only archived, which needs no linker.
    /usr/bin/cargo rustc --package attamba-ffi --profile dist --target aarch64-apple-ios \
        --crate-type staticlib
    local library=$CARGO_TARGET_DIR/aarch64-apple-ios/dist/libattamba.a
    local object work
    work=$(mktemp -d)
    object=$(llvm-ar t "$library" | grep 'attamba.*\.o$' | head -n 1)
    (cd "$work" && llvm-ar x "$OLDPWD/$library" "$object")
    file=$(llvm-readobj --file-header "$work/$object" | grep -E 'Format|Arch:' | xargs)
    rm -r "$work"
    echo "$library: $file, $(stat --format=%s "$library") bytes"
    [[ $file == *Mach-O*arm64*aarch64* ]]
    defined=$(llvm-nm --defined-only --extern-only "$library" 2>/dev/null | grep -o ' _attamba_[a-z_]*$' |
        tr -d ' ' | sed 's/^_//' | sort -u)
    declared=$(grep -o '\battamba_[a-z_]*(' ffi/include/attamba.h | tr -d '(' | sort -u)
    diff <(echo "$declared") <(echo "$defined")
}

for system in "${systems[@]}"; do
    echo "== $system"
    "$system"
done
