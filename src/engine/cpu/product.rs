//! Matrix products, split among the threads by rows.

use super::Shared;
use super::buffer::Buffer;
use super::kernels::{Activations, PANEL, Panel, Target};
use crate::model::{Matrix, Projection};
use std::sync::Mutex;

/// `out = W x + b`, or `out += W x + b`, for every token of a block.
pub(super) struct Product<'a> {
    /// The matrix.
    w: &'a Matrix,
    /// The bias added to the product of each token, if any.
    bias: Option<&'a [f32]>,
    /// Its inputs.
    x: &'a Activations,
    /// `[tokens][rows of W]`
    out: &'a Buffer<f32>,
    /// Whether to accumulate into `out`.
    add: bool,
}

impl<'a> Product<'a> {
    /// `out = W x`
    pub fn new(w: &'a Matrix, x: &'a Activations, out: &'a Buffer<f32>) -> Product<'a> {
        Product { w, bias: None, x, out, add: false }
    }

    /// `out = W x + b`
    pub fn of(p: &'a Projection, x: &'a Activations, out: &'a Buffer<f32>) -> Product<'a> {
        Product { bias: p.bias.as_deref(), ..Product::new(&p.w, x, out) }
    }

    /// Adds the bias to rows of a token's product, starting with row `first`.
    fn add_bias(&self, out: &mut [f32], first: usize) {
        if let Some(bias) = self.bias {
            out.iter_mut().zip(&bias[first..]).for_each(|(out, bias)| *out += bias);
        }
    }

    /// Accumulates into `out`.
    pub fn added(self) -> Product<'a> {
        Product { add: true, ..self }
    }
}

/// From this many tokens on, unpacking weights into panels is cheaper than reading them repeatedly.
const PANEL_TOKENS: usize = 4;

/// Whether products of this many tokens are made by panel.
pub(super) fn by_panel(tokens: usize) -> bool {
    tokens >= PANEL_TOKENS
}

/// Rows whose products are added at a time where weights are used in place; they live on the stack.
const MOST_ROWS: usize = 256;

impl Shared {
    /// Computes several products in one parallel region; a task is [`PANEL`] rows of one.
    pub(super) fn multiply(&self, tokens: usize, panels: &[Mutex<Panel>], products: &[Product]) {
        let by_panel = by_panel(tokens);
        let tasks = products.iter().map(|p| p.w.rows.div_ceil(PANEL)).sum();
        let work = products.iter().map(|p| p.w.rows * p.w.cols).sum::<usize>() * tokens;
        self.region_of_ranges(tasks, work, &|some, thread| {
            let mut before = 0;
            for product in products {
                let rows = product.w.rows;
                let row = |task: usize| (task.saturating_sub(before) * PANEL).min(rows);
                let (first, end) = (row(some.start), row(some.end));
                before += rows.div_ceil(PANEL);
                // SAFETY: each task has rows of its own.
                unsafe {
                    if by_panel {
                        let mut panel = super::lock(&panels[thread]);
                        for first in (first..end).step_by(PANEL) {
                            let count = PANEL.min(end - first);
                            self.panel(product, first, count, tokens, &mut panel);
                        }
                    } else {
                        for first in (first..end).step_by(MOST_ROWS) {
                            self.rows(product, first, MOST_ROWS.min(end - first), tokens);
                        }
                    }
                }
            }
        });
    }

    /// # Safety
    /// Nobody else may touch these rows of the output.
    unsafe fn rows(&self, p: &Product, first: usize, count: usize, tokens: usize) {
        let stride = p.w.row_bytes();
        let weights = &p.w.bytes()[first * stride..][..count * stride];
        for t in 0..tokens {
            // SAFETY: the caller's rows; the activations hold `cols` values per token.
            unsafe {
                let out = p.out.write(t * p.w.rows + first, count);
                assert_eq!(p.x.cols(), p.w.cols);
                if p.add {
                    let mut product = [0f32; MOST_ROWS];
                    let product = &mut product[..count];
                    self.kernels.matvec(p.w.dtype, weights, p.w.cols, p.x.row(t), product);
                    out.iter_mut().zip(product).for_each(|(out, product)| *out += *product);
                } else {
                    self.kernels.matvec(p.w.dtype, weights, p.w.cols, p.x.row(t), out);
                }
                p.add_bias(out, first);
            }
        }
    }

    /// # Safety
    /// Nobody else may touch these rows of the output.
    unsafe fn panel(
        &self,
        p: &Product,
        first: usize,
        count: usize,
        tokens: usize,
        panel: &mut Panel,
    ) {
        let stride = p.w.row_bytes();
        let weights = &p.w.bytes()[first * stride..][..count * stride];
        assert_eq!(p.x.cols(), p.w.cols);
        // SAFETY: the caller's rows.
        unsafe {
            // From the first row of the first token to the last of the last.
            let out = p.out.at(first, (tokens - 1) * p.w.rows + count);
            let target = Target { out, stride: p.w.rows, add: p.add };
            self.kernels.matmul(p.w.dtype, weights, p.x, tokens, panel, target);
            if p.bias.is_some() {
                (0..tokens)
                    .for_each(|t| p.add_bias(p.out.write(t * p.w.rows + first, count), first));
            }
        }
    }
}
