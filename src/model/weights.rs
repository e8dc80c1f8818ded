//! The tensors of a model, looked up by name and checked against the shapes that its description
//! requires. Matrices stay in the file; vectors, which are small, are copied to f32.

use super::arch::Names;
use super::spec::{LayerSpec, ModelSpec, RotaryTable, Ssm};
use crate::error::{Error, Result};
use crate::gguf::{Gguf, Tensor};
use crate::quant::{self, DType};
use crate::room;
use std::collections::HashSet;
use std::sync::Arc;

/// A matrix of the file: `rows` rows of `cols` values, in whatever format the file stores them.
#[derive(Clone)]
pub struct Matrix {
    /// Format of the values.
    pub dtype: DType,
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
    gguf: Arc<Gguf>,
    tensor: usize,
    /// Its first row among those of the tensor, which may hold several matrices.
    first: usize,
}

impl Matrix {
    /// The rows, one after the other.
    pub fn bytes(&self) -> &[u8] {
        let stride = self.row_bytes();
        &self.tensor().data()[self.first * stride..][..self.rows * stride]
    }

    /// Bytes of a row.
    pub fn row_bytes(&self) -> usize {
        self.cols / self.dtype.block_len() * self.dtype.block_bytes()
    }

    /// Advises the system that the pages of some rows will not be needed soon.
    #[cfg(feature = "gpu")]
    pub fn release(&self, rows: std::ops::Range<usize>) {
        let stride = self.row_bytes();
        let (start, end) = (self.first + rows.start, self.first + rows.end);
        self.tensor().release_part(start * stride..end * stride);
    }

    /// The entry of the tensor table.
    pub fn tensor(&self) -> Tensor<'_> {
        self.gguf.tensor_at(self.tensor)
    }
}

impl std::fmt::Debug for Matrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} [{}, {}] {}", self.tensor().name(), self.rows, self.cols, self.dtype)
    }
}

/// One Mamba-2 mixer.
#[derive(Debug)]
pub struct Mixer {
    /// `[2 I + 2 G N + H, kv_dim]`
    pub w_in: Matrix,
    /// `[I + 2 G N, C]`
    pub conv: Vec<f32>,
    /// `[I + 2 G N]`, zero if the file has none.
    pub conv_bias: Vec<f32>,
    /// `[H]`, zero if the file has none.
    pub dt_bias: Vec<f32>,
    /// `[H]`, negative.
    pub a: Vec<f32>,
    /// `[H]`
    pub d: Vec<f32>,
    /// `[I]`
    pub norm: Vec<f32>,
    /// `[kv_dim, I]`
    pub w_out: Matrix,
}

impl Mixer {
    fn copied(&self) -> usize {
        // The CPU engine keeps a second copy of the convolution, tap by tap.
        let conv = [&self.conv, &self.conv];
        let rest = [&self.conv_bias, &self.dt_bias, &self.a, &self.d, &self.norm];
        conv.into_iter().chain(rest).map(Vec::len).sum()
    }
}

/// A projection of attention: `W x`, or `W x + b`.
#[derive(Debug)]
pub struct Projection {
    /// `W`
    pub w: Matrix,
    /// `b`, `[rows of W]`
    pub bias: Option<Vec<f32>>,
}

impl Projection {
    fn plain(w: Matrix) -> Projection {
        Projection { w, bias: None }
    }
}

/// The attention of a layer.
#[derive(Debug)]
pub struct Attention {
    /// On what is read from the residual stream, `[d]`.
    pub norm: Option<Vec<f32>>,
    /// `[heads * head_dim, d]`
    pub q: Projection,
    /// If keys and values are projected: `[kv_dim, d]` each.
    pub kv: Option<[Projection; 2]>,
    /// The key and value mixers; none in a transformer.
    pub mixers: Option<[Mixer; 2]>,
    /// Norms of the query and key heads, `[head_dim]` each.
    pub head_norms: Option<[Vec<f32>; 2]>,
    /// `[d, heads * head_dim]`
    pub output: Projection,
    /// On what is added to the residual stream, `[d]`.
    pub post_norm: Option<Vec<f32>>,
}

