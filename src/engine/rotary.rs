//! Rotary tables: frequencies, scaled as the model requires.

use crate::model::{Model, RotaryTable, Scaling};
use std::f64::consts::TAU;

/// A rotary table.
pub(super) struct Rotary {
    /// Radians per position of each pair, `[width / 2]`.
    pub frequencies: Vec<f64>,
    /// What cosines and sines are multiplied by.
    pub magnitude: f64,
}

impl Rotary {
    /// Every table of `model`.
    pub fn tables(model: &Model) -> Vec<Rotary> {
        let tables = model.spec().rotary.iter().zip(&model.weights.rotary_factors);
        tables.map(|(table, factors)| Rotary::new(table, factors.as_deref())).collect()
    }

    fn new(table: &RotaryTable, factors: Option<&[f32]>) -> Rotary {
        let (width, base) = (table.width as f64, f64::from(table.base));
        let plain = (0..table.width / 2).map(|j| {
            let factor = factors.map_or(1.0, |f| f64::from(f[j]));
            base.powf(-2.0 * j as f64 / width) / factor
        });
        let magnitude = f64::from(table.magnitude);
        match table.scaling {
            Scaling::None => Rotary { frequencies: plain.collect(), magnitude },
            Scaling::Linear { factor } => Rotary {
                frequencies: plain.map(|frequency| frequency / f64::from(factor)).collect(),
                magnitude,
            },
            Scaling::Yarn { factor, original, fast, slow } => {
                // The pair that completes this many turns within the original training context.
                let pair = |turns: f32| {
                    let length = original as f64 / (f64::from(turns) * TAU);
                    width * length.ln() / (2.0 * base.ln())
                };
                let low = pair(fast).floor().max(0.0);
                let high = pair(slow).ceil().min(width - 1.0);
                let factor = f64::from(factor);
                let scaled = plain.enumerate().map(|(j, frequency)| {
                    let ramp = ((j as f64 - low) / (high - low).max(0.001)).clamp(0.0, 1.0);
                    frequency / factor * ramp + frequency * (1.0 - ramp)
                });
                Rotary {
                    frequencies: scaled.collect(),
                    magnitude: magnitude * (1.0 + 0.1 * factor.ln()),
                }
            }
        }
    }

    /// Cosine and sine of each pair's rotation at `position`. Angles are reduced in f64, so that
    /// they stay exact after billions of tokens.
    pub fn pairs(&self, position: u64) -> impl Iterator<Item = [f32; 2]> {
        self.frequencies.iter().map(move |frequency| {
            let (sin, cos) = (position as f64 * frequency).sin_cos();
            [cos, sin].map(|x| (self.magnitude * x) as f32)
        })
    }

    /// Fills `turns`, `[width / 2][2]`, with [`Rotary::pairs`].
    pub fn turns(&self, position: u64, turns: &mut [f32]) {
        for (turn, pair) in turns.chunks_exact_mut(2).zip(self.pairs(position)) {
            turn.copy_from_slice(&pair);
        }
    }
}
