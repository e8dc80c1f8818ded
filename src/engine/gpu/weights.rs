//! The weights on the GPU.
//!
//! Matrices that take inputs of the same width are *stacked*: one after the other, each padded with
//! rows of zeros to a multiple of 16, so that one dispatch computes the rows of all. If formats
//! differ there are several stacks. A stack is split into *parts* of whole rows, none larger than
//! the limit on bindings.

use super::device::Device;
use super::format::{Format, PIECE, QUAD};
use super::upload::{Source, Upload};
use crate::error::Result;
use crate::model::{Layer, LayerSpec, Matrix, Mixer, Model, ModelSpec, Projection};
use wgpu::Buffer;

/// Multiple that the rows of a matrix, and the values of a row of activations, are padded to.
pub(super) fn padded(len: usize) -> u32 {
    len.next_multiple_of(PIECE) as u32
}

/// Rows of a stack that are bound together.
pub(super) struct Part {
    /// Index of the first in the stack.
    pub first: u32,
    pub rows: u32,
    pub quants: Buffer,
    pub scales: Buffer,
}

/// Matrices of one format, stacked.
pub(super) struct Stack {
    pub format: Format,
    /// Index of its first row among those of all the stacks it belongs with.
    pub start: u32,
    pub rows: u32,
    /// Values per row, and pieces.
    pub cols: u32,
    pub pieces: u32,
    pub parts: Vec<Part>,
}

/// The weights of a layer.
pub(super) struct LayerWeights {
    pub attn_norm: Option<Buffer>,
    /// `q | k | v`, or, if mixers read the normalized input itself, `q | k mixer | v mixer`.
    pub first: Vec<Stack>,
    pub mixers: Option<MixerWeights>,
    /// Of queries; of keys and values, each padded to whole pieces.
    pub biases: [Option<Buffer>; 2],
    /// Norms of a query head and of a key head.
    pub head_norms: Option<Buffer>,
    pub output: Vec<Stack>,
    pub output_bias: Option<Buffer>,
    pub attn_post_norm: Option<Buffer>,
    /// Retention gates of the KV heads, if the model has any.
    pub retention: Option<Vec<Stack>>,
    pub ffn_norm: Option<Buffer>,
    /// Gates and ups interleaved; if their formats differ, one after the other.
    pub gate_up: Vec<Stack>,
    pub interleaved: bool,
    pub down: Vec<Stack>,
    pub ffn_post_norm: Option<Buffer>,
}

/// The weights of a layer's mixers, keys first.
pub(super) struct MixerWeights {
    /// If keys and values are projected first; otherwise part of [`LayerWeights::first`].
    pub w_in: Option<Vec<Stack>>,
    /// See `shaders/shared/mixer.wgsl`.
    pub constants: Buffer,
    pub w_out: Vec<Stack>,
}

/// All weights except the embedding, whose rows the host looks up.
pub(super) struct Weights {
    pub layers: Vec<LayerWeights>,
    pub output_norm: Buffer,
    pub head: Vec<Stack>,
}

