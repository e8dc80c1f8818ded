#!/usr/bin/env bash
# Builds Bochs for scripts/test-amx.sh:
#
#   scripts/build-bochs.sh DIRECTORY     leaves DIRECTORY/bin/bochs
#
# BOCHS_SOURCE is the repository, by default the one on GitHub. Needs git, make and g++.
#
# Bochs executes AMX, but at this commit it lacks what Linux gives no process tiles without, extended
# feature disable (XFD); it saves the shapes of tiles with rows and bytes exchanged, and half of their
# rows; and it multiplies signed bytes as unsigned ones. All that is put right here.
set -euo pipefail

commit=783b58fd6
source=${BOCHS_SOURCE:-https://github.com/bochs-emu/Bochs}
mkdir -p "$1"
out=$(cd "$1" && pwd)

if [[ ! -d $out/source ]]; then
    git clone --quiet --no-checkout "$source" "$out/source"
    # Not its tests, nor the firmware that isn't used.
    git -C "$out/source" sparse-checkout set --no-cone '/bochs/' '!/bochs/bios/OVMF/'
fi
git -C "$out/source" checkout --quiet --force "$commit"
mkdir -p "$out/source/bochs/bios/OVMF"
cd "$out/source/bochs/cpu"

# edit FILE EXPRESSION...: as `sed` does, each expression of which must change something.
edit() {
    local file=$1 expression
    shift
    for expression in "$@"; do
        cp "$file" "$file.before"
        sed -i "$expression" "$file"
        if cmp -s "$file" "$file.before"; then
            echo "$file: nothing to change by $expression" >&2
            exit 1
        fi
        rm "$file.before"
    done
}

# XFD: its two registers, that it exists, and the exception of a tile that is disabled.
edit msr.cc \
    '/^#define LOG_THIS/a Bit64u ia32_xfd = 0, ia32_xfd_err = 0;' \
    '/msr_desc\[BX_MSR_XSS\]/i msr_desc[BX_MSR_IA32_XFD] = new MSR_Descriptor("MSR_IA32_XFD", BX_ISA_AMX);' \
    '/msr_desc\[BX_MSR_XSS\]/i msr_desc[BX_MSR_IA32_XFD_ERROR] = new MSR_Descriptor("MSR_IA32_XFD_ERR", BX_ISA_AMX);' \
    '/^    case BX_MSR_XSS:$/i case BX_MSR_IA32_XFD: val64 = ia32_xfd; break;' \
    '/^    case BX_MSR_XSS:$/i case BX_MSR_IA32_XFD_ERROR: val64 = ia32_xfd_err; break;' \
    '/^    case BX_MSR_XSS: /i case BX_MSR_IA32_XFD: ia32_xfd = val_64; handleAvxModeChange(); break;' \
    '/^    case BX_MSR_XSS: /i case BX_MSR_IA32_XFD_ERROR: ia32_xfd_err = val_64; break;'
edit cpuid.cc '/support for XFD/,/ebx = 0/ s/eax = 0;/eax = is_cpu_extension_supported(BX_ISA_AMX) << 4;/'
edit crregs.cc '/XTILEDATA_BIT\]\.attr/ s/BX_XSAVE_ALIGN64/BX_XSAVE_ALIGN64 | BX_XSAVE_XFD_SUPPORT/'
edit proc_ctrl.cc \
    '/^#define LOG_THIS/a extern Bit64u ia32_xfd, ia32_xfd_err;' \
    '/::handleAvxModeChange/,/^}/ s/if (! long64_mode()/if (ia32_xfd || ! long64_mode()/' \
    '/::BxNoAMX/,/^}/ s/BX_ASSERT(0);/ia32_xfd_err |= ia32_xfd; exception(BX_NM_EXCEPTION, 0);/'
edit xsave.cc \
    '/^#define LOG_THIS/a extern Bit64u ia32_xfd;' \
    '/::get_xinuse_vector/,/^}/ s/(requested_feature_bitmap & feature_mask)/(requested_feature_bitmap \& ~ia32_xfd \& feature_mask)/' \
    '/::xsave_tilecfg_state(/,/^}/ { /vmm16u/ s/\.rows/.bytes_per_row/; /vmmubyte(48/ s/\.bytes_per_row/.rows/ }' \
    's/row < BX_TILE_REGISTERS/row < BX_TILE_MAX_ROWS/' \
    's/tile_use_tracker == 0/tile_use_tracker != 0/'
# Signs of bytes.
edit avx/amx.cc '/ DPBDSS(/,/^}/ s/Bit32s(\([xy]byte\[.\]\))/Bit32s(Bit8s(\1))/g'

mkdir -p "$out/build"
cd "$out/build"
"$out/source/bochs/configure" --prefix="$out" --with-nogui --enable-cpu-level=6 --enable-x86-64 \
    --enable-avx --enable-evex --enable-amx --enable-all-optimizations --disable-plugins \
    --disable-docbook --enable-a20-pin=no CXXFLAGS=-O2 CFLAGS=-O2 >configure.log
make -j"${JOBS:-$(nproc)}" >make.log 2>&1
make install >install.log 2>&1
"$out/bin/bochs" --help 2>&1 | head -n 1
