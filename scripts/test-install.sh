#!/usr/bin/env bash
# What an external user does: installs the library to a prefix, and builds the examples and the program of
# docs/embedding.md against it, with only the header, pkg-config or CMake, and the compiler.
#
# Installs pkg-config and CMake on Debian or Ubuntu where they are missing, as root or with sudo.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v pkg-config >/dev/null || ! command -v cmake >/dev/null; then
    as_root=()
    if ((EUID != 0)); then
        as_root=(sudo)
    fi
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends pkg-config cmake make
fi

work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
# block LANGUAGE NUMBER: a snippet of the page.
block() {
    awk -v fence="\`\`\`$1" -v number="$2" '
        $0 == fence { seen++; within = seen == number; next }
        /^```/ { within = 0 }
        within' docs/embedding.md
}

export PREFIX=$work/prefix
bash -euc "$(block sh 1)"
scripts/check-library.sh "$work/prefix/lib/libattamba.so"

export PKG_CONFIG_PATH=$work/prefix/lib/pkgconfig LD_LIBRARY_PATH=$work/prefix/lib
read -ra flags < <(pkg-config --cflags --libs attamba)
read -ra static < <(pkg-config --cflags --libs --static attamba)
strict=(-Wall -Wextra -Werror -Wno-missing-field-initializers)
model=$(scripts/bundled-model.sh)

mkdir "$work/page"
block c 1 >"$work/page/main.c"
cc -std=c99 "${strict[@]}" "$work/page/main.c" "${flags[@]}" -o "$work/page/strict"
compile=$(block sh 2)
(
    unset PKG_CONFIG_PATH
    cd "$work/page"
    bash -euc "$compile"
)
# The other commands need an NDK or a Mac.
for ((number = 3; ; number++)); do
    commands=$(block sh "$number")
    [[ -n $commands ]] || break
    bash -n <<<"$commands"
done
cc -std=c99 "${strict[@]}" examples/chat.c "${flags[@]}" -o "$work/chat"
c++ -std=c++17 "${strict[@]}" examples/ask.cpp "${flags[@]}" -o "$work/ask"
cc -std=c99 "${strict[@]}" examples/chat.c "$work/prefix/lib/libattamba.a" "${static[@]}" -static-libgcc \
    -o "$work/static"

echo "A bird is an animal." >"$work/document.txt"
says() {
    local said
    said=$("$@")
    [[ -n ${said//[>[:space:]]/} ]] || {
        echo "$1 prints nothing" >&2
        exit 1
    }
}
says env -u LD_LIBRARY_PATH "$work/page/chat" "$model"
says env -u LD_LIBRARY_PATH "$work/page/chat-static" "$model"
says "$work/chat" "$model" <<<"Hello!"
says "$work/static" "$model" <<<"Hello!"
says "$work/ask" "$model" "$work/document.txt" "What is a bird?" "And then?"

block cmake 1 >"$work/page/CMakeLists.txt"
cmake -S "$work/page" -B "$work/page/build" -DCMAKE_PREFIX_PATH="$PREFIX" >/dev/null
cmake --build "$work/page/build" >/dev/null
says "$work/page/build/chat" "$model"
mkdir "$work/cmake"
cat >"$work/cmake/CMakeLists.txt" <<CMAKE
cmake_minimum_required(VERSION 3.16)
project(outsider C)
find_package(attamba 0.1 REQUIRED)
add_executable(shared "$PWD/examples/chat.c")
target_link_libraries(shared PRIVATE attamba::attamba)
add_executable(static "$PWD/examples/chat.c")
target_link_libraries(static PRIVATE attamba::static)
CMAKE
cmake -S "$work/cmake" -B "$work/cmake/build" -DCMAKE_PREFIX_PATH="$work/prefix" >/dev/null
cmake --build "$work/cmake/build" >/dev/null
says "$work/cmake/build/shared" "$model" <<<"Hello!"
says "$work/cmake/build/static" "$model" <<<"Hello!"
echo "external programs build and run against the installed library"
