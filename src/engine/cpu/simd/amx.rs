//! AMX: products of tiles of bytes and of bf16 numbers, 16 rows of up to 64 bytes each. As inline
//! assembly, since the intrinsics are not stable.

use super::{LANES, avx512};
use std::arch::asm;
use std::arch::x86_64::{__cpuid_count, _xgetbv};
use std::io;
use std::sync::OnceLock;

/// Rows of a tile.
pub(crate) const ROWS: usize = 16;

/// Products of the rows of a tile with 16 rows of weights: `[row][row of weights]`.
pub(crate) type Products = [[i32; LANES]; ROWS];

/// The same of bf16 numbers.
pub(crate) type Floats = [[f32; LANES]; ROWS];

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

/// Whether the processor has tiles of bytes and of bf16 numbers, and the system saves them with a
/// thread's registers.
fn has_tiles() -> bool {
    // Tiles, bytes, bf16 numbers: no processor has only some of them.
    const ALL: u32 = 1 << 24 | 1 << 25 | 1 << 22;
    const SAVED: u64 = 1 << 17 | 1 << 18;
    // SAFETY: a processor with AVX-512 has leaf 7, and a system that saves its registers has enabled
    // `xgetbv`.
    avx512::detected()
        && unsafe { __cpuid_count(7, 0).edx & ALL == ALL && _xgetbv(0) & SAVED == SAVED }
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
    let mut shapes = Shapes::NONE;
    for set in [0, 4] {
        shapes.row_bytes[set..set + 4].copy_from_slice(&[line, bytes as u16, line, line]);
        shapes.rows[set..set + 4].copy_from_slice(&[quarter, rows, rows, rows]);
    }
    unsafe { shapes.load() }
}

/// Shapes the tiles of this thread for [`products_of_one_term`] and [`products_of_two_terms`] of
/// `rows` rows.
///
/// # Safety
/// AMX must have been detected; `rows` must be 1 to 16.
#[inline(always)]
pub(crate) unsafe fn shape_floats(rows: usize) {
    let mut shapes = Shapes::NONE;
    shapes.row_bytes[..8].fill(4 * LANES as u16);
    shapes.rows[..6].fill(rows as u8);
    shapes.rows[6..8].fill(ROWS as u8);
    unsafe { shapes.load() }
}

impl Shapes {
    /// No tiles.
    const NONE: Shapes =
        Shapes { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };

    /// Gives this thread's tiles these shapes.
    ///
    /// # Safety
    /// AMX must have been detected; no shape may be larger than a tile.
    #[inline(always)]
    unsafe fn load(&self) {
        unsafe {
            asm!(
                "ldtilecfg [{}]", in(reg) self,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(readonly, nostack, preserves_flags)
            );
        }
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

/// Sums of products of `blocks` blocks of 32 bf16 numbers. Assembly, so that sums stay in tiles.
macro_rules! floats {
    ($($line:expr),+; $out:ident, $x:ident, $stride:ident, $weights:ident, $blocks:ident) => {
        asm!(
            $($line,)+
            blocks = inout(reg) $blocks => _,
            w = inout(reg) $weights => _,
            x = inout(reg) $x => _,
            stride = in(reg) $stride,
            out = in(reg) $out,
            line = in(reg) 4 * LANES,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack)
        )
    };
}

/// Products of rows at `x`, `stride` bytes apart, each `blocks` times three terms of 32 numbers, with
/// 16 rows of weights of one term, two numbers of each row side by side: of the first term, of the
/// second, of the third.
///
/// # Safety
/// The tiles must be shaped for these rows, `blocks` not 0, and everything valid for them; three
/// products are written.
#[inline(always)]
pub(crate) unsafe fn products_of_one_term(
    out: *mut Floats,
    x: *const u16,
    stride: usize,
    weights: *const u8,
    blocks: usize,
) {
    unsafe {
        floats!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "2:",
            "tileloadd tmm6, [{w} + {line}]",
            "tileloadd tmm3, [{x} + {stride}]",
            "tdpbf16ps tmm0, tmm3, tmm6",
            "tileloadd tmm4, [{x} + {stride} + 64]",
            "tdpbf16ps tmm1, tmm4, tmm6",
            "tileloadd tmm5, [{x} + {stride} + 128]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "add {w}, 1024",
            "add {x}, 192",
            "dec {blocks}",
            "jnz 2b",
            "tilestored [{out} + {line}], tmm0",
            "tilestored [{out} + {line} + 1024], tmm1",
            "tilestored [{out} + {line} + 2048], tmm2";
            out, x, stride, weights, blocks
        )
    }
}

/// The same with weights of two terms, which alternate block by block: the first times each of the
/// activations' three, the second times the first two. Five products are written, by the terms of
/// weights and activations: 1 and 1, 1 and 2, 2 and 1, 1 and 3, 2 and 2.
///
/// # Safety
/// As there.
#[inline(always)]
pub(crate) unsafe fn products_of_two_terms(
    out: *mut Floats,
    x: *const u16,
    stride: usize,
    weights: *const u8,
    blocks: usize,
) {
    unsafe {
        floats!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "tilezero tmm4",
            "2:",
            "tileloadd tmm6, [{w} + {line}]",
            "tileloadd tmm5, [{x} + {stride}]",
            "tileloadd tmm7, [{w} + {line} + 1024]",
            "tdpbf16ps tmm0, tmm5, tmm6",
            "tdpbf16ps tmm2, tmm5, tmm7",
            "tileloadd tmm5, [{x} + {stride} + 64]",
            "tdpbf16ps tmm1, tmm5, tmm6",
            "tdpbf16ps tmm4, tmm5, tmm7",
            "tileloadd tmm5, [{x} + {stride} + 128]",
            "tdpbf16ps tmm3, tmm5, tmm6",
            "add {w}, 2048",
            "add {x}, 192",
            "dec {blocks}",
            "jnz 2b",
            "tilestored [{out} + {line}], tmm0",
            "tilestored [{out} + {line} + 1024], tmm1",
            "tilestored [{out} + {line} + 2048], tmm2",
            "tilestored [{out} + {line} + 3072], tmm3",
            "tilestored [{out} + {line} + 4096], tmm4";
            out, x, stride, weights, blocks
        )
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
