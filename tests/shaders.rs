//! Every variant of every kernel through the compiler front end and the three back ends, without a
//! device: that it is valid WGSL, and that it can be translated for Metal, DirectX and Vulkan.
#![cfg(feature = "gpu")]

use attamba::internals::variants::{Abilities, Kernel, Need, Variant};
use naga::back::{PipelineConstants, hlsl, msl, pipeline_constants::process_overrides, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// The distinct variants, by their source and constants.
fn variants() -> Vec<Variant> {
    let mut all = BTreeMap::new();
    for software in [false, true] {
        let device = Abilities { software, ..Abilities::ALL };
        for variant in Kernel::all().into_iter().flat_map(|kernel| kernel.variants(device)) {
            let key = format!("{} {:?}", variant.name, variant.constants);
            all.entry(key).or_insert(variant);
        }
    }
    all.into_values().collect()
}

fn parse(variant: &Variant) -> Module {
    naga::front::wgsl::parse_str(&variant.text)
        .unwrap_or_else(|e| panic!("{}: {}", variant.name, e.emit_to_string(&variant.text)))
}

fn validate(variant: &Variant, module: &Module) -> ModuleInfo {
    let capabilities = variant.needs.iter().map(|need| match need {
        Need::Subgroups | Need::Lanes(_) => Capabilities::SUBGROUP,
        Need::Halves => Capabilities::SHADER_FLOAT16_IN_FLOAT32,
        Need::Matrices(_) => Capabilities::COOPERATIVE_MATRIX | Capabilities::SHADER_FLOAT16,
    });
    let capabilities = capabilities.collect();
    Validator::new(ValidationFlags::all(), capabilities)
        .validate(module)
        .unwrap_or_else(|e| panic!("{}: {}", variant.name, e.emit_to_string(&variant.text)))
}

/// Whether it uses cooperative matrices, which neither DirectX nor the other front end has: there the
/// others are used.
fn is_cooperative(variant: &Variant) -> bool {
    variant.needs.iter().any(|need| matches!(need, Need::Matrices(_)))
}

/// The bindings in order: `u` for a uniform buffer, `s` for a storage buffer, `-` for one not used.
fn bindings(module: &Module) -> String {
    let mut letters = BTreeMap::new();
    for (_, variable) in module.global_variables.iter() {
        if let Some(binding) = &variable.binding {
            let uniform = matches!(variable.space, AddressSpace::Uniform);
            letters.insert(binding.binding, if uniform { 'u' } else { 's' });
        }
    }
    let count = letters.keys().last().map_or(0, |last| last + 1);
    (0..count).map(|binding| letters.get(&binding).copied().unwrap_or('-')).collect()
}

/// What a `spirv-val` says that is older than cooperative matrices, by their number.
const UNKNOWN_TO_SPIRV_VAL: &str = "Invalid capability operand: 6022";

/// As the library has it compiled where the driver checks indices into buffers.
fn spirv(module: &Module, info: &ModuleInfo, in_range: bool) -> Result<Vec<u32>, spv::Error> {
    let index = if in_range { BoundsCheckPolicy::Unchecked } else { BoundsCheckPolicy::Restrict };
    let options = spv::Options {
        lang_version: (1, 3),
        bounds_check_policies: BoundsCheckPolicies { index, ..Default::default() },
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        emit_int_div_checks: false,
        ..Default::default()
    };
    let pipeline =
        spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: "main".into() };
    spv::write_vec(module, info, &options, Some(&pipeline))
}

