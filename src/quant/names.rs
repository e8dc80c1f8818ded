//! Names of the types that GGUF numbers, of those too that this runtime does not read.

use super::DType;

/// The name of the type that GGUF numbers `id`, or its number.
pub fn type_name(id: u32) -> String {
    let foreign = match id {
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        21 => "IQ3_S",
        22 => "IQ2_S",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        40 => "NVFP4",
        _ => return DType::from_id(id).map_or_else(|| format!("type {id}"), |t| t.name().into()),
    };
    foreign.into()
}
