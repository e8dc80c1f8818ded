#!/usr/bin/env bash
# Builds libattamba.so for Android and puts it where the Gradle project looks for it.
#
#   scripts/build-android.sh [ABI...]     default: arm64-v8a x86_64
#
# Needs ANDROID_NDK_HOME (r28 or newer), the Rust targets (`rustup target add aarch64-linux-android
# x86_64-linux-android`) and cargo-ndk (`cargo install cargo-ndk`).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

abis=("$@")
if ((${#abis[@]} == 0)); then
    abis=(arm64-v8a x86_64)
fi
: "${ANDROID_NDK_HOME:?set it to the folder of the NDK}"

RUSTFLAGS="${RUSTFLAGS:-} $(scripts/android-link-flags.sh)"
export RUSTFLAGS
to=android/attamba/src/main/native
for abi in "${abis[@]}"; do
    cargo ndk --target "$abi" --platform 26 --output-dir "$to" \
        build --package attamba-ffi --profile dist
    readelf=$(find "$ANDROID_NDK_HOME/toolchains/llvm/prebuilt" -name llvm-readelf | head -n 1)
    scripts/check-library.sh "$to/$abi/libattamba.so" "$readelf"
done
scripts/prefab.sh "$to" android/attamba/src/main/prefab
