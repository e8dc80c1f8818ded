#!/usr/bin/env bash
# Builds ios/CAttamba.xcframework: the static library for devices, for the simulator and for Macs, with
# its header and module map. Needs a Mac with Xcode and the Rust targets
#
#   rustup target add aarch64-apple-ios aarch64-apple-ios-sim x86_64-apple-ios \
#       aarch64-apple-darwin x86_64-apple-darwin
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The same everywhere, as App Store Connect requires: here, in Package.swift and in the objects.
export IPHONEOS_DEPLOYMENT_TARGET=15.0 MACOSX_DEPLOYMENT_TARGET=12.0

built=${CARGO_TARGET_DIR:-target}
work=$built/xcframework
rm -rf "$work" ios/CAttamba.xcframework
mkdir -p "$work/simulator" "$work/mac"
scripts/apple-headers.sh "$work/include"

for target in aarch64-apple-ios aarch64-apple-ios-sim x86_64-apple-ios \
    aarch64-apple-darwin x86_64-apple-darwin; do
    cargo build --package attamba-ffi --profile dist --target "$target"
done
library() {
    echo "$built/$1/dist/libattamba.a"
}
lipo -create "$(library aarch64-apple-ios-sim)" "$(library x86_64-apple-ios)" \
    -output "$work/simulator/libattamba.a"
lipo -create "$(library aarch64-apple-darwin)" "$(library x86_64-apple-darwin)" \
    -output "$work/mac/libattamba.a"

xcodebuild -create-xcframework \
    -library "$(library aarch64-apple-ios)" -headers "$work/include" \
    -library "$work/simulator/libattamba.a" -headers "$work/include" \
    -library "$work/mac/libattamba.a" -headers "$work/include" \
    -output ios/CAttamba.xcframework
