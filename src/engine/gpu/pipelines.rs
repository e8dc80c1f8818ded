//! Pipelines: compiled on threads, validated before use, shared by all sessions.

use super::choice::{Choices, PATIENCE, Times};
use super::device::Device;
use super::kernel::{Access, Kernel};
use super::proof;
use super::variants::{Abilities, Need, Variant, prefer};
use super::weights::Weights;
use crate::engine::{Activations, EngineOptions};
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use wgpu::{BindingType, BufferBindingType, Features, ShaderStages};

/// Concurrent compilations: more would only take memory.
const MOST_THREADS: usize = 4;

/// A kernel ready to run.
pub(super) struct Pipeline {
    pub kernel: Kernel,
    /// Name of the variant.
    pub variant: String,
    pub inner: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
    covers: [u32; 2],
}

impl Pipeline {
    /// Workgroups for this many items. Those of a matrix-vector product are folded if there are
    /// more than one dimension allows; the kernel unfolds them.
    pub fn grid(&self, items: [u32; 3]) -> [u32; 3] {
        let x = items[0].div_ceil(self.covers[0]).max(1);
        let y = items[1].div_ceil(self.covers[1]).max(1);
        if matches!(self.kernel, Kernel::Matvec { .. }) {
            const FOLD: u32 = 32768;
            return [x.min(FOLD), x.div_ceil(FOLD), 1];
        }
        [x, y, items[2]]
    }
}

/// All pipelines of a device.
pub(super) struct Pipelines {
    device: Arc<Device>,
    made: Mutex<HashMap<Kernel, Arc<Pipeline>>>,
    cache: Option<CacheFile>,
    /// Where the times of variants are kept.
    times: Option<PathBuf>,
    choices: Mutex<Choices>,
    /// Variants whose names contain the most of these words are tried first.
    preferred: Vec<String>,
    /// Whether kernels check their indices even if those are known to be in range.
    pub checked: bool,
    /// Whether matrix units may round both factors to halves.
    pub rounded: bool,
}

/// The driver's compiled pipelines, kept from run to run if it supports that.
struct CacheFile {
    cache: wgpu::PipelineCache,
    path: PathBuf,
}

impl Pipelines {
    pub fn new(device: Arc<Device>, options: &EngineOptions) -> Pipelines {
        let cache = CacheFile::open(&device, options.cache.as_deref());
        let checked = options.bounds_checks || cfg!(debug_assertions);
        let times = options.cache.as_deref().map(|folder| folder.join(times_of(&device)));
        let preferred = options.kernels.clone();
        let rounded = options.activations == Activations::Int8;
        let (made, choices) = Default::default();
        Pipelines { device, made, cache, times, choices, preferred, checked, rounded }
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Has the fastest variants of a model's products tried first. They are timed unless they were
    /// before, or the driver computes on the CPU, where that says nothing and takes long.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn measure(&self, weights: &Weights) -> Result<()> {
        if self.device.software {
            return Ok(());
        }
        let of = format!("{} {}, {}", env!("CARGO_PKG_VERSION"), self.checked, self.device.name);
        let text = self.times.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        let mut times = Times::read(text.as_deref().unwrap_or_default(), &of);
        let choices = self.choose(weights, &mut times, PATIENCE)?;
        let now = times.write(&of);
        if let Some(path) = self.times.as_ref().filter(|_| text.is_none_or(|text| text != now)) {
            keep(path, now.as_bytes());
        }
        *self.choices.lock().unwrap_or_else(PoisonError::into_inner) = choices;
        Ok(())
    }

