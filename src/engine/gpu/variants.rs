//! The variants of a kernel: the permutations of its files that a device can run, in the order in
//! which they are tried. The first that matches the kernel's twin is used.
//!
//! A kernel has variants where something may be missing, wrong or slow on a device: half-precision
//! conversions, subgroups, matrix units, fast workgroup memory, many registers.
//!
//! Words of the caller move the variants whose names contain most of them to
//! the front, so that anybody with another GPU can find out.

pub use super::kernel::Kernel;
use super::permutations::{
    FIRST_ON_CPU, FIRST_WITH_FEW_REGISTERS, IN_RANGE, NEEDS, Permutations, covers,
};
use super::shaders;
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// What a variant may require of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Subgroup operations.
    Subgroups,
    /// `unpack2x16float` and `pack2x16float`.
    Halves,
    /// Cooperative matrices of this many rows and columns, of `f16`, whose products are summed up in `f32`.
    Matrices(u32),
    /// Subgroups that may have this many lanes. How many they have is up to the driver; a kernel that
    /// assumes a number proves wrong where it is another.
    Lanes(u32),
}

/// The capabilities of a device that determine the choice of kernels.
#[derive(Clone, Copy, Debug, Default)]
pub struct Abilities {
    /// [`Need::Subgroups`]
    pub subgroups: bool,
    /// [`Need::Halves`]
    pub halves: bool,
    /// [`Need::Matrices`] of 8 by 8.
    pub matrices_8: bool,
    /// [`Need::Matrices`] of 16 by 16.
    pub matrices_16: bool,
    /// The fewest and the most lanes of a subgroup, see [`Need::Lanes`].
    pub lanes: (u32, u32),
    /// The driver computes on the CPU.
    pub software: bool,
    /// An invocation has about a hundred registers: beyond these, a kernel is slow.
    pub few_registers: bool,
}

impl Abilities {
    /// Those of a GPU that has everything.
    pub const ALL: Abilities = Abilities {
        subgroups: true,
        halves: true,
        matrices_8: true,
        matrices_16: true,
        lanes: (1, 128),
        software: false,
        few_registers: false,
    };

    fn meet(self, need: Need) -> bool {
        match need {
            Need::Subgroups => self.subgroups,
            Need::Halves => self.halves,
            Need::Matrices(side) => match side {
                8 => self.matrices_8,
                16 => self.matrices_16,
                _ => false,
            },
            Need::Lanes(lanes) => (self.lanes.0..=self.lanes.1).contains(&lanes),
        }
    }
}

/// One way to write a kernel.
#[derive(Clone, Debug)]
pub struct Variant {
    /// The file and the choices that matter: `matvec format_q4_0 reduce_tree`.
    pub name: String,
    /// The complete WGSL source.
    pub text: String,
    /// Values of its overrides.
    pub constants: Vec<(&'static str, f64)>,
    /// What it requires of a device.
    pub needs: Vec<Need>,
    /// Whether its file argues that every index is in range, so that checks can be left out.
    pub in_range: bool,
    /// Items in x and y per workgroup: rows, tokens, channels, whatever the kernel counts.
    pub covers: [u32; 2],
}

impl Kernel {
    /// The variants that a device can run, best first.
    pub fn variants(self, device: Abilities) -> Vec<Variant> {
        let Permutations { files, choices, constants } = self.permutations();
        let mut all = Vec::new();
        for file in files {
            for choices in every_choice(&choices) {
                all.push(Variant::new(file, &choices, &constants));
            }
        }
        // A choice that makes no difference to the source is not a variant.
        let mut names = BTreeSet::new();
        all.retain(|variant| names.insert(variant.name.clone()));
        all.retain(|variant| variant.needs.iter().all(|need| device.meet(*need)));
        if device.few_registers {
            prefer(&mut all, &FIRST_WITH_FEW_REGISTERS);
        }
        if device.software {
            prefer(&mut all, &FIRST_ON_CPU);
        }
        all
    }
}

/// The first of `words` that is in no variant's name, and the files whose names are.
pub fn unknown(words: &[String]) -> Option<(&str, Vec<String>)> {
    let names: BTreeSet<String> = Kernel::all()
        .into_iter()
        .flat_map(|kernel| kernel.variants(Abilities::ALL))
        .flat_map(|variant| variant.name.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let unknown = words.iter().find(|word| !names.iter().any(|name| name.contains(&***word)))?;
    Some((unknown, names.into_iter().collect()))
}

/// Moves the variants whose names contain most of `words` to the front. The sort is stable.
pub(super) fn prefer(variants: &mut [Variant], words: &[impl AsRef<str>]) {
    variants.sort_by_key(|variant| {
        Reverse(words.iter().filter(|word| variant.name.contains(word.as_ref())).count())
    });
}

/// Every combination of one file per import, starting with those of the first file of the first
/// import.
fn every_choice<'a>(choices: &[(&'a str, &[&'static str])]) -> Vec<Vec<(&'a str, &'static str)>> {
    choices.iter().fold(vec![Vec::new()], |all, (import, files)| {
        let with = |choice: &Vec<_>, file| [&choice[..], &[(*import, file)]].concat();
        all.iter().flat_map(|choice| files.iter().map(move |file| with(choice, *file))).collect()
    })
}

impl Variant {
    fn new(
        file: &'static str,
        choices: &[(&str, &'static str)],
        constants: &[(&'static str, f64)],
    ) -> Variant {
        let (text, imports) = shaders::text(file, choices);
        let imported = |name: &str| imports.contains(&name);
        let chosen = choices.iter().map(|(_, chosen)| *chosen).filter(|&chosen| imported(chosen));
        let needs = NEEDS.iter().filter(|(name, _)| imported(name)).map(|(_, need)| *need);
        Variant {
            name: std::iter::once(file).chain(chosen).collect::<Vec<_>>().join(" "),
            constants: constants.to_vec(),
            needs: needs.collect(),
            in_range: IN_RANGE.contains(&file),
            covers: covers(file, &imports),
            text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::kernel::Heads;
    use super::*;
    use crate::engine::KvType;

    #[test]
    fn with_few_registers_fewer_rows_are_read_at_once_first() {
        let kv = KvType::F16;
        let kernels = [
            Kernel::Attend { kv, heads: Heads::Four, head_dim: 64 },
            Kernel::AttendTile { kv, head_dim: 64 },
        ];
        for (few_registers, words) in
            [(false, ["four_rows", "tile_four"]), (true, ["two_rows", "tile_two"])]
        {
            let device = Abilities { few_registers, ..Abilities::default() };
            for (kernel, word) in kernels.into_iter().zip(words) {
                let variants = kernel.variants(device);
                assert!(
                    variants.len() > 1 && variants[0].name.contains(word),
                    "{}",
                    variants[0].name
                );
            }
        }
    }
}