#[test]
fn every_variant_is_valid_and_can_be_translated() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("spirv");
    std::fs::create_dir_all(&folder).unwrap();
    let mut files = Vec::new();
    let mut index = String::new();
    let variants = variants();
    for (number, variant) in variants.iter().enumerate() {
        let module = parse(variant);
        let info = validate(variant, &module);
        let constants: PipelineConstants =
            variant.constants.iter().map(|(name, value)| (name.to_string(), *value)).collect();
        let entry = Some((ShaderStage::Compute, "main"));
        let (module, info) = process_overrides(&module, &info, entry, &constants).unwrap();

        let mut options = msl::Options { lang_version: (2, 4), ..Default::default() };
        options.fake_missing_bindings = true;
        msl::write_string(&module, &info, &options, &Default::default())
            .unwrap_or_else(|e| panic!("{}: Metal: {e}", variant.name));

        let mut text = String::new();
        let options = hlsl::Options {
            shader_model: hlsl::ShaderModel::V6_4,
            fake_missing_bindings: true,
            ..Default::default()
        };
        let pipeline = hlsl::PipelineOptions::default();
        if !is_cooperative(variant) {
            hlsl::Writer::new(&mut text, &options, &pipeline)
                .write(&module, &info, None)
                .unwrap_or_else(|e| panic!("{}: DirectX: {e}", variant.name));
        }

        let words = spirv(&module, &info, variant.in_range)
            .unwrap_or_else(|e| panic!("{}: Vulkan: {e}", variant.name));
        let file = folder.join(format!("{number}.spv"));
        std::fs::write(&file, words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>())
            .unwrap();
        files.push((variant, file));
        let constants: String =
            variant.constants.iter().map(|(name, value)| format!(", {name} {value}")).collect();
        index += &format!("{number}\t{}\t{}{constants}\n", bindings(&module), variant.name);
    }
    // For `benches/shaders/table.py`.
    std::fs::write(folder.join("index.tsv"), index).unwrap();
    println!("{} variants", files.len());
    match Command::new("spirv-val").arg("--version").output() {
        Err(_) => println!("spirv-val is not installed (Debian: spirv-tools); not run"),
        Ok(_) => {
            for (variant, file) in files {
                let output = Command::new("spirv-val")
                    .args(["--target-env", "vulkan1.1"])
                    .arg(file)
                    .output()
                    .unwrap();
                let said = String::from_utf8_lossy(&output.stdout).into_owned();
                let said = said + &String::from_utf8_lossy(&output.stderr);
                if is_cooperative(variant) && said.contains(UNKNOWN_TO_SPIRV_VAL) {
                    println!("{}: spirv-val is too old for it", variant.name);
                    continue;
                }
                assert!(output.status.success(), "{}: {said}", variant.name);
            }
        }
    }
}

/// Files for `scripts/check-shaders.mjs`, which runs the other front end on them.
#[test]
fn every_variant_is_written_for_the_other_front_end() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wgsl");
    // Those of an earlier run may belong to removed shaders.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    for (number, variant) in variants().iter().enumerate() {
        if is_cooperative(variant) {
            continue;
        }
        // It requires a directive that this one rejects.
        let enable =
            if variant.needs.contains(&Need::Subgroups) { "enable subgroups;\n" } else { "" };
        let text = format!("{enable}// {}\n{}", variant.name, variant.text);
        std::fs::write(folder.join(format!("{number}.wgsl")), text).unwrap();
    }
}

/// Why `put_sums` of `matrices.wgsl` has a constant stride: naga does not emit what else computes the stride of a
/// store, and its SPIR-V writer panics. If this test fails, that is mended.
#[test]
fn the_stride_of_a_cooperative_store_is_no_expression() {
    let written = |before: &str, stride: &str| {
        let text = format!(
            "enable wgpu_cooperative_matrix;
            @group(0) @binding(0) var<storage, read_write> out: array<f32>;
            @group(0) @binding(1) var<uniform> p: vec4<u32>;
            @compute @workgroup_size(32) fn main() {{
                let m = coopLoadT<coop_mat8x8<f32, C>>(&out[0], 8u);
                {before}
                coopStoreT(m, &out[0], {stride});
            }}"
        );
        let module = naga::front::wgsl::parse_str(&text).unwrap();
        let capabilities = Capabilities::COOPERATIVE_MATRIX;
        let info = Validator::new(ValidationFlags::all(), capabilities).validate(&module).unwrap();
        std::panic::catch_unwind(|| spirv(&module, &info, true).unwrap()).is_ok()
    };
    assert!(written("let stride = p.x;", "stride"));
    assert!(!written("", "p.x"));
}

#[test]
fn no_variant_has_an_import_that_nobody_knows() {
    for variant in variants() {
        assert!(!variant.text.contains("#import"), "{}", variant.name);
    }
}