    fn made(&self) -> MutexGuard<'_, HashMap<Kernel, Arc<Pipeline>>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compiles and validates those of `kernels` that are not there yet.
    ///
    /// # Errors
    /// [`Error::Kernel`] for the first that has no variant that compiles and computes correctly.
    pub fn prepare(&self, kernels: &[Kernel]) -> Result<()> {
        let mut missing: Vec<Kernel> = Vec::new();
        for kernel in kernels {
            if !self.made().contains_key(kernel) && !missing.contains(kernel) {
                missing.push(*kernel);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.min(MOST_THREADS).min(missing.len());
        let next = AtomicUsize::new(0);
        let work = || -> Result<()> {
            while let Some(kernel) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                let pipeline = self.best(*kernel)?;
                self.made().insert(*kernel, Arc::new(pipeline));
            }
            Ok(())
        };
        let result = std::thread::scope(|scope| {
            // As many as the system allows.
            let other = |_| Builder::new().spawn_scoped(scope, work).ok();
            let others: Vec<_> = (1..threads).map_while(other).collect();
            let own = work();
            others.into_iter().fold(own, |result, other| {
                let failed = || Err(Error::Gpu("a thread that compiles kernels failed".into()));
                result.and(other.join().unwrap_or_else(|_| failed()))
            })
        });
        if let Some(cache) = &self.cache {
            cache.save();
        }
        result
    }

    /// A kernel, compiled now if it was not prepared.
    pub fn get(&self, kernel: Kernel) -> Result<Arc<Pipeline>> {
        self.prepare(&[kernel])?;
        let found = self.made().get(&kernel).map(Arc::clone);
        found.ok_or_else(|| self.unusable(kernel, "it was not compiled".into()))
    }

    /// The prepared kernels, with the chosen variants and what those took that were timed.
    pub fn chosen(&self) -> Vec<(String, String)> {
        let choices = self.choices.lock().unwrap_or_else(PoisonError::into_inner);
        let made = self.made();
        let described = |p: &Pipeline| format!("{}{}", p.variant, choices.describe(p.kernel));
        let mut chosen: Vec<_> =
            made.values().map(|p| (p.kernel.to_string(), described(p))).collect();
        chosen.sort_unstable();
        chosen
    }

    fn unusable(&self, kernel: Kernel, reason: String) -> Error {
        Error::Kernel { adapter: self.device.name.clone(), kernel: kernel.to_string(), reason }
    }

    fn best(&self, kernel: Kernel) -> Result<Pipeline> {
        let mut variants = kernel.variants(self.device.abilities());
        self.choices.lock().unwrap_or_else(PoisonError::into_inner).order(kernel, &mut variants);
        prefer(&mut variants, &self.preferred);
        self.best_of(kernel, &variants)
    }

    /// The first of the variants that compiles and passes validation.
    pub fn best_of(&self, kernel: Kernel, variants: &[Variant]) -> Result<Pipeline> {
        let mut reason = "no variant suits its features".to_owned();
        for variant in variants {
            match self.compile(kernel, variant).and_then(|pipeline| {
                proof::prove(&self.device, &pipeline)?;
                Ok(pipeline)
            }) {
                Ok(pipeline) => return Ok(pipeline),
                Err(e @ Error::DeviceLost(_)) => return Err(e),
                Err(e) => {
                    // That subgroups have another size than one assumes is no fault of the driver.
                    let assumes = variant.needs.iter().any(|need| matches!(need, Need::Lanes(_)));
                    log::log!(
                        if assumes { log::Level::Debug } else { log::Level::Warn },
                        "{}: kernel {kernel}, variant {:?}: {e}",
                        self.device.name,
                        variant.name
                    );
                    reason = format!("{}: {e}", variant.name);
                }
            }
        }
        Err(self.unusable(kernel, reason))
    }

    /// One variant of a kernel.
    pub fn compile(&self, kernel: Kernel, variant: &Variant) -> Result<Pipeline> {
        let device = &self.device.inner;
        self.device.scoped(0, "a pipeline", || {
            let module = module(device, variant, self.checked);
            let layout = layout(device, kernel);
            let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: None,
                bind_group_layouts: &[Some(&layout)],
                immediate_size: 0,
            });
            let inner = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(&variant.name),
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants: &variant.constants,
                    // No kernel reads workgroup memory that it has not written.
                    zero_initialize_workgroup_memory: false,
                },
                cache: self.cache.as_ref().map(|c| &c.cache),
            });
            Pipeline {
                kernel,
                variant: variant.name.clone(),
                inner,
                layout,
                covers: variant.covers,
            }
        })
    }
}