impl Weights {
    /// `progress` gets the bytes of matrices uploaded so far and the total, and returns whether to
    /// continue.
    pub fn upload(
        device: &Device,
        model: &Model,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Weights> {
        let weights = &model.weights;
        let upload = &mut Upload::new(device, bytes_of(model), progress);
        let layers = weights.layers.iter().enumerate().map(|(index, of)| {
            let retention = retention(upload, model.spec(), index)?;
            layer(upload, of, retention)
        });
        let layers = layers.collect::<Result<_>>()?;
        let output_norm = upload.floats(&weights.output_norm, "a norm")?;
        let head = stacks(upload, &[&weights.head])?;
        upload.finish()?;
        Ok(Weights { layers, output_norm, head })
    }

    /// Every stack of matrices.
    pub fn stacks(&self) -> impl Iterator<Item = &Stack> {
        let layers = self.layers.iter().flat_map(|l| {
            let mixers = l.mixers.iter().flat_map(|m| m.w_in.iter().chain([&m.w_out]).flatten());
            let lists = [&l.first, &l.output, &l.gate_up, &l.down];
            lists.into_iter().flatten().chain(mixers)
        });
        layers.chain(&self.head)
    }

    /// Total number of weights, including padding.
    pub fn count(&self) -> u64 {
        self.stacks().map(|stack| u64::from(stack.rows) * u64::from(stack.cols)).sum()
    }

    /// Bytes of the matrices.
    pub fn bytes(&self) -> u64 {
        let retention = self.layers.iter().flat_map(|layer| &layer.retention).flatten();
        let all = self.stacks().chain(retention);
        all.map(|s| bytes_of_rows(s.format, s.cols as usize, s.rows)).sum()
    }
}

/// Bytes of the matrices of `model` once they are on the GPU, from their sizes alone.
pub(super) fn bytes_of(model: &Model) -> u64 {
    let spec = model.spec();
    let layers = spec.layers.iter().filter(|_| model.has_retention_gates());
    let retention = layers.map(|layer| bytes_of_rows(Format::F32, spec.d, scores_of(layer)));
    total(model, &|matrix, rows| bytes_of_rows(Format::of(matrix.dtype), matrix.cols, rows))
        + retention.sum::<u64>()
}

/// Rows of the retention gates of a layer, and scores of a token.
pub(super) fn scores_of(layer: &LayerSpec) -> u32 {
    layer.kv_heads.next_multiple_of(QUAD) as u32
}

/// The retention gates of a layer, if the model has any.
fn retention(upload: &mut Upload, spec: &ModelSpec, layer: usize) -> Result<Option<Vec<Stack>>> {
    let of = &spec.layers[layer];
    let gates: Vec<&[f32]> = (0..of.kv_heads).filter_map(|head| spec.gate(layer, head)).collect();
    if gates.is_empty() {
        return Ok(None);
    }
    let rows = scores_of(of);
    let [quants, scales] = upload.float_rows(&gates, rows as usize)?;
    Ok(Some(vec![Stack {
        format: Format::F32,
        start: 0,
        rows,
        cols: spec.d as u32,
        pieces: spec.d.div_ceil(PIECE) as u32,
        parts: vec![Part { first: 0, rows, quants, scales }],
    }]))
}

/// What [`Weights::count`] will be.
pub(super) fn count_of(model: &Model) -> u64 {
    total(model, &|matrix, rows| u64::from(rows) * matrix.cols as u64)
}

/// Sum over all matrices of `each`, given a matrix and its number of rows including padding.
fn total(model: &Model, each: &dyn Fn(&Matrix, u32) -> u64) -> u64 {
    let bytes = |matrix: &Matrix, rows: usize| each(matrix, padded(rows));
    let of_layer = |layer: &Layer| {
        let all: u64 = layer.matrices().map(|matrix| bytes(matrix, matrix.rows)).sum();
        let (gate, up) = (&layer.ffn_gate, &layer.ffn_up);
        if Format::of(gate.dtype) != Format::of(up.dtype) {
            return all;
        }
        // Interleaved rows are padded together.
        all - bytes(gate, gate.rows) - bytes(up, up.rows) + bytes(gate, 2 * gate.rows)
    };
    let head = &model.weights.head;
    model.weights.layers.iter().map(of_layer).sum::<u64>() + bytes(head, head.rows)
}

fn bytes_of_rows(format: Format, cols: usize, rows: u32) -> u64 {
    let pieces = cols.div_ceil(PIECE);
    4 * u64::from(rows) * (format.quant_words(pieces) + format.scale_words(pieces)) as u64
}

fn layer(
    upload: &mut Upload,
    layer: &Layer,
    retention: Option<Vec<Stack>>,
) -> Result<LayerWeights> {
    let attention = &layer.attention;
    let mut first = vec![&attention.q.w];
    match (&attention.kv, &attention.mixers) {
        (Some(kv), _) => first.extend(kv.each_ref().map(|p| &p.w)),
        (None, Some(mixers)) => first.extend(mixers.each_ref().map(|m| &m.w_in)),
        (None, None) => {}
    }
    let mixers = match &attention.mixers {
        None => None,
        Some(mixers) => {
            let [k, v] = mixers;
            let w_in = match attention.kv {
                Some(_) => Some(stacks(upload, &[&k.w_in, &v.w_in])?),
                None => None,
            };
            let constants: Vec<f32> = mixers.iter().flat_map(constants).collect();
            Some(MixerWeights {
                w_in,
                constants: upload.floats(&constants, "the constants of a mixer")?,
                w_out: stacks(upload, &[&k.w_out, &v.w_out])?,
            })
        }
    };
    let interleaved = Format::of(layer.ffn_gate.dtype) == Format::of(layer.ffn_up.dtype);
    let pair = [&layer.ffn_gate, &layer.ffn_up];
    let head_norms = attention.head_norms.as_ref().map(|norms| norms.concat());
    let kv_bias = attention.kv.as_ref().and_then(side_by_side);
    Ok(LayerWeights {
        attn_norm: floats(upload, &attention.norm, "a norm")?,
        biases: [floats(upload, &attention.q.bias, "a bias")?, floats(upload, &kv_bias, "a bias")?],
        head_norms: floats(upload, &head_norms, "a norm")?,
        output_bias: floats(upload, &attention.output.bias, "a bias")?,
        attn_post_norm: floats(upload, &attention.post_norm, "a norm")?,
        retention,
        ffn_post_norm: floats(upload, &layer.ffn_post_norm, "a norm")?,
        first: stacks(upload, &first)?,
        mixers,
        output: stacks(upload, &[&attention.output.w])?,
        ffn_norm: floats(upload, &layer.ffn_norm, "a norm")?,
        gate_up: if interleaved { vec![by_turns(upload, pair)?] } else { stacks(upload, &pair)? },
        interleaved,
        down: stacks(upload, &[&layer.ffn_down])?,
    })
}

fn floats(
    upload: &mut Upload,
    values: &Option<Vec<f32>>,
    what: &'static str,
) -> Result<Option<Buffer>> {
    values.as_ref().map(|values| upload.floats(values, what)).transpose()
}

/// The biases of keys and values, if any, in the order their matrices are stacked.
fn side_by_side(kv: &[Projection; 2]) -> Option<Vec<f32>> {
    let any = kv.iter().any(|side| side.bias.is_some());
    any.then(|| {
        let side = |side: &Projection| {
            let mut values = side.bias.clone().unwrap_or_default();
            values.resize(padded(side.w.rows) as usize, 0.0);
            values
        };
        kv.iter().flat_map(side).collect()
    })
}

/// The constants of one side, in the order of `shaders/shared/mixer.wgsl`.
fn constants(mixer: &Mixer) -> Vec<f32> {
    let channels = mixer.conv_bias.len();
    let taps = mixer.conv.len() / channels;
    let by_tap = (0..taps * channels).map(|i| mixer.conv[i % channels * taps + i / channels]);
    let rest = [&mixer.conv_bias, &mixer.dt_bias, &mixer.a, &mixer.d, &mixer.norm];
    by_tap.chain(rest.into_iter().flatten().copied()).collect()
}

/// Stacks matrices, joining consecutive ones of the same format.
fn stacks(upload: &mut Upload, matrices: &[&Matrix]) -> Result<Vec<Stack>> {
    let mut start = 0;
    let alike = matrices.chunk_by(|a, b| Format::of(a.dtype) == Format::of(b.dtype));
    let mut stacks = Vec::new();
    for matrices in alike {
        let mut rows = 0;
        let sources: Vec<Source> = matrices
            .iter()
            .map(|matrix| {
                let source = Source { matrix, first: rows as usize, step: 1 };
                rows += padded(matrix.rows);
                source
            })
            .collect();
        stacks.push(stack(upload, &sources, start, rows)?);
        start += rows;
    }
    Ok(stacks)
}

/// Stacks two matrices of the same format with their rows interleaved.
fn by_turns(upload: &mut Upload, pair: [&Matrix; 2]) -> Result<Stack> {
    let sources = [0, 1].map(|i| Source { matrix: pair[i], first: i, step: 2 });
    stack(upload, &sources, 0, padded(2 * pair[0].rows))
}

fn stack(upload: &mut Upload, sources: &[Source], start: u32, rows: u32) -> Result<Stack> {
    let matrix = sources[0].matrix;
    let format = Format::of(matrix.dtype);
    let pieces = matrix.cols.div_ceil(PIECE);
    let widest = 4 * format.quant_words(pieces).max(format.scale_words(pieces));
    let most = (upload.largest() / widest / PIECE * PIECE).max(PIECE);
    let mut parts = Vec::new();
    for first in (0..rows as usize).step_by(most) {
        let count = most.min(rows as usize - first);
        let [quants, scales] = upload.rows(sources, first..first + count)?;
        parts.push(Part { first: first as u32, rows: count as u32, quants, scales });
    }
    let (cols, pieces) = (matrix.cols as u32, pieces as u32);
    Ok(Stack { format, start, rows, cols, pieces, parts })
}