/// One layer.
#[derive(Debug)]
pub struct Layer {
    /// Attention.
    pub attention: Attention,
    /// On what the feed-forward network reads, `[d]`.
    pub ffn_norm: Option<Vec<f32>>,
    /// `[F, d]`
    pub ffn_gate: Matrix,
    /// `[F, d]`
    pub ffn_up: Matrix,
    /// `[d, F]`
    pub ffn_down: Matrix,
    /// On what it adds, `[d]`.
    pub ffn_post_norm: Option<Vec<f32>>,
}

impl Layer {
    /// Every matrix of the layer, in the order in which a token passes through them.
    pub fn matrices(&self) -> impl Iterator<Item = &Matrix> {
        let attention = &self.attention;
        let projections = attention.kv.iter().flatten().map(|p| &p.w);
        let mixers = attention.mixers.iter().flatten().flat_map(|m| [&m.w_in, &m.w_out]);
        std::iter::once(&attention.q.w).chain(projections).chain(mixers).chain([
            &attention.output.w,
            &self.ffn_gate,
            &self.ffn_up,
            &self.ffn_down,
        ])
    }

    /// Number of values of the layer that do not stay in the file.
    pub fn copied(&self) -> usize {
        let a = &self.attention;
        let norms = [&a.norm, &a.post_norm, &self.ffn_norm, &self.ffn_post_norm];
        let biases = a.kv.iter().flatten().chain([&a.q, &a.output]).flat_map(|p| &p.bias);
        let vectors =
            norms.into_iter().flatten().chain(biases).chain(a.head_norms.iter().flatten());
        vectors.map(Vec::len).sum::<usize>()
            + a.mixers.iter().flatten().map(Mixer::copied).sum::<usize>()
    }
}

/// All weights.
#[derive(Debug)]
pub struct Weights {
    /// `[V, d]`
    pub embedding: Matrix,
    /// The layers in order.
    pub layers: Vec<Layer>,
    /// `[d]`, with the scale of logits in it.
    pub output_norm: Vec<f32>,
    /// `[V, d]`; the embedding again if the file has no separate head.
    pub head: Matrix,
    /// For each rotary table the divisors of its frequencies, `[width / 2]`, if it has any.
    pub rotary_factors: Vec<Option<Vec<f32>>>,
}

impl Weights {
    /// Looks up every tensor of a model with this description.
    pub(super) fn find(gguf: &Arc<Gguf>, spec: &ModelSpec, names: &Names) -> Result<Weights> {
        let (vocab, d) = (spec.vocab, spec.d);
        let mut finder = Finder { gguf, names, taken: HashSet::new() };
        let embedding = finder.matrix("token_embd.weight", vocab, d)?;
        let head = match spec.tied_head {
            true => embedding.clone(),
            false => finder.matrix("output.weight", vocab, d)?,
        };
        let mut output_norm = finder.vector("output_norm.weight", &[d])?;
        // The logits of a scaled input are scaled logits.
        output_norm.iter_mut().for_each(|gain| *gain *= spec.logit_scale);
        let factors = spec.rotary.iter().map(|table| finder.rotary_factors(table));
        let rotary_factors = factors.collect::<Result<_>>()?;
        let layers = spec.layers.iter().enumerate();
        let layers = layers.map(|(i, layer)| finder.layer(i, d, layer)).collect::<Result<_>>()?;
        finder.taken.extend(spec.unused.iter().map(|&name| name.to_owned()));
        finder.refuse_the_rest()?;
        Ok(Weights { embedding, layers, output_norm, head, rotary_factors })
    }
}

struct Finder<'a> {
    gguf: &'a Arc<Gguf>,
    names: &'a Names,
    taken: HashSet<String>,
}

