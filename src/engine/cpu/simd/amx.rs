//! AMX: products of tiles of bytes, 16 rows of up to 64 bytes each. As inline assembly, since the
//! intrinsics are not stable.

use super::{LANES, avx512};
use std::arch::asm;
use std::arch::x86_64::{__cpuid_count, _xgetbv};
use std::io;
use std::sync::OnceLock;

/// Rows of a tile.
pub(crate) const ROWS: usize = 16;

/// Products of the rows of a tile with 16 rows of weights: `[row][row of weights]`.
pub(crate) type Products = [[i32; LANES]; ROWS];

/// Whether there are tiles, and this process may use them. The system is asked once.
pub(crate) fn detected() -> bool {
    static DETECTED: OnceLock<bool> = OnceLock::new();
    *DETECTED.get_or_init(|| usable(has_tiles(), ask_for_tiles))
}

/// Whether a process may use the tiles that its processor has, or not.
fn usable(has_tiles: bool, ask: impl FnOnce() -> io::Result<()>) -> bool {
    has_tiles
        && ask()
            .inspect_err(|e| log::info!("the processor has AMX, which the system refuses: {e}"))
            .is_ok()
}

/// Whether the processor has tiles of bytes, and the system saves them with a thread's registers.
fn has_tiles() -> bool {
    const TILES_AND_BYTES: u32 = 1 << 24 | 1 << 25;
    const SAVED: u64 = 1 << 17 | 1 << 18;
    // SAFETY: a processor with AVX-512 has leaf 7, and a system that saves its registers has enabled
    // `xgetbv`.
    avx512::detected()
        && unsafe {
            __cpuid_count(7, 0).edx & TILES_AND_BYTES == TILES_AND_BYTES
                && _xgetbv(0) & SAVED == SAVED
        }
}

/// Asks Linux to save the tiles of all threads of this process, which takes 8 KiB for each that uses
/// them. It refuses if a thread's stack for signals is too small for that, or if it is older than 5.16.
#[cfg(target_os = "linux")]
fn ask_for_tiles() -> io::Result<()> {
    const REQUEST: libc::c_long = 0x1023;
    const TILES: libc::c_long = 18;
    // SAFETY: this call has no pointers.
    match unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST, TILES) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Other systems have ways of their own.
#[cfg(not(target_os = "linux"))]
fn ask_for_tiles() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// What `ldtilecfg` reads.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Shapes the tiles of this thread for [`products`] of `rows` rows of `bytes` bytes.
///
/// # Safety
/// AMX must have been detected; `rows` must be 1 to 16, `bytes` a multiple of 4 up to 64.
#[inline(always)]
pub(crate) unsafe fn shape(rows: usize, bytes: usize) {
    // Weights lie four bytes of each row side by side; see `products` for the order.
    let (line, rows, quarter) = (4 * LANES as u16, rows as u8, bytes as u8 / 4);
    let mut shapes =
        Shapes { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
    for set in [0, 4] {
        shapes.row_bytes[set..set + 4].copy_from_slice(&[line, bytes as u16, line, line]);
        shapes.rows[set..set + 4].copy_from_slice(&[quarter, rows, rows, rows]);
    }
    unsafe {
        asm!(
            "ldtilecfg [{}]", in(reg) &shapes,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(readonly, nostack, preserves_flags)
        );
    }
}

/// Gives up the tiles, so that the system need not save them.
///
/// # Safety
/// AMX must have been detected.
#[inline(always)]
pub(crate) unsafe fn release() {
    unsafe {
        asm!(
            "tilerelease",
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nomem, nostack, preserves_flags)
        );
    }
}

/// One plane: rows at `x` in tile `$x` times the weights in `$w` to the products at `out`.
macro_rules! plane {
    ($plane:literal, $w:literal, $x:literal, $out:literal) => {
        concat!(
            "tileloadd ",
            $x,
            ", [{x} + {stride} + 32 * ",
            $plane,
            "]\n",
            "tilezero ",
            $out,
            "\n",
            "tdpbssd ",
            $out,
            ", ",
            $x,
            ", ",
            $w,
            "\n",
            "tilestored [{out} + {line} + 1024 * ",
            $plane,
            "], ",
            $out,
        )
    };
}

/// Tiles for products that need not wait for each other.
macro_rules! multiply {
    ($out:ident, $x:ident, $stride:ident, $weights:ident; $w:literal, $($plane:expr),+) => {
        asm!(
            concat!("tileloadd ", $w, ", [{w} + {line}]"),
            $($plane,)+
            w = in(reg) $weights,
            x = in(reg) $x,
            stride = in(reg) $stride,
            out = in(reg) $out,
            line = in(reg) 4 * LANES,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack, preserves_flags)
        )
    };
}

/// Products of signed bytes: of rows at `x`, `stride` apart, and in a second plane of those 32 bytes
/// after them, with 16 rows of weights, four bytes of each row side by side. `turn` alternates, so
/// that one group of products need not wait for the tiles of the last.
///
/// # Safety
/// The tiles must be shaped for these rows, and everything valid for them.
#[inline(always)]
pub(crate) unsafe fn products<const PLANES: usize>(
    out: *mut [Products; PLANES],
    x: *const i8,
    stride: usize,
    weights: *const u8,
    turn: usize,
) {
    unsafe {
        match (PLANES, turn % 2) {
            (1, 0) => multiply!(out, x, stride, weights; "tmm0", plane!(0, "tmm0", "tmm1", "tmm2")),
            (1, _) => multiply!(out, x, stride, weights; "tmm4", plane!(0, "tmm4", "tmm5", "tmm6")),
            (_, 0) => multiply!(
                out, x, stride, weights;
                "tmm0", plane!(0, "tmm0", "tmm1", "tmm2"), plane!(1, "tmm0", "tmm1", "tmm3")
            ),
            _ => multiply!(
                out, x, stride, weights;
                "tmm4", plane!(0, "tmm4", "tmm5", "tmm6"), plane!(1, "tmm4", "tmm5", "tmm7")
            ),
        }
    }
}

#[cfg(test)]
#[test]
fn without_permission_there_is_no_amx() {
    assert!(usable(true, || Ok(())));
    // EINVAL: an older kernel. EPERM: a filter of system calls. ENOSPC: a small stack for signals.
    for refusal in [22, 1, 28] {
        assert!(!usable(true, || Err(io::Error::from_raw_os_error(refusal))));
    }
    assert!(!usable(false, || panic!("nothing to ask for")));
}
