#!/usr/bin/env bash
# Runs the tests of the CPU kernels on an emulated processor with AMX, in an emulated Linux:
#
#   scripts/test-amx.sh [FILTER...]     tests; by default those of products by AMX
#
# BOCHS names an emulator built by scripts/build-bochs.sh, by default `bochs` on the path; KERNEL a
# Linux of 5.16 or newer, by default the newest in /boot (of Debian's linux-image-cloud-amd64, say).
# PROPTEST_CASES sets the number of random cases per property. Not part of CI: an emulated instruction
# takes 30 ns and more.
#
# Needs Debian's busybox-static, isolinux, syslinux-common and xorriso.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bochs=$(realpath "$(command -v "${BOCHS:-bochs}")")
share=$(dirname "$bochs")/../share/bochs
kernel=${KERNEL:-$(find /boot -name 'vmlinuz-*' | sort -V | tail -n 1)}
filters=("$@")
if ((${#filters[@]} == 0)); then
    filters=(amx the_portable_table tiles_change_no_bit small_products a_panel_keeps
        matrix_times_matrix products_at_the_ends floats_of_all infinite_activations)
fi

tests=$(cargo test --package attamba --no-default-features --lib --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)

work=$(mktemp -d)
emulator=
trap '[[ -z $emulator ]] || kill "$emulator" 2>/dev/null || true; rm -r "$work"' EXIT
mkdir -p "$work"/{disk,root/{bin,proc,sys,dev,tmp}}
cp "$(command -v busybox)" "$work/root/bin/"
cp "$tests" "$work/root/tests"
ldd "$tests" | grep -o '/[^ ]*' | while read -r library; do
    install -D "$library" "$work/root$library"
done
cat >"$work/root/init" <<END
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
export PROPTEST_CASES=${PROPTEST_CASES:-8} PROPTEST_DISABLE_FAILURE_PERSISTENCE=1
/tests --nocapture --test-threads=1 ${filters[*]}
echo "== status \$?"
/bin/busybox sleep 1
/bin/busybox poweroff -f
END
chmod +x "$work/root/init"
(cd "$work/root" && find . | busybox cpio -o -H newc) >"$work/disk/initrd" 2>/dev/null
cp "$kernel" "$work/disk/linux"
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$work/disk/"
# Bochs fails at pages of five levels.
cat >"$work/disk/isolinux.cfg" <<END
default linux
label linux
kernel linux
append initrd=initrd console=ttyS0 quiet mitigations=off nokaslr random.trust_cpu=on panic=-1 tsc=reliable no5lvl nopcid clearcpuid=erms,fsrm
END
xorriso -as mkisofs -quiet -o "$work/disk.iso" -b isolinux.bin -c boot.cat -no-emul-boot \
    -boot-load-size 4 -boot-info-table "$work/disk" 2>/dev/null
cat >"$work/bochsrc" <<END
display_library: nogui
megs: 1024
romimage: file=$share/BIOS-bochs-latest
vgaromimage: file=$share/VGABIOS-lgpl-latest.bin
cpu: model=sapphire_rapids, ips=100000000, reset_on_triple_fault=0
ata0-master: type=cdrom, path=$work/disk.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$work/serial
clock: sync=none
log: $work/log
panic: action=fatal
END

touch "$work/serial"
"$bochs" -q -f "$work/bochsrc" >"$work/out" 2>&1 &
emulator=$!
tail --pid="$emulator" --lines=+1 --follow "$work/serial"
emulator=
grep --text -q '^== status 0' "$work/serial"
