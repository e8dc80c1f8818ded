#!/usr/bin/env bash
# Compares the library's public API with that of the last release, where there is one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tag=$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null || true)
if [ -z "$tag" ]; then
    echo "There is no release yet to compare the public API with."
    exit 0
fi
command -v cargo-semver-checks >/dev/null || cargo install --quiet --locked cargo-semver-checks
exec cargo semver-checks --package attamba --baseline-rev "$tag"
