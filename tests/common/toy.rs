//! A model family for tests only, in which everything that a family can change is a key. One file
//! like this is all it takes to add a family.

use ::attamba::Result;
use ::attamba::internals::arch::{Family, Keys, Names};
use ::attamba::internals::{Activation, ModelSpec, Norms, Pairs, RotaryTable, Rotation, Scaling};

pub const TOY: Family = Family { name: "toy", names: &Names::USUAL, read };

/// What a key says that stands for nothing where it is `none`.
fn some<T: PartialEq>(x: T, none: T) -> Option<T> {
    (x != none).then_some(x)
}

fn read(keys: &Keys) -> Result<ModelSpec> {
    let mut spec = keys.decoder()?;
    spec.embedding_scale = keys.number("embedding_scale")?.unwrap_or(1.0);
    spec.logit_cap = keys.number("logit_cap")?.and_then(|cap| some(cap, 0.0));
    let bases = keys.numbers("rope.freq_bases")?.unwrap_or_default();
    let first = spec.rotary.remove(0);
    spec.rotary = bases.iter().map(|&base| RotaryTable { base, ..first.clone() }).collect();
    for local in &mut spec.rotary[1..] {
        (local.scaling, local.factors) = (Scaling::None, None);
    }
    // 0 stands for none.
    let tables = keys.sizes("rope.tables")?.unwrap_or_default();
    let norms = Norms { before: keys.boolean("pre_norm")?, after: keys.boolean("post_norm")? };
    let windows = keys.sizes("windows")?.unwrap_or_default();
    for ((layer, table), window) in spec.layers.iter_mut().zip(tables).zip(windows) {
        layer.window = some(window, 0);
        let half_split = keys.boolean("half_split")?;
        let pairs = if half_split { Pairs::HalfSplit } else { Pairs::Interleaved };
        layer.rotation = table.checked_sub(1).map(|table| Rotation { table, pairs });
        layer.biases.q = keys.boolean("bias.q")?;
        layer.biases.k = keys.boolean("bias.k")?;
        layer.biases.v = keys.boolean("bias.v")?;
        layer.biases.o = keys.boolean("bias.o")?;
        layer.qk_norm = keys.boolean("qk_norm")?;
        (layer.attention_norms, layer.ffn_norms) = (norms, norms);
        if keys.boolean("gelu")? {
            layer.activation = Activation::GeluTanh;
        }
    }
    Ok(spec)
}
