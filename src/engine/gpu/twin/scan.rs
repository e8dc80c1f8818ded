//! The scan over a block of tokens, one after the other.

use super::super::params::Mixer;
use super::{Constants, softplus};

pub(in super::super) fn scan(
    p: &Mixer,
    constants: &[f32],
    projected: &[f32],
    mixed: &[f32],
    states: &mut [f32],
    y: &mut [f32],
    since: &[u32],
) {
    let constants = Constants { p, all: constants };
    let [inner, state, groups, heads, channels] =
        [p.inner, p.state, p.groups, p.heads, p.channels].map(|n| n as usize);
    let width = inner / heads;
    for (token, &since) in since.iter().enumerate() {
        for side in 0..2 {
            let row = &mixed[(2 * token + side) * channels..][..channels];
            let raw = &projected[token * p.token_stride as usize + side * p.projected as usize..];
            for head in 0..heads {
                let group = head * groups / heads;
                let b = &row[inner + group * state..][..state];
                let c = &row[inner + (groups + group) * state..][..state];
                let dt = softplus(raw[inner + channels + head] + constants.of_head(side, 0, head));
                let decay = (dt * constants.of_head(side, 1, head)).exp();
                let start = p.scan_at as usize + (side * heads + head) * state * width;
                for w in 0..width {
                    let x = row[head * width + w];
                    let mut sum = constants.of_head(side, 2, head) * x;
                    for n in 0..state {
                        let s = &mut states[start + n * width + w];
                        *s = if since == 0 { 0.0 } else { decay * *s } + dt * x * b[n];
                        sum += *s * c[n];
                    }
                    y[(2 * token + side) * inner + head * width + w] = sum;
                }
            }
        }
    }
}
