#!/usr/bin/env bash
# Builds the C library and installs it.
#
#   scripts/install.sh PREFIX [CARGO ARGUMENTS...]     e.g. /usr/local, or "$HOME/.local"
#
# PREFIX/include/attamba.h, PREFIX/lib/libattamba.{so,a} (.dylib on a Mac), a pkg-config file and
# a CMake package. DESTDIR is prepended to PREFIX, as packagers expect. Further arguments go to
# cargo (CARGO names another one), such as --no-default-features or --target TRIPLE.
set -euo pipefail

if (($# < 1)); then
    echo "usage: $0 PREFIX [CARGO ARGUMENTS...]" >&2
    exit 2
fi
mkdir -p "${DESTDIR:-}$1"
prefix=$(cd "${DESTDIR:-}$1" && pwd)
prefix=${prefix#"${DESTDIR:-}"}
shift
cd "$(dirname "${BASH_SOURCE[0]}")/.."

triple=
for ((i = 1; i < $#; i++)); do
    if [[ ${!i} == --target ]]; then
        next=$((i + 1))
        triple=${!next}/
    fi
done
"${CARGO:-cargo}" build --package attamba-ffi --profile dist "$@"
built=${CARGO_TARGET_DIR:-target}/${triple}dist
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)

if [[ $(uname -s) == Darwin ]]; then
    file=libattamba.dylib shared=libattamba.dylib soname=
    static_libs="-lc++ -framework Foundation -framework Metal -framework QuartzCore"
else
    file=libattamba.so shared=libattamba.so.$version soname=libattamba.so.0
    static_libs="-lpthread -ldl -lm -lgcc_s"
fi

to=${DESTDIR:-}$prefix
install -d "$to/include" "$to/lib/pkgconfig" "$to/lib/cmake/attamba"
install -m 644 ffi/include/attamba.h "$to/include/attamba.h"
install -m 644 "$built/libattamba.a" "$to/lib/libattamba.a"
install -m 755 "$built/$file" "$to/lib/$shared"
if [[ -n $soname ]]; then
    ln -sf "$shared" "$to/lib/$soname"
    ln -sf "$soname" "$to/lib/libattamba.so"
fi

fill() {
    sed -e "s|@PREFIX@|$prefix|" -e "s|@VERSION@|$version|" -e "s|@SHARED@|$shared|" \
        -e "s|@SONAME@|$soname|" -e "s|@STATIC_LIBS@|$1|" "$2" >"$3"
}
fill "$static_libs" ffi/package/attamba.pc.in "$to/lib/pkgconfig/attamba.pc"
fill "${static_libs// -/;-}" ffi/package/attamba-config.cmake.in "$to/lib/cmake/attamba/attamba-config.cmake"
fill "$static_libs" ffi/package/attamba-config-version.cmake.in \
    "$to/lib/cmake/attamba/attamba-config-version.cmake"
echo "installed in $to"
