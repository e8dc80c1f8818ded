#!/usr/bin/env bash
# Checks of the Android project without Android's SDK: the syntax of its Gradle scripts and of the sample;
# that manifest and resources become an APK that Debian's tools align to 16 KiB pages, sign and verify;
# and that a model opens out of that APK by descriptor and offset, as Model.openAsset opens it.
#
# What the scripts mean only Gradle knows, which needs Google's repository: android/README.md says how to
# run it. The APK has no dex code, which needs Google's compiler.
#
# Installs the tools on Debian or Ubuntu where they are missing, as root or with sudo.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

framework=/usr/share/android-framework-res/framework-res.apk
missing=()
command -v aapt2 >/dev/null || missing+=(aapt)
command -v zipalign >/dev/null || missing+=(zipalign)
command -v apksigner >/dev/null || missing+=(apksigner)
command -v keytool >/dev/null || missing+=(openjdk-17-jdk-headless)
[[ -e $framework ]] || missing+=(android-framework-res)
if ((${#missing[@]} > 0)); then
    as_root=()
    if ((EUID != 0)); then
        as_root=(sudo)
    fi
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

target=${CARGO_TARGET_DIR:-target}
environment=$target/kotlin-venv
if [[ ! -f $environment/ready ]]; then
    python3 -m venv --clear "$environment"
    "$environment/bin/pip" install --quiet --disable-pip-version-check \
        tree-sitter==0.26.1 tree-sitter-kotlin==1.1.0
    touch "$environment/ready"
fi
# The rest is compiled by scripts/test-android-host.sh.
mapfile -t sources < <(find android -name '*.kts' -o -path 'android/app/*.kt')
"$environment/bin/python" scripts/parse_kotlin.py "${sources[@]}"

# The wrapper that Gradle published with the distribution that its properties name.
sha256sum --check --quiet <<'SUM'
55243ef57851f12b070ad14f7f5bb8302daceeebc5bce5ece5fa6edb23e1145c  android/gradle/wrapper/gradle-wrapper.jar
SUM

library=$(scripts/build-library.sh)
model=$(scripts/bundled-model.sh)
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
mkdir -p "$work/apk/lib/x86_64" "$work/apk/assets" "$work/native/x86_64"
cp -L "$library/libattamba.so" "$work/native/x86_64/"
cp -L "$library/libattamba.so" "$work/apk/lib/x86_64/"
cp "$model" "$work/apk/assets/model.gguf"

sdk() {
    sed -n "s/^$1 = \"\([0-9]*\)\"\$/\1/p" android/gradle/libs.versions.toml
}
# Gradle puts the package into the manifest.
sed 's|<manifest |<manifest package="org.attamba.sample" |' android/app/src/main/AndroidManifest.xml \
    >"$work/AndroidManifest.xml"
aapt2 compile --dir android/app/src/main/res -o "$work/resources.zip"
aapt2 link -o "$work/raw.apk" -I "$framework" --manifest "$work/AndroidManifest.xml" \
    --min-sdk-version "$(sdk minSdk)" --target-sdk-version "$(sdk compileSdk)" \
    --version-code 1 --version-name 0 "$work/resources.zip"
# Libraries and models are stored: they are mapped where they lie.
python3 scripts/pack_apk.py "$work/raw.apk" "$work/apk" "$work/aligned.apk"
zipalign -c 16384 "$work/aligned.apk"
keytool -genkeypair -keystore "$work/key" -storepass attamba -keypass attamba -alias test -keyalg RSA \
    -dname CN=test 2>/dev/null
apksigner sign --ks "$work/key" --ks-pass pass:attamba --out "$work/app.apk" "$work/aligned.apk"
# 16 KiB pages; and 4 KiB ones for libraries as far as this zipalign knows of pages.
zipalign -c 16384 "$work/app.apk"
zipalign -c -p 4 "$work/app.apk"
apksigner verify --min-sdk-version "$(sdk minSdk)" "$work/app.apk"
name=$(aapt2 dump badging "$work/app.apk" | sed -n "s/^launchable-activity: name='\([^']*\)'.*/\1/p")
[[ $name == org.attamba.sample.MainActivity ]] || {
    echo "the launched activity is '$name'" >&2
    exit 1
}
VK_ICD_FILENAMES=/nowhere python3 scripts/open_in_apk.py "$library/libattamba.so" "$work/app.apk" assets/model.gguf

# What C++ users find in the AAR.
scripts/prefab.sh "$work/native" "$work/prefab"
python3 -m json.tool "$work/prefab/prefab.json" >/dev/null
python3 -m json.tool "$work/prefab/modules/attamba/module.json" >/dev/null
python3 -m json.tool "$work/prefab/modules/attamba/libs/android.x86_64/abi.json" >/dev/null
cmp "$library/libattamba.so" "$work/prefab/modules/attamba/libs/android.x86_64/libattamba.so"
echo "the Android project's scripts parse, its APK is valid, and a model opens inside of it"
