//! The GPUs of the machine, and which one to use.

use super::device::MATRICES;
use super::scratch::{LONG_BLOCK, SHORT_BLOCK};
use super::{Driver, Gpu};
use crate::engine::EngineOptions;
use crate::error::{Error, Result};
use crate::model::Model;
use std::sync::Arc;
use wgpu::{
    AdapterInfo, Backends, CooperativeMatrixProperties, CooperativeScalarType, DeviceType, Features,
};

/// Vendors, by the numbers that PCI gives them, whose GPUs have few registers.
const FEW_REGISTERS: [u32; 2] = [0x8086, 0x13b5];

/// Memory of a large GPU, in bytes: the buffers of a long block take at most a 24th of it.
const LARGE: u64 = 3 << 30;

/// Device files of GPUs on Linux and Android: those of the kernel's own drivers, NVIDIA's,
/// Qualcomm's, Arm's and Imagination's, and that of the Windows Subsystem for Linux.
#[cfg(any(target_os = "linux", target_os = "android"))]
const DEVICES: [&str; 6] = [
    "/dev/dri/renderD128",
    "/dev/nvidiactl",
    "/dev/kgsl-3d0",
    "/dev/mali0",
    "/dev/pvrsrvkm",
    "/dev/dxg",
];

/// Whether it is worth enumerating adapters. Without any device only software drivers could answer,
/// and loading one takes a hundred megabytes.
pub fn may_be_there() -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return DEVICES.iter().any(|path| std::path::Path::new(path).exists());
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    true
}

/// Maximum tokens per block on a device of this kind with this much memory, if that is known. A GPU of
/// its own with enough memory is large: with short blocks it has too few workgroups to be busy, and
/// memory for long ones. Any other shares its memory with everything else, or has little.
fn longest_block(kind: DeviceType, memory: Option<u64>) -> usize {
    let large = kind == DeviceType::DiscreteGpu && memory.is_none_or(|bytes| bytes >= LARGE);
    if large { LONG_BLOCK } else { SHORT_BLOCK }
}

#[cfg(target_vendor = "apple")]
fn local_memory(_: &wgpu::Adapter) -> Option<u64> {
    None
}

/// The heaps that Vulkan calls local to the device.
#[cfg(not(target_vendor = "apple"))]
fn local_memory(adapter: &wgpu::Adapter) -> Option<u64> {
    /// `VK_MEMORY_HEAP_DEVICE_LOCAL_BIT`.
    const LOCAL: u32 = 1;
    // SAFETY: nothing is done with the adapter but asking for its properties.
    let adapter = unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }?;
    let instance = adapter.shared_instance().raw_instance();
    // SAFETY: the device is one of the instance's.
    let memory =
        unsafe { instance.get_physical_device_memory_properties(adapter.raw_physical_device()) };
    let heaps = memory.memory_heaps_as_slice().iter();
    Some(heaps.filter(|heap| heap.flags.as_raw() & LOCAL != 0).map(|heap| heap.size).sum())
}

/// A GPU, or a software implementation of one, behind one driver.
pub struct Adapter {
    pub(super) inner: wgpu::Adapter,
    info: AdapterInfo,
}

