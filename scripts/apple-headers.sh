#!/usr/bin/env bash
# Lays out the header and the module map of the XCFramework in a folder.
#
#   scripts/apple-headers.sh TO
#
# Xcode copies the headers of all XCFrameworks of an app into one folder. So these are in a folder of
# their own, named as the module, where the compiler looks for it too: a module.modulemap at the top
# would be in the way of another's.
set -euo pipefail

mkdir -p "$1/CAttamba"
cp "$(dirname "${BASH_SOURCE[0]}")/../ffi/include/attamba.h" "$1/CAttamba/"
cat >"$1/CAttamba/module.modulemap" <<'MAP'
module CAttamba [system] {
    header "attamba.h"
    link framework "Foundation"
    link framework "Metal"
    link framework "QuartzCore"
    export *
}
MAP
