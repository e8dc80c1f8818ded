#!/usr/bin/env bash
# Runs every test of the workspace, those of the GPU engine on Mesa's software driver.
#
#   scripts/test.sh [ARGUMENTS FOR CARGO TEST...]
#
# On Debian and Ubuntu missing packages are installed, which needs root or sudo: a C and a C++
# compiler, Python with venv (the tests compare with public Python packages, in an environment that
# they create themselves), a Vulkan loader with Mesa's drivers, and spirv-val. Set VK_ICD_FILENAMES
# to test another Vulkan driver.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
command -v c++ >/dev/null || missing+=(g++)
python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3 python3-venv)
lavapipe=/usr/share/vulkan/icd.d/lvp_icd.$(uname -m).json
[ -e "$lavapipe" ] || missing+=(mesa-vulkan-drivers libvulkan1)
command -v spirv-val >/dev/null || missing+=(spirv-tools)
if ((${#missing[@]} > 0)); then
    if ! command -v apt-get >/dev/null; then
        echo "test.sh: please install these Debian packages: ${missing[*]}" >&2
        exit 1
    fi
    as_root=()
    ((EUID == 0)) || as_root=(sudo)
    "${as_root[@]}" apt-get update -q
    "${as_root[@]}" apt-get install -q -y --no-install-recommends "${missing[@]}"
fi
export VK_ICD_FILENAMES=${VK_ICD_FILENAMES:-$lavapipe}
# Mesa complains on stderr if this folder does not exist.
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/tmp}

exec cargo test --workspace "$@"
