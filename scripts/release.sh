#!/usr/bin/env bash
# Builds a release: of a clean checkout that is tagged vVERSION, what can be built on this system, with
# checksums and bills of materials, into target/release-VERSION.
#
#   scripts/release.sh VERSION
#
#   everywhere   the C library with its header, for this system
#   Linux        also for arm64; the crates; the training kit's wheel; bills of materials (CycloneDX); with
#                ANDROID_NDK_HOME the Android library as a Maven repository
#   macOS        CAttamba.xcframework.zip, and Package.swift with its URL and checksum: committed and tagged
#                VERSION it is what Swift packages depend on
#
# Needs on Linux: rustup's target aarch64-unknown-linux-gnu with gcc-aarch64-linux-gnu, or Debian, whose
# compilers are installed then; Python with pip.
set -euo pipefail

if (($# != 1)); then
    echo "usage: $0 VERSION" >&2
    exit 2
fi
version=$1
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    echo "$0: $*" >&2
    exit 1
}

named=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
[[ $named == "$version" ]] || fail "Cargo.toml has version $named, not $version"
grep -q "^## \[$version\]" CHANGELOG.md || fail "CHANGELOG.md has no section [$version]"
[[ -z $(git status --porcelain) ]] || fail "the checkout has changes: $(git status --short | head -n 1)"
tag=$(git rev-parse --quiet --verify "refs/tags/v$version^{commit}") || fail "there is no tag v$version"
[[ $tag == $(git rev-parse HEAD) ]] || fail "HEAD is not v$version"

SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
target=${CARGO_TARGET_DIR:-$PWD/target}
to=$target/release-$version
rm -rf "$to"
mkdir -p "$to"

# archive NAME FOLDER: the same bytes for the same files.
archive() {
    if tar --version 2>/dev/null | grep -q GNU; then
        tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" \
            -C "$2" -c . | gzip --no-name --best >"$to/$1.tar.gz"
    else
        tar -C "$2" -c . | gzip -n -9 >"$to/$1.tar.gz"
    fi
}

# c_library NAME [ARGUMENTS FOR CARGO...]
c_library() {
    local name=attamba-$version-$1 staged
    shift
    staged=$(mktemp -d)
    DESTDIR=$staged scripts/install.sh "/$name" "$@"
    cp LICENSE-APACHE LICENSE-MIT "$staged/$name/"
    # Wherever it is unpacked.
    local pc=$staged/$name/lib/pkgconfig/attamba.pc
    sed 's|^prefix=.*|prefix=${pcfiledir}/../..|' "$pc" >"$pc.new"
    mv "$pc.new" "$pc"
    archive "$name" "$staged"
    rm -r "$staged"
}

arm64() (
    triple=aarch64-unknown-linux-gnu
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
    if ! rustup target list --installed 2>/dev/null | grep -qx "$triple"; then
        source scripts/debian-rust.sh
        install_missing rustc-web cargo-web libstd-rust-web-dev libstd-rust-web-dev:arm64 \
            gcc-aarch64-linux-gnu libc6-dev-arm64-cross
        export CARGO=/usr/bin/cargo CARGO_TARGET_DIR=$target/aarch64-deb
    fi
    c_library linux-arm64 --target "$triple"
)

crates() {
    # Together, since the second and third need the first, which is not published yet.
    cargo package --workspace --no-verify
    cp "$target"/package/*-"$version".crate "$to/"
}

wheel() {
    python3 -m pip wheel --quiet --no-deps --wheel-dir "$to" ./training
}

materials() {
    if ! cargo cyclonedx --version >/dev/null 2>&1; then
        cargo install --quiet --locked --root "$target/tools" --target-dir "$target/tools/build" \
            cargo-cyclonedx
        PATH=$target/tools/bin:$PATH
    fi
    cargo cyclonedx --format json --spec-version 1.5 --override-filename attamba.cdx
    mv attamba.cdx.json "$to/attamba-$version.cdx.json"
    mv cli/attamba.cdx.json "$to/attamba-cli-$version.cdx.json"
    mv ffi/attamba.cdx.json "$to/attamba-ffi-$version.cdx.json"
}

android() {
    scripts/build-android.sh
    (cd android && ./gradlew --quiet :attamba:publish)
    archive "attamba-android-$version" android/build/maven
}

xcframework() {
    scripts/build-xcframework.sh
    (cd ios && zip --quiet --recurse-paths --symlinks -X "$to/CAttamba.xcframework.zip" CAttamba.xcframework)
    scripts/package-swift.sh "$version" "$to/CAttamba.xcframework.zip"
    cp Package.swift "$to/"
}

windows() {
    local name=attamba-$version-windows-x86_64
    cargo build --package attamba-ffi --profile dist
    mkdir -p "$target/$name"
    cp "$target"/dist/attamba.{dll,dll.lib,lib} ffi/include/attamba.h LICENSE-APACHE LICENSE-MIT \
        "$target/$name/"
    (cd "$target" && 7z a -bso0 "$to/$name.zip" "$name")
}

case $(uname -s) in
Linux)
    c_library "linux-$(uname -m)"
    if [[ $(uname -m) == x86_64 ]]; then
        arm64
    fi
    crates
    wheel
    materials
    if [[ -n ${ANDROID_NDK_HOME:-} ]]; then
        android
    fi
    ;;
Darwin)
    c_library "macos-$(uname -m)"
    xcframework
    ;;
MINGW* | MSYS*) windows ;;
*) fail "nothing is built on $(uname -s)" ;;
esac

cd "$to"
sums=SHA256SUMS-$(uname -s | cut -d _ -f 1)
(sha256sum -- * 2>/dev/null || shasum -a 256 -- *) >"../$sums"
mv "../$sums" .
cat "$sums"
