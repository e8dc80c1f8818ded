#!/usr/bin/env bash
# Tests the Android wrapper on this machine's JVM: Kotlin compiled by the compiler
# from npm, the JNI shim by the C compiler, both with the library of this checkout and the
# bundled model. The few Android classes that the wrapper uses are test stubs.
#
# Installs what is missing on Debian or Ubuntu, as root or with sudo.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# That of the Gradle build.
compiler_version=$(sed -n 's/^kotlin = "\(.*\)"$/\1/p' android/gradle/libs.versions.toml)

need() {
    local command=$1
    shift
    if ! command -v "$command" >/dev/null; then
        local as_root=()
        if ((EUID != 0)); then
            as_root=(sudo)
        fi
        "${as_root[@]}" apt-get update -qq
        "${as_root[@]}" apt-get install -y -qq --no-install-recommends "$@"
    fi
}
need javac openjdk-17-jdk-headless
need npm npm
need cc gcc libc6-dev

target=${CARGO_TARGET_DIR:-target}
work=$target/android-host
tools=$work/kotlin-$compiler_version
if [[ ! -f $tools/ready ]]; then
    mkdir -p "$tools"
    npm install --silent --no-audit --no-fund --prefix "$tools" "kotlin-compiler@$compiler_version"
    touch "$tools/ready"
fi
kotlin=$tools/node_modules/kotlin-compiler/lib
libraries=$kotlin/kotlin-stdlib.jar:$kotlin/kotlinx-coroutines-core-jvm.jar:$kotlin/kotlin-test.jar

library=$(scripts/build-library.sh)

java_home=$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")")
rm -rf "$work/tmp"
mkdir -p "$work/classes" "$work/tmp"
cc -std=c11 -g -O1 -Wall -Wextra -Werror -fPIC -shared -Iffi/include \
    -I"$java_home/include" -I"$java_home/include/linux" \
    -o "$work/libattamba_jni.so" android/attamba/src/main/cpp/attamba_jni.c \
    -L"$library" -lattamba -Wl,-rpath,"$library"

compile() {
    java -Xmx1g -cp "$kotlin/*" org.jetbrains.kotlin.cli.jvm.K2JVMCompiler \
        -no-stdlib -no-reflect -Werror -jvm-target 17 -d "$work/classes" "$@"
}
mapfile -t main < <(find android/attamba/src/main/kotlin -name '*.kt')
mapfile -t stubs < <(find android/attamba/src/hostTest/stubs -name '*.kt')
rm -rf "$work/classes"
compile -cp "$libraries" "${stubs[@]}"
compile -Xexplicit-api=strict -cp "$libraries:$work/classes" "${main[@]}"
sed -n '/^```kotlin$/,/^```$/p' docs/embedding.md | sed '/^```/d' >"$work/Page.kt"
# With what of the sample needs no Android.
compile -cp "$libraries:$work/classes" android/app/src/main/kotlin/org/attamba/sample/Chat.kt \
    android/attamba/src/hostTest/kotlin/*.kt "$work/Page.kt"

# On the CPU, whatever the machine has.
export VK_ICD_FILENAMES=/nowhere VK_DRIVER_FILES=/nowhere
model=$(scripts/bundled-model.sh)
# One disk is full: a small one, mounted where no other process sees it, which needs root, if only of a
# namespace of its own.
mkdir -p "$work/full"
own=(unshare --mount)
if ((EUID != 0)); then
    own=(unshare --map-root-user --mount)
fi
# -Xcheck:jni detects wrong use of JNI: missing exception checks, bad references, bad UTF-8.
run() {
    "${own[@]}" bash -c 'mount -t tmpfs -o size=16k tmpfs "$0" && exec "$@"' "$work/full" \
        java -Xcheck:jni -ea --add-opens java.base/java.io=ALL-UNNAMED -Djava.library.path="$work" \
        -cp "$libraries:$work/classes" HostTestKt "$model" "$work/tmp" "$work/full"
}
output=$(run 2>&1) || {
    echo "$output"
    exit 1
}
echo "$output"
if grep -q -e 'WARNING in native' -e 'FATAL ERROR in native' <<<"$output"; then
    echo "-Xcheck:jni reported problems" >&2
    exit 1
fi