impl Adapter {
    /// All adapters of the machine, fastest kinds first.
    pub fn all() -> Vec<Adapter> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: Backends::VULKAN | Backends::METAL | Backends::DX12,
            flags: wgpu::InstanceFlags::empty(),
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let found = pollster::block_on(instance.enumerate_adapters(Backends::all()));
        let mut adapters: Vec<Adapter> = found
            .into_iter()
            .map(|inner| {
                let info = inner.get_info();
                Adapter { inner, info }
            })
            .collect();
        adapters.sort_by_key(|a| match a.info.device_type {
            DeviceType::DiscreteGpu => 0,
            DeviceType::IntegratedGpu => 1,
            DeviceType::VirtualGpu => 2,
            DeviceType::Other => 3,
            DeviceType::Cpu => 4,
        });
        adapters
    }

    /// The first adapter whose name contains `name`, case-insensitively; without a name the first
    /// of all.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] with the names of those present.
    pub fn find(name: Option<&str>) -> Result<Adapter> {
        let mut all = Adapter::all();
        let wanted = name.map(str::to_lowercase);
        let index = all.iter().position(|adapter| {
            wanted.as_ref().is_none_or(|name| adapter.name().to_lowercase().contains(name))
        });
        match index {
            Some(index) => Ok(all.swap_remove(index)),
            None if all.is_empty() => Err(Error::no_adapter(
                "",
                "no driver for Vulkan, Metal or DirectX 12 is installed, or none finds a device",
            )),
            None => {
                let names: Vec<_> = all.iter().map(Adapter::name).collect();
                let problem = format!("is the name of none; available: {names:?}");
                Err(Error::no_adapter(format!("{:?}", name.unwrap_or_default()), problem))
            }
        }
    }

    /// Name of the device.
    pub fn name(&self) -> &str {
        &self.info.name
    }

    /// Device, interface and driver as text.
    pub fn describe(&self) -> String {
        let AdapterInfo { name, driver, driver_info, backend, .. } = &self.info;
        let driver = format!("{driver} {driver_info}");
        format!("{name}, {backend}, {}", driver.trim())
    }

    /// Compiles the kernels that `model` needs, and validates each against its counterpart on the
    /// CPU. Returns each kernel and the variant of it that is used.
    ///
    /// # Errors
    /// As [`Engine::gpu`](crate::Engine::gpu).
    pub fn validate(
        &self,
        model: Arc<Model>,
        options: &EngineOptions,
    ) -> Result<Vec<(String, String)>> {
        let driver = Driver::open(self, options)?;
        Gpu::load(model, &driver, &mut |_, _| true)?;
        Ok(driver.kernels())
    }

    /// Whether the driver computes on the CPU, where the CPU engine is faster.
    pub fn is_software(&self) -> bool {
        self.info.device_type == DeviceType::Cpu
    }

    /// Maximum tokens per block.
    pub(super) fn block(&self) -> usize {
        longest_block(self.info.device_type, self.memory())
    }

    /// Whether an invocation has about a hundred registers, which is all that Intel, Arm and Apple have.
    pub(super) fn has_few_registers(&self) -> bool {
        self.info.backend == wgpu::Backend::Metal || FEW_REGISTERS.contains(&self.info.vendor)
    }

    /// The sides of the cooperative matrices that kernels may use: those of halves, summed up in floats.
    pub(super) fn matrices(&self) -> Vec<u32> {
        let mut sides = Vec::new();
        if self.inner.features().contains(MATRICES) {
            let usable = |p: &CooperativeMatrixProperties| {
                (p.ab_type, p.cr_type) == (CooperativeScalarType::F16, CooperativeScalarType::F32)
                    && (p.m_size, p.n_size) == (p.k_size, p.k_size)
            };
            let all = self.inner.cooperative_matrix_properties();
            sides.extend(all.iter().filter(|p| usable(p)).map(|p| p.k_size));
            sides.sort_unstable();
            sides.dedup();
        }
        sides
    }

    /// The fewest and the most lanes of a subgroup.
    pub(super) fn lanes(&self) -> (u32, u32) {
        (self.info.subgroup_min_size, self.info.subgroup_max_size)
    }

    /// The kind of device as a word.
    pub fn kind(&self) -> &'static str {
        match self.info.device_type {
            DeviceType::DiscreteGpu => "discrete",
            DeviceType::IntegratedGpu => "integrated",
            DeviceType::VirtualGpu => "virtual",
            DeviceType::Other => "other",
            DeviceType::Cpu => "software",
        }
    }

    /// Bytes of memory that the device computes in: its own, or of the host's, where it shares that, as
    /// much as it may use. `None` if its interface does not tell, as Metal and DirectX 12.
    pub fn memory(&self) -> Option<u64> {
        local_memory(&self.inner)
    }

    /// The features and limits that determine the choice of kernels and the length of blocks, as text.
    pub fn abilities(&self) -> Vec<(&'static str, String)> {
        let (features, limits) = (self.inner.features(), self.inner.limits());
        let has = |feature| if features.contains(feature) { "yes" } else { "no" }.to_owned();
        let (fewest, most) = self.lanes();
        let matrices: Vec<_> = self.matrices().iter().map(|n| format!("{n} x {n}")).collect();
        let matrices = if matrices.is_empty() { "no".to_owned() } else { matrices.join(", ") };
        let memory = self.memory().map_or("unknown".to_owned(), |bytes| bytes.to_string());
        vec![
            ("memory", memory),
            ("longest block", format!("{} tokens", self.block())),
            ("subgroups", has(Features::SUBGROUP)),
            ("subgroup size", format!("{fewest} to {most}")),
            ("cooperative matrices", matrices),
            ("f16", has(Features::SHADER_F16)),
            ("pipeline cache", has(Features::PIPELINE_CACHE)),
            ("largest binding", limits.max_storage_buffer_binding_size.to_string()),
            ("largest buffer", limits.max_buffer_size.to_string()),
            ("workgroup memory", limits.max_compute_workgroup_storage_size.to_string()),
            ("workgroup size", limits.max_compute_invocations_per_workgroup.to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_long_on_large_devices() {
        use DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, Other, VirtualGpu};
        for kind in [IntegratedGpu, VirtualGpu, Other, Cpu] {
            assert_eq!(longest_block(kind, Some(64 << 30)), SHORT_BLOCK, "{kind:?}");
            assert_eq!(longest_block(kind, None), SHORT_BLOCK, "{kind:?}");
        }
        assert_eq!(longest_block(DiscreteGpu, Some(2 << 30)), SHORT_BLOCK);
        assert_eq!(longest_block(DiscreteGpu, Some(4 << 30)), LONG_BLOCK);
        assert_eq!(longest_block(DiscreteGpu, None), LONG_BLOCK);
    }
}
