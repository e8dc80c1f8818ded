#!/usr/bin/env bash
# Compiles the Swift package, and the Swift of docs/, on Linux and runs its tests with the bundled model.
#
# If there is no Swift, Debian's compiler is used: it is packaged from Debian 13 on, and is installed here into
# a separate system under target/ (3 GB), which needs root and what `debootstrap` needs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

library=$(scripts/build-library.sh)
target=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)
work=$target/swift
rm -rf "$work/prefix" "$work/package" "$work/apple"
mkdir -p "$work/prefix/lib/pkgconfig" "$work/prefix/include" "$work/package" "$work/full"
cp ffi/include/attamba.h "$work/prefix/include/"
cp --dereference "$library/libattamba.so" "$work/prefix/lib/"
ln -s libattamba.so "$work/prefix/lib/libattamba.so.0"
cp "$(scripts/bundled-model.sh)" "$work/model.gguf"
cp -r Package.swift ios "$work/package/"
scripts/apple-headers.sh "$work/apple"
{
    echo '@testable import Attamba'
    sed -n '/^```swift$/,/^```$/p' docs/*.md | sed '/^```/d'
} >"$work/package/ios/Tests/AttambaTests/Docs.swift"
# What of the sample needs no Apple framework.
cp ios/Sample/Chat.swift "$work/package/ios/Tests/AttambaTests/"

# The environment for the package at the folder's path, which differs inside a chroot.
packaged_in() {
    sed -e "s|@PREFIX@|$1/prefix|" -e 's|@VERSION@|0|' -e 's|@STATIC_LIBS@||' ffi/package/attamba.pc.in \
        >"$work/prefix/lib/pkgconfig/attamba.pc"
    test=(
        env "PKG_CONFIG_PATH=$1/prefix/lib/pkgconfig" "LD_LIBRARY_PATH=$1/prefix/lib"
        "ATTAMBA_MODEL=$1/model.gguf" VK_ICD_FILENAMES=/nowhere VK_DRIVER_FILES=/nowhere
        "ATTAMBA_FULL=$1/full"
        bash -c 'swiftc -typecheck -I "$0/apple" - <<<"import CAttamba; print(attamba_abi_version())" &&
            mount -t tmpfs -o size=16k tmpfs "$0/full" &&
            exec timeout 600 swift test --package-path "$0/package" -Xswiftc -warnings-as-errors' "$1"
    )
}

# One disk is full: a small one, mounted in a namespace of its own, which needs root, if only there.
own=(unshare --mount)
if ((EUID != 0)); then
    own=(unshare --map-root-user --mount)
fi

if command -v swift >/dev/null; then
    packaged_in "$work"
    exec "${own[@]}" "${test[@]}"
fi

root=$target/swift-debian
if [[ ! -e $root/ready ]]; then
    command -v debootstrap >/dev/null || {
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends debootstrap
    }
    rm -rf "$root"
    debootstrap --variant=minbase trixie "$root" >/dev/null
    chroot "$root" apt-get install -y -qq --no-install-recommends \
        swiftlang swiftlang-dev libc6-dev libstdc++-14-dev binutils pkgconf >/dev/null
    rm -f "$root"/var/cache/apt/archives/*.deb
    mkdir -p "$root/work"
    touch "$root/ready"
fi
packaged_in /work
# In its own mount namespace, so that nothing stays mounted.
exec unshare --mount bash -c '
    mount -t proc proc "$0/proc" && mount --bind "$1" "$0/work" && exec chroot "$0" "${@:2}"
' "$root" "$work" "${test[@]}"
