// The scan of one head of a mixer over a block of tokens: `S = exp(dt A) S + dt x (outer) B`,
// `y = S C + D x`, with `S` zeroed before the first token of each chunk.
//
// Within a stretch of 32 tokens the state is never formed: `y_t` is the sum over the tokens `s <=
// t` of its chunk of `exp(A (dt_s+1 + ... + dt_t)) dt_s (C_t . B_s) x_s`, plus, where no chunk
// began in between, the state from before the stretch, decayed.

#import mixer
#import arena
#import softplus

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> constants: array<f32>;
@group(0) @binding(2) var<storage, read> projected: array<f32>;
// x, B, C after the convolution, `[token][side][channels]`
@group(0) @binding(3) var<storage, read> mixed: array<f32>;
// `[side][head][N][I / H]`
@group(0) @binding(4) var<storage, read_write> states: array<f32>;
// `[token][side][I]`
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<storage, read> arena: array<u32>;

const STRETCH = 32u;
const THREADS = 64u;

var<workgroup> steps: array<f32, STRETCH>;
// The exponent from before the stretch to each token.
var<workgroup> exponents: array<f32, STRETCH>;
// Weight of token `s` in the output of token `t`, `[t][s]`.
var<workgroup> shares: array<f32, 1024>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let head = workgroup.x;
    let side = workgroup.y;
    let width = p.inner / p.heads;
    let group = head * p.groups / p.heads;
    let tokens = arena[TOKENS];
    let since = arena[SINCE] + p.schedule * tokens;
    let decay = of_head(side, DECAY, head);
    let own = of_head(side, INPUT, head);
    let state = p.scan_at + (side * p.heads + head) * p.state * width;
    let b = p.inner + group * p.state;
    let c = b + p.groups * p.state;

    for (var start = 0u; start < tokens; start += STRETCH) {
        let count = min(STRETCH, tokens - start);
        if index < count {
            let raw = projected[at_dt(start + index, side, head)];
            steps[index] = softplus(raw + of_head(side, DT_BIAS, head));
        }
        workgroupBarrier();
        if index < count {
            var exponent = 0.0;
            for (var s = 0u; s <= index; s++) {
                exponent += steps[s] * decay;
            }
            exponents[index] = exponent;
        }
        workgroupBarrier();
        for (var pair = index; pair < count * STRETCH; pair += THREADS) {
            let t = pair / STRETCH;
            let s = pair % STRETCH;
            if s <= t && t - s <= arena[since + start + t] {
                let at_t = (2u * (start + t) + side) * p.channels + c;
                let at_s = (2u * (start + s) + side) * p.channels + b;
                var product = 0.0;
                for (var i = 0u; i < p.state; i++) {
                    product += mixed[at_t + i] * mixed[at_s + i];
                }
                shares[pair] = exp(exponents[t] - exponents[s]) * steps[s] * product;
            }
        }
        workgroupBarrier();

        // The tokens of the stretch that the state before it reaches, and those that the state
        // after it depends on.
        let last = count - 1u;
        let reach = min(arena[since + start + last], last);
        let carried = arena[since + start + last] > last;
        for (var channel = index; channel < width; channel += THREADS) {
            let at = side * p.channels + head * width + channel;
            for (var t = 0u; t < count; t++) {
                let before = arena[since + start + t];
                let begin = t - min(before, t);
                var sum = own * mixed[2u * (start + t) * p.channels + at];
                for (var s = begin; s <= t; s++) {
                    sum += shares[t * STRETCH + s] * mixed[2u * (start + s) * p.channels + at];
                }
                if before > t {
                    var held = 0.0;
                    let at_c = (2u * (start + t) + side) * p.channels + c;
                    for (var i = 0u; i < p.state; i++) {
                        held += states[state + i * width + channel] * mixed[at_c + i];
                    }
                    sum += exp(exponents[t]) * held;
                }
                y[(2u * (start + t) + side) * p.inner + head * width + channel] = sum;
            }
            for (var i = 0u; i < p.state; i++) {
                var value = 0.0;
                if carried {
                    value = exp(exponents[last]) * states[state + i * width + channel];
                }
                for (var s = last - reach; s <= last; s++) {
                    let at_b = (2u * (start + s) + side) * p.channels + b;
                    let share = exp(exponents[last] - exponents[s]) * steps[s];
                    value += share * mixed[at_b + i] * mixed[2u * (start + s) * p.channels + at];
                }
                states[state + i * width + channel] = value;
            }
        }
        workgroupBarrier();
    }
}

fn at_dt(token: u32, side: u32, head: u32) -> u32 {
    let end = p.inner + p.channels;
    return token * p.token_stride + side * p.projected + end + head;
}
