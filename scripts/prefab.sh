#!/usr/bin/env bash
# Lays out the header and libattamba.so as a Prefab package, in which apps whose own code is C or C++ find
# them inside of the AAR.
#
#   scripts/prefab.sh LIBRARIES TO     LIBRARIES has a folder for each ABI
set -euo pipefail

libraries=$(cd "$1" && pwd)
rm -rf "$2"
mkdir -p "$2"
to=$(cd "$2" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
ndk=$(sed -n 's/^ndk = "\([0-9]*\).*/\1/p' android/gradle/libs.versions.toml)
api=$(sed -n 's/^minSdk = "\([0-9]*\)"$/\1/p' android/gradle/libs.versions.toml)

module=$to/modules/attamba
mkdir -p "$module/include"
cp ffi/include/attamba.h "$module/include/"
echo '{"schema_version": 2, "name": "attamba", "version": "'"$version"'", "dependencies": []}' >"$to/prefab.json"
echo '{"export_libraries": [], "library_name": "libattamba", "android": {}}' >"$module/module.json"
for library in "$libraries"/*/libattamba.so; do
    abi=$(basename "$(dirname "$library")")
    mkdir -p "$module/libs/android.$abi"
    cp "$library" "$module/libs/android.$abi/"
    echo '{"abi": "'"$abi"'", "api": '"$api"', "ndk": '"$ndk"', "stl": "none", "static": false}' \
        >"$module/libs/android.$abi/abi.json"
done