impl Finder<'_> {
    fn has(&self, name: &str) -> bool {
        self.gguf.tensor(name).is_some()
    }

    /// The tensor `name` of `shape`, rows first.
    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<usize> {
        let found = self.gguf.tensor_index(name);
        let index = found.ok_or_else(|| Error::model(format!("tensor {name}"), "is missing"))?;
        let info = self.gguf.tensor_at(index);
        let same = info.dims().iter().rev().copied().eq(shape.iter().map(|&n| n as u64));
        if !same {
            let found: Vec<_> = info.dims().iter().rev().collect();
            return Err(Error::model(
                format!("tensor {name}"),
                format!("has shape {found:?}, the metadata asks for {shape:?}"),
            ));
        }
        info.dtype()?;
        self.taken.insert(name.to_owned());
        Ok(index)
    }

    fn matrix(&mut self, name: &str, rows: usize, cols: usize) -> Result<Matrix> {
        let [matrix] = self.matrices(name, [rows], cols)?;
        Ok(matrix)
    }

    /// Matrices of so many `rows` each, one after the other in one tensor.
    fn matrices<const N: usize>(
        &mut self,
        name: &str,
        rows: [usize; N],
        cols: usize,
    ) -> Result<[Matrix; N]> {
        let tensor = self.tensor(name, &[rows.iter().sum(), cols])?;
        let dtype = self.gguf.tensor_at(tensor).dtype()?;
        let mut next = 0;
        Ok(rows.map(|rows| {
            let first = next;
            next += rows;
            Matrix { dtype, rows, cols, gguf: Arc::clone(self.gguf), tensor, first }
        }))
    }

    fn vector(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let index = self.tensor(name, shape)?;
        let info = self.gguf.tensor_at(index);
        let mut values = room::zeroed(shape.iter().product(), "weights")?;
        quant::dequantize(info.dtype()?, info.data(), &mut values)?;
        Ok(values)
    }

    fn optional_vector(&mut self, name: &str, shape: &[usize]) -> Result<Option<Vec<f32>>> {
        self.has(name).then(|| self.vector(name, shape)).transpose()
    }

    fn rotary_factors(&mut self, table: &RotaryTable) -> Result<Option<Vec<f32>>> {
        let Some(name) = table.factors else { return Ok(None) };
        let factors = self.vector(name, &[table.width / 2])?;
        match factors.iter().find(|x| !x.is_finite() || **x <= 0.0) {
            Some(bad) => Err(Error::model(name, format!("holds {bad}"))),
            None => Ok(Some(factors)),
        }
    }

    fn layer(&mut self, index: usize, d: usize, spec: &LayerSpec) -> Result<Layer> {
        let names = self.names;
        let (q_dim, kv_dim, biases) = (spec.q_dim(), spec.kv_dim(), spec.biases);
        let name = |part: &str| format!("blk.{index}.{part}");
        let weight = |part: &str| format!("blk.{index}.{part}.weight");
        let (q, kv) = match names.qkv {
            Some(qkv) => {
                let [q, k, v] = self.matrices(&weight(qkv), [q_dim, kv_dim, kv_dim], d)?;
                (Projection::plain(q), Some([Projection::plain(k), Projection::plain(v)]))
            }
            None => {
                let q = self.projection(&name(names.q), q_dim, d, biases.q)?;
                let kv = match spec.projected_kv {
                    true => Some([
                        self.projection(&name(names.k), kv_dim, d, biases.k)?,
                        self.projection(&name(names.v), kv_dim, d, biases.v)?,
                    ]),
                    false => None,
                };
                (q, kv)
            }
        };
        let [ffn_gate, ffn_up] = match names.gate_up {
            Some(gate_up) => self.matrices(&weight(gate_up), [spec.ffn, spec.ffn], d)?,
            None => [
                self.matrix(&weight(names.gate), spec.ffn, d)?,
                self.matrix(&weight(names.up), spec.ffn, d)?,
            ],
        };
        let mixers = match &spec.ssm {
            Some(ssm) => {
                Some([self.mixer(index, "k", kv_dim, ssm)?, self.mixer(index, "v", kv_dim, ssm)?])
            }
            None => None,
        };
        let head_norms = match spec.qk_norm {
            true => Some([
                self.vector(&weight(names.q_norm), &[spec.head_dim])?,
                self.vector(&weight(names.k_norm), &[spec.head_dim])?,
            ]),
            false => None,
        };
        let mut norm =
            |wanted: bool, part: &str| wanted.then(|| self.vector(&weight(part), &[d])).transpose();
        let (attention, ffn) = (spec.attention_norms, spec.ffn_norms);
        let before = norm(attention.before, names.attention_norm)?;
        let after = norm(attention.after, names.attention_post_norm)?;
        let ffn_before = norm(ffn.before, names.ffn_norm)?;
        let ffn_after = norm(ffn.after, names.ffn_post_norm)?;
        Ok(Layer {
            attention: Attention {
                norm: before,
                q,
                kv,
                mixers,
                head_norms,
                output: self.projection(&name(names.o), d, q_dim, biases.o)?,
                post_norm: after,
            },
            ffn_norm: ffn_before,
            ffn_gate,
            ffn_up,
            ffn_down: self.matrix(&weight(names.down), d, spec.ffn)?,
            ffn_post_norm: ffn_after,
        })
    }

    fn projection(
        &mut self,
        name: &str,
        rows: usize,
        cols: usize,
        biased: bool,
    ) -> Result<Projection> {
        let w = self.matrix(&format!("{name}.weight"), rows, cols)?;
        let bias = biased.then(|| self.vector(&format!("{name}.bias"), &[rows])).transpose()?;
        Ok(Projection { w, bias })
    }

    fn mixer(&mut self, index: usize, side: &str, width: usize, ssm: &Ssm) -> Result<Mixer> {
        let name = |part: &str| format!("blk.{index}.ssm_{side}_{part}");
        let channels = ssm.channels();
        let conv_bias = self.optional_vector(&name("conv1d.bias"), &[channels])?;
        let dt_bias = self.optional_vector(&name("dt.bias"), &[ssm.heads])?;
        let a = self.vector(&name("a"), &[ssm.heads])?;
        if let Some(bad) = a.iter().find(|x| !x.is_finite() || **x > 0.0) {
            return Err(Error::model(
                format!("tensor {}", name("a")),
                format!("holds {bad}; decay rates must be negative"),
            ));
        }
        Ok(Mixer {
            w_in: self.matrix(&name("in.weight"), ssm.projected(), width)?,
            conv: self.vector(&name("conv1d.weight"), &[channels, ssm.conv])?,
            conv_bias: match conv_bias {
                Some(bias) => bias,
                None => room::zeroed(channels, "weights")?,
            },
            dt_bias: match dt_bias {
                Some(bias) => bias,
                None => room::zeroed(ssm.heads, "weights")?,
            },
            a,
            d: self.vector(&name("d"), &[ssm.heads])?,
            norm: self.vector(&name("norm.weight"), &[ssm.inner])?,
            w_out: self.matrix(&name("out.weight"), width, ssm.inner)?,
        })
    }

    /// A tensor that goes unused (a bias, an expert) would change the function computed.
    fn refuse_the_rest(&self) -> Result<()> {
        let mut rest = self.gguf.tensors().filter(|t| !self.taken.contains(t.name()));
        let Some(first) = rest.next() else { return Ok(()) };
        let others = match rest.count() {
            0 => String::new(),
            1 => ", nor has another one".to_owned(),
            n => format!(", nor have {n} others"),
        };
        let problem = format!("has no part in this architecture{others}");
        Err(Error::unsupported(format!("tensor {}", first.name()), problem))
    }
}
