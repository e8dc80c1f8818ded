#!/usr/bin/env bash
# Makes the folder that `table.py` works in: a Debian 13 root with Mesa's drivers for GPUs that are not there (amd64, and
# arm64 for Mali's, run by qemu), drm-shims that stand for their kernel drivers, and `vkstats`. As root, on Debian or
# Ubuntu; 2 GB and about ten minutes, most of it downloads. Run it again after a restart: it mounts /proc and /dev inside.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
root=${ATTAMBA_SHADERS_ROOT:-$PWD/../../target/shaders-root}
mkdir -p "$root"
root=$(cd "$root" && pwd)
mirror=$(apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | sort -u | grep -m1 '/debian/\?$') ||
    mirror=http://deb.debian.org/debian

if [ ! -e "$root/etc/debian_version" ]; then
    command -v debootstrap >/dev/null || apt-get install -q -y --no-install-recommends debootstrap
    debootstrap --variant=minbase --include=ca-certificates trixie "$root" "$mirror"
fi
cp /etc/resolv.conf /etc/hosts "$root/etc/"
cat >"$root/etc/apt/sources.list" <<END
deb $mirror trixie main
deb $mirror trixie-backports main
deb-src $mirror trixie main
END
for folder in proc sys dev; do
    mountpoint -q "$root/$folder" || mount --bind "/$folder" "$root/$folder"
done
mkdir -p "$root/w"

inside() { chroot "$root" "$@"; }
install() { inside apt-get install -q -y --no-install-recommends "$@"; }
if [ ! -e "$root/w/installed" ]; then
    inside dpkg --add-architecture arm64
    inside apt-get update -q
    install -t trixie-backports mesa-vulkan-drivers{,:arm64} mesa-drm-shim{,:arm64} libvulkan1{,:arm64}
    install gcc libc6-dev libvulkan-dev gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
    # Debian leaves Intel's shim out; it comes from Mesa's source, without any driver.
    install -t trixie-backports meson ninja-build python3-mako python3-yaml python3-packaging pkgconf libdrm-dev zlib1g-dev \
        libexpat1-dev libzstd-dev flex bison g++ dpkg-dev xz-utils
    inside sh -ec '
        mkdir -p /src && cd /src && apt-get source --download-only mesa/trixie && tar xJf mesa_*.orig.tar.xz && cd mesa-*/
        meson setup /src/build -Dvulkan-drivers= -Dgallium-drivers= -Dtools=drm-shim,intel -Dllvm=disabled -Dglx=disabled \
            -Degl=disabled -Dgbm=disabled -Dopengl=false -Dgles1=disabled -Dgles2=disabled -Dplatforms= -Dvideo-codecs= \
            -Dbuildtype=release -Dintel-rt=disabled
        ninja -C /src/build src/intel/tools/libintel_noop_drm_shim.so
        cp /src/build/src/intel/tools/libintel_noop_drm_shim.so /w/
        rm -r /src && apt-get clean'
    touch "$root/w/installed"
fi
# For llama.cpp's shaders (peer.py).
install glslc spirv-tools
cp vkstats.c "$root/w/"
inside gcc -O1 -o /w/vkstats /w/vkstats.c -lvulkan
inside aarch64-linux-gnu-gcc -O1 -o /w/vkstats-arm64 /w/vkstats.c -L/usr/lib/aarch64-linux-gnu -l:libvulkan.so.1 \
    -Wl,--unresolved-symbols=ignore-in-shared-libs
echo "ready: $root"
