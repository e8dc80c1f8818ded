#!/usr/bin/env bash
# Has Package.swift name the XCFramework of a release: its URL and its checksum, which is the SHA-256 that
# `swift package compute-checksum` prints.
#
#   scripts/package-swift.sh VERSION CAttamba.xcframework.zip
set -euo pipefail

sum=$( (sha256sum "$2" 2>/dev/null || shasum -a 256 "$2") | cut -d ' ' -f 1)
cd "$(dirname "${BASH_SOURCE[0]}")/.."
repository=$(sed -n 's/^repository = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
url=$repository/releases/download/v$1/CAttamba.xcframework.zip
sed -e "s|^let url = .*|let url = \"$url\"|" -e "s|^let checksum = .*|let checksum = \"$sum\"|" \
    Package.swift >Package.swift.new
mv Package.swift.new Package.swift
