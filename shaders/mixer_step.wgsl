// One token through the two mixers of a layer, a workgroup each: convolution, scan, gate and norm.

#import mixer
#import arena
#import silu
#import softplus

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> constants: array<f32>;
@group(0) @binding(2) var<storage, read> projected: array<f32>;
// `[side][C - 1][channels]`, oldest first
@group(0) @binding(3) var<storage, read_write> past: array<f32>;
// `[side][head][N][I / H]`
@group(0) @binding(4) var<storage, read_write> states: array<f32>;
// x, B, C after the convolution, then the gated output in place of x, `[side][channels]`
@group(0) @binding(5) var<storage, read_write> mixed: array<f32>;
// `[side][gated]`
@group(0) @binding(6) var<storage, read_write> out: array<f32>;
@group(0) @binding(7) var<storage, read> arena: array<u32>;

const THREADS = 256u;

var<workgroup> squares: array<f32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let side = workgroup.x;
    let input = side * p.projected;
    let at = side * p.channels;
    let since = arena[arena[SINCE] + p.schedule];

    let rows = p.taps - 1u;
    let reach = min(rows, since);
    for (var channel = index; channel < p.channels; channel += THREADS) {
        let kept = p.conv_at + side * rows * p.channels + channel;
        let value = projected[input + p.inner + channel];
        var sum = conv_bias(side, channel) + value * conv_weight(side, rows, channel);
        for (var row = 0u; row < rows; row++) {
            if rows - row <= reach {
                sum += past[kept + row * p.channels] * conv_weight(side, row, channel);
            }
            if row > 0u {
                past[kept + (row - 1u) * p.channels] = past[kept + row * p.channels];
            }
        }
        if rows > 0u {
            past[kept + (rows - 1u) * p.channels] = value;
        }
        mixed[at + channel] = silu(sum);
    }
    storageBarrier();

    let width = p.inner / p.heads;
    var square = 0.0;
    for (var channel = index; channel < p.inner; channel += THREADS) {
        let head = channel / width;
        let b = at + p.inner + head * p.groups / p.heads * p.state;
        let c = b + p.groups * p.state;
        let raw = projected[input + p.inner + p.channels + head];
        let step = softplus(raw + of_head(side, DT_BIAS, head));
        let decay = select(exp(step * of_head(side, DECAY, head)), 0.0, since == 0u);
        let x = mixed[at + channel];
        let first = p.scan_at + (side * p.heads + head) * p.state * width + channel % width;
        var sum = x * of_head(side, INPUT, head);
        for (var i = 0u; i < p.state; i++) {
            let place = first + i * width;
            let before = select(decay * states[place], 0.0, since == 0u);
            let value = before + step * x * mixed[b + i];
            states[place] = value;
            sum += value * mixed[c + i];
        }
        let gated = silu(projected[input + channel]) * sum;
        square += gated * gated;
        mixed[at + channel] = gated;
    }

    squares[index] = square;
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        if index < half {
            squares[index] += squares[index + half];
        }
        workgroupBarrier();
    }
    let factor = inverseSqrt(squares[0] / f32(p.inner) + p.eps);
    for (var channel = index; channel < p.inner; channel += THREADS) {
        out[side * p.gated + channel] = mixed[at + channel] * factor * norm_weight(side, channel);
    }
}
