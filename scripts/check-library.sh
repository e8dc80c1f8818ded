#!/usr/bin/env bash
# Checks a shared library before it is shipped, and reports its size: it must export the functions of
# the header and nothing else, and its segments must be aligned to 16 KiB pages where required.
#
#   scripts/check-library.sh LIBRARY [READELF]
#
# ALIGNMENT (default 16384 for arm64, otherwise 4096) and MOST (default 7.76 MB for arm64, otherwise 9.84 MB)
# are the limits in bytes. The goal of 6 MB with the GPU engine is not met: linked as for
# Android it is 6.7 MB on arm64. These limits only ensure that it does not grow further.
set -euo pipefail

library=$1
readelf=${2:-readelf}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

fail() {
    echo "$library: $*" >&2
    exit 1
}

machine=$("$readelf" --file-header --wide "$library" | sed -n 's/^ *Machine: *//p')
case $machine in
*AArch64*) alignment=${ALIGNMENT:-16384} most=${MOST:-7760000} ;;
*) alignment=${ALIGNMENT:-4096} most=${MOST:-9840000} ;;
esac

exported=$("$readelf" --dyn-syms --wide "$library" |
    awk '$5 != "LOCAL" && $7 != "UND" && $8 != "" && NR > 3 { sub(/@.*/, "", $8); print $8 }' | sort)
declared=$(grep -o '\battamba_[a-z_]*(' "$root/ffi/include/attamba.h" | tr -d '(' | sort -u)
diff <(echo "$declared") <(echo "$exported") >/dev/null ||
    fail "exports differ from the header:
$(diff <(echo "$declared") <(echo "$exported") || true)"

smallest=
while read -r hexadecimal; do
    if [[ -z $smallest ]] || ((hexadecimal < smallest)); then
        smallest=$((hexadecimal))
    fi
done < <("$readelf" --program-headers --wide "$library" | awk '$1 == "LOAD" { print $NF }')
((smallest >= alignment)) || fail "segments are aligned to $smallest bytes, not $alignment"

bytes=$(stat -L --format=%s "$library" 2>/dev/null || stat -L -f %z "$library")
((bytes <= most)) || fail "$bytes bytes exceed the limit of $most"
echo "$library: $machine, $bytes bytes, $(echo "$exported" | wc -l) functions, aligned to $smallest"