impl Device {
    pub(super) fn abilities(&self) -> Abilities {
        Abilities {
            subgroups: self.features.contains(Features::SUBGROUP),
            halves: self.converts_halves,
            matrices_8: self.matrices.contains(&8),
            matrices_16: self.matrices.contains(&16),
            lanes: self.lanes,
            software: self.software,
            few_registers: self.few_registers,
        }
    }
}

fn module(device: &wgpu::Device, variant: &Variant, checked: bool) -> wgpu::ShaderModule {
    let descriptor = wgpu::ShaderModuleDescriptor {
        label: Some(&variant.name),
        source: wgpu::ShaderSource::Wgsl(variant.text.as_str().into()),
    };
    // The loops of our kernels terminate, and none divides by zero or by an integer other than a
    // parameter checked on the host, so these checks are left out: they are costly in inner loops.
    // Bounds checks stay unless the kernel's file shows that it needs none.
    let checks = wgpu::ShaderRuntimeChecks {
        bounds_checks: checked || !variant.in_range,
        force_loop_bounding: false,
        int_div_checks: false,
        ..wgpu::ShaderRuntimeChecks::checked()
    };
    // SAFETY: the source is one of ours, for which the above holds.
    unsafe { device.create_shader_module_trusted(descriptor, checks) }
}

fn layout(device: &wgpu::Device, kernel: Kernel) -> wgpu::BindGroupLayout {
    let storage = kernel
        .bindings()
        .iter()
        .map(|access| BufferBindingType::Storage { read_only: *access == Access::Read });
    let entries: Vec<_> = std::iter::once(BufferBindingType::Uniform)
        .chain(storage)
        .zip(0..)
        .map(|(ty, binding)| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: ShaderStages::COMPUTE,
            ty: BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        })
        .collect();
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: None,
        entries: &entries,
    })
}

impl CacheFile {
    /// The cache for an adapter and this version, if the driver has caches and there is a folder for
    /// them.
    fn open(device: &Device, folder: Option<&Path>) -> Option<CacheFile> {
        let folder = folder.filter(|_| device.features.contains(Features::PIPELINE_CACHE))?;
        let key = wgpu::util::pipeline_cache_key(&device.inner.adapter_info())?;
        let path = folder.join(format!("{key}_{}", env!("CARGO_PKG_VERSION")));
        let data = std::fs::read(&path).ok();
        let descriptor =
            wgpu::PipelineCacheDescriptor { label: None, data: data.as_deref(), fallback: true };
        let made = device.scoped(0, "a pipeline cache", || {
            // SAFETY: the file is one that `save` wrote for this adapter; the driver checks its
            // header, and starts from scratch if it belongs to another.
            unsafe { device.inner.create_pipeline_cache(&descriptor) }
        });
        match made {
            Ok(cache) => Some(CacheFile { cache, path }),
            Err(e) => {
                log::debug!("no pipeline cache: {e}");
                None
            }
        }
    }

    fn save(&self) {
        if let Some(data) = self.cache.get_data() {
            keep(&self.path, &data);
        }
    }
}

/// The name of the file with the times of variants on a device.
fn times_of(device: &Device) -> String {
    let wgpu::AdapterInfo { backend, vendor, device, .. } = device.inner.adapter_info();
    format!("times_{backend}_{vendor}_{device}_{}", env!("CARGO_PKG_VERSION"))
}

/// Writes a file of the cache; failing to do so is not an error.
fn keep(path: &Path, data: &[u8]) {
    let folder = path.parent().map(std::fs::create_dir_all).transpose();
    let written = folder.and_then(|_| {
        let part = path.with_extension(format!("{}.part", std::process::id()));
        std::fs::write(&part, data)?;
        std::fs::rename(part, path)
    });
    if let Err(e) = written {
        log::debug!("{}: {e}", path.display());
    }
}
