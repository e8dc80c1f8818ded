#!/usr/bin/env bash
# What of a release can be tested without one: that scripts/release.sh refuses what is not a clean, tagged
# version, and that Package.swift gets the URL and the checksum of an archive.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
# What is here, committed or not, as a repository of its own.
mkdir "$work/checkout"
git ls-files -z --cached --others --exclude-standard -- Cargo.toml CHANGELOG.md Package.swift scripts |
    tar -c --null --files-from - | tar -x -C "$work/checkout"
cd "$work/checkout"
git init --quiet
commit() {
    git add --all
    git -c user.name=test -c user.email=test@localhost commit --quiet --message "$1"
}
commit "A version"

refuses() {
    local wanted=$1 said
    shift
    if said=$(scripts/release.sh "$@" 2>&1) || [[ $said != *"$wanted"* ]]; then
        echo "scripts/release.sh $*: '$said' instead of '$wanted'" >&2
        exit 1
    fi
}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
refuses "usage"
refuses "not 9.9.9" 9.9.9
refuses "has no section [$version]" "$version"
echo "## [$version]" >>CHANGELOG.md
refuses "has changes" "$version"
commit "Its changes"
refuses "there is no tag v$version" "$version"
git tag "v$version"
echo >>CHANGELOG.md
commit "Later"
refuses "HEAD is not v$version" "$version"

echo archive >"$work/CAttamba.xcframework.zip"
scripts/package-swift.sh "$version" "$work/CAttamba.xcframework.zip"
sum=$(sha256sum "$work/CAttamba.xcframework.zip" | cut -d ' ' -f 1)
grep -qx "let checksum = \"$sum\"" Package.swift
grep -qx "let url = \".*/v$version/CAttamba.xcframework.zip\"" Package.swift
echo "a release of what is not clean and tagged is refused; Package.swift names an archive"
