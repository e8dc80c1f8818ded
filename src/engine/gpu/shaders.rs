//! The source of the shaders, and their imports.
//!
//! A line `#import name` stands for the file `shaders/shared/name.wgsl`, once. A name in capitals
//! is a choice that the variant makes: `#import FORMAT` may be `format_q4_0`. Lines that enable a
//! language extension are moved before all others.

macro_rules! files {
    ($folder:literal, $($name:ident)*) => {
        &[$((
            stringify!($name),
            include_str!(concat!("../../../shaders/", $folder, stringify!($name), ".wgsl")),
        )),*]
    };
}

/// The kernels.
const KERNELS: &[(&str, &str)] = files!(
    "",
    add_bias attend attend_join attend_tile commit commit_i4 commit_i8 conv gate_norm glu head_norm matmul
    matmul_alone matmul_cooperative matmul_join matmul_small matvec mixer_step remember rms_norm rope scan soft_cap top_k
);

/// The files they import.
const SHARED: &[(&str, &str)] = files!(
    "shared/",
    arena attend_rows commit_params digits_bytes digits_halves eight factors_rounded factors_split finish_rows format_bf16 format_f16 format_f32 format_q2_k format_q4_0 format_q4_1
    format_q4_k format_q6_k format_q8_0 format_q8_1 four_rows gate_gelu_tanh gate_silu gelu_tanh half_bits
    half_builtin heads_1 heads_4 kv_f16 kv_f32 kv_head lanes_32 lanes_64 lanes_8 load_four load_two matmul_out matmul_params matrices matrices_16 matrices_8 mixer pairs quads
    reduce_none reduce_subgroup reduce_tree ring_i4 ring_i8 ring_near rows_f16 rows_f16_odd rows_f32
    scale_of_pairs signed silu softplus sums tile_four tile_pairs tile_two tile_wide tiles two_rows unscaled weights
);

/// The source of a kernel with its imports, and their names. `choices` resolves the names in
/// capitals. An unknown name is left in place, and the compiler reports it.
pub(super) fn text(kernel: &str, choices: &[(&str, &str)]) -> (String, Vec<&'static str>) {
    let mut text = String::new();
    let mut taken = Vec::new();
    append(&mut text, find(KERNELS, kernel), choices, &mut taken);
    let (mut enables, rest): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.starts_with("enable "));
    enables.dedup();
    let text = enables.into_iter().chain(rest).flat_map(|line| [line, "\n"]).collect();
    (text, taken)
}

fn append(
    text: &mut String,
    source: &str,
    choices: &[(&str, &str)],
    taken: &mut Vec<&'static str>,
) {
    for line in source.lines() {
        let Some(name) = line.strip_prefix("#import ") else {
            text.push_str(line);
            text.push('\n');
            continue;
        };
        let chosen = choices.iter().find(|(choice, _)| *choice == name).map(|(_, file)| *file);
        let known = SHARED.iter().map(|(shared, _)| *shared).find(|&s| s == chosen.unwrap_or(name));
        match known {
            Some(shared) => {
                if !taken.contains(&shared) {
                    taken.push(shared);
                    append(text, find(SHARED, shared), choices, taken);
                }
            }
            None => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
}

fn find(files: &[(&'static str, &'static str)], name: &str) -> &'static str {
    files.iter().find(|(file, _)| *file == name).map_or("", |(_, text)| text)
}
