//! A program: kernels with their bindings, recorded once and encoded again for every block. Command
//! buffers can be submitted only once, but bind groups and parameters stay.

use super::commands::Encoder;
use super::device::Device;
use super::kernel::Kernel;
use super::pipelines::{Pipeline, Pipelines};
use super::profile::Work;
use crate::error::Result;
use bytemuck::Pod;
use std::sync::Arc;
use wgpu::{Buffer, BufferUsages};

/// What a dispatch covers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Items {
    /// Items in each dimension, for one token and one part.
    pub each: [u32; 3],
    /// The dimension that counts tokens; its value is multiplied by their number.
    pub tokens: Option<usize>,
    /// Tokens that one item of it stands for.
    pub of_tokens: u32,
    /// Whether the last dimension counts parts of attention.
    pub parts: bool,
    /// Whether it is skipped when attention is not split.
    pub only_if_split: bool,
}

impl Items {
    /// The same for every block.
    pub fn fixed(each: [u32; 3]) -> Items {
        Items { each, tokens: None, of_tokens: 1, parts: false, only_if_split: false }
    }

    /// Dimension `axis` counts tokens.
    pub fn tokens(each: [u32; 3], axis: usize) -> Items {
        Items { tokens: Some(axis), ..Items::fixed(each) }
    }
}

/// One kernel with everything it needs.
struct Step {
    pipeline: Arc<Pipeline>,
    group: wgpu::BindGroup,
    items: Items,
    work: Work,
}

/// Kernels in the order in which they run.
#[derive(Default)]
pub(super) struct Program {
    steps: Vec<Step>,
}

impl Program {
    /// Encodes a pass of all the steps for a block of `tokens` tokens, attention split into `parts`.
    pub fn encode(&self, device: &Device, encoder: &mut Encoder, tokens: u32, parts: u32) {
        self.encode_share(0, 1, device, encoder, tokens, parts);
    }

    /// Kernels that run.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Like [`Program::encode`], but only share `share` of the steps, out of `of` about equal ones.
    pub fn encode_share(
        &self,
        share: usize,
        of: usize,
        device: &Device,
        encoder: &mut Encoder,
        tokens: u32,
        parts: u32,
    ) {
        let [from, to] = [share, share + 1].map(|share| self.steps.len() * share / of);
        encode_steps(device, encoder, self.steps[from..to].iter(), tokens, parts);
    }

    /// Like [`Program::encode`], followed by the steps of `then` in the same pass.
    pub fn encode_with(
        &self,
        then: &Program,
        device: &Device,
        encoder: &mut Encoder,
        tokens: u32,
        parts: u32,
    ) {
        encode_steps(device, encoder, self.steps.iter().chain(&then.steps), tokens, parts);
    }
}

/// Encodes steps in one pass, or in one each if they are timed.
fn encode_steps<'a>(
    device: &Device,
    encoder: &mut Encoder,
    steps: impl Iterator<Item = &'a Step>,
    tokens: u32,
    parts: u32,
) {
    let steps = steps.filter(|step| parts > 1 || !step.items.only_if_split);
    if let Some(clock) = &device.clock {
        for step in steps {
            let mut pass = clock.pass(encoder, &step.pipeline, step.work, tokens);
            let dispatches = encode_pass(&mut pass, std::iter::once(step), tokens, parts);
            drop(pass);
            encoder.count(dispatches);
        }
        clock.resolve(encoder);
        return;
    }
    let mut pass = encoder.begin_compute_pass(&Default::default());
    let dispatches = encode_pass(&mut pass, steps, tokens, parts);
    drop(pass);
    encoder.count(dispatches);
}

/// Encodes steps, and returns their number.
fn encode_pass<'a>(
    pass: &mut wgpu::ComputePass<'_>,
    steps: impl Iterator<Item = &'a Step>,
    tokens: u32,
    parts: u32,
) -> u64 {
    let mut dispatches = 0;
    for step in steps {
        let mut items = step.items.each;
        if let Some(axis) = step.items.tokens {
            items[axis] *= tokens.div_ceil(step.items.of_tokens);
        }
        if step.items.parts {
            items[2] *= parts;
        }
        let [x, y, z] = step.pipeline.grid(items);
        pass.set_pipeline(&step.pipeline.inner);
        pass.set_bind_group(0, &step.group, &[]);
        pass.dispatch_workgroups(x, y, z);
        dispatches += 1;
    }
    dispatches
}

/// A step recorded before its parameters have an offset.
struct Recorded<'a> {
    kernel: Kernel,
    params: Vec<u8>,
    buffers: Vec<&'a Buffer>,
    items: Items,
}

/// Records a program.
pub(super) struct Recorder<'a> {
    device: &'a Device,
    pipelines: &'a Pipelines,
    recorded: Vec<Recorded<'a>>,
}

impl<'a> Recorder<'a> {
    pub fn new(device: &'a Device, pipelines: &'a Pipelines) -> Recorder<'a> {
        Recorder { device, pipelines, recorded: Vec::new() }
    }

    /// Adds a kernel. `buffers` are its bindings from 1 on.
    pub fn add<const N: usize>(
        &mut self,
        kernel: Kernel,
        params: &impl Pod,
        buffers: [&'a Buffer; N],
        items: Items,
    ) {
        debug_assert_eq!(kernel.bindings().len(), N, "{kernel:?}");
        let params = bytemuck::bytes_of(params).to_vec();
        self.recorded.push(Recorded { kernel, params, buffers: buffers.to_vec(), items });
    }

    /// Finishes the program: its kernels compiled and validated, the parameters of all steps in one
    /// buffer.
    pub fn finish(self) -> Result<Program> {
        let device = self.device;
        let kernels: Vec<Kernel> = self.recorded.iter().map(|r| r.kernel).collect();
        self.pipelines.prepare(&kernels)?;
        let pipelines: Vec<Arc<Pipeline>> =
            kernels.iter().map(|kernel| self.pipelines.get(*kernel)).collect::<Result<_>>()?;
        let alignment = u64::from(device.limits.min_uniform_buffer_offset_alignment).max(64);
        let mut bytes: Vec<u8> = Vec::new();
        let mut offsets = Vec::new();
        for recorded in &self.recorded {
            offsets.push(bytes.len() as u64);
            bytes.extend(&recorded.params);
            bytes.resize(bytes.len().next_multiple_of(alignment as usize), 0);
        }
        let usage = BufferUsages::UNIFORM | BufferUsages::COPY_DST;
        let uniforms = device.buffer(bytes.len() as u64, usage, "parameters of kernels")?;
        let steps = device.scoped(0, "bind groups", || {
            device.queue.write_buffer(&uniforms, 0, &bytes);
            let recorded = self.recorded.into_iter().zip(pipelines).zip(offsets);
            recorded
                .map(|((Recorded { kernel, params, buffers, items }, pipeline), offset)| {
                    let work = Work::of(kernel, &params);
                    let bound_params = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer: &uniforms,
                        offset,
                        size: std::num::NonZero::new(64),
                    });
                    let bound = buffers.iter().map(|buffer| buffer.as_entire_binding());
                    let entries: Vec<_> = std::iter::once(bound_params)
                        .chain(bound)
                        .zip(0..)
                        .map(|(resource, binding)| wgpu::BindGroupEntry { binding, resource })
                        .collect();
                    let group = device.inner.create_bind_group(&wgpu::BindGroupDescriptor {
                        label: None,
                        layout: &pipeline.layout,
                        entries: &entries,
                    });
                    Step { pipeline, group, items, work }
                })
                .collect()
        })?;
        Ok(Program { steps })
    }
}
