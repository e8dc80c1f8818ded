// The moves after a block for a ring of 4-bit integers: what left the window goes to the ring,
// rotated within the head and with a scale per 32 values; the block goes to the window. A workgroup
// moves a share of the rows of one key head's keys or values, those that touch the same row in order.

// In range: workgroups are as many as heads of both sides, layers and shares. Rows in the list are those
// of their place (`Tables`), and a pair or word is within its row. Heads have 32, 64, 128 or 256
// values (`Layout`), those of WIDEST, and a block of scales for each 32, those of BLOCKS at most.

#import HALF
#import arena
#import kv_head
#import commit_params

const THREADS = 64u;
// Values of the widest head, and blocks.
const WIDEST = 256u;
const BLOCKS = 8u;

var<workgroup> values: array<f32, WIDEST>;
var<workgroup> scales: array<f32, BLOCKS>;

// Multiplies by the Hadamard matrix of the row's width, over its square root.
fn rotate(index: u32) {
    var square = 1.0;
    for (var half = 1u; half <= p.pairs; half *= 2u) {
        for (var i = index; i < p.pairs; i += THREADS) {
            let at = i / half * 2u * half + i % half;
            let both = vec2(values[at], values[at + half]);
            values[at] = both.x + both.y;
            values[at + half] = both.x - both.y;
        }
        square *= 2.0;
        workgroupBarrier();
    }
    for (var i = index; i < 2u * p.pairs; i += THREADS) {
        values[i] *= 1.0 / sqrt(square);
    }
    workgroupBarrier();
}

// The value of largest magnitude of a block, over -8.
fn scale_of(block: u32) -> f32 {
    var largest = 0.0;
    for (var i = 0u; i < 32u; i++) {
        let value = values[32u * block + i];
        largest = select(largest, value, abs(value) > abs(largest));
    }
    return largest / -8.0;
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    // Keys of all heads, then values of all heads.
    let head = workgroup.x;
    let heads = p.columns / (2u * p.pairs);
    let place_of = kv_head_of((p.layer + workgroup.y) * heads + head % heads);
    if place_of.kind != p.kind {
        return;
    }
    let side = head / heads;
    let list = arena[MOVES] + 2u * place_of.schedule;
    // Words of the nibbles of a row, and of all of it.
    let nibbles = p.pairs / 4u;
    let words = nibbles + (p.pairs + 31u) / 32u;
    let in_ring = (place_of.ring_at + side * place_of.values_after) / 4u;
    let in_window = p.window_at + workgroup.y * p.window_step + head * p.window_rows * p.pairs;
    let in_block = p.block_at + workgroup.y * p.block_step + head * p.block_rows * p.pairs;
    let share = share_of(list, workgroup.z, workgroups.z);
    for (var i = share.x; i < share.y; i++) {
        // Source place and row, destination place and row.
        let at = arena[list] + 4u * i;
        let place = source_of(at);
        let row = arena[at + 1u];
        let slot = arena[at + 3u];
        if arena[at + 2u] == WINDOW {
            for (var pair = index; pair < p.pairs; pair += THREADS) {
                window[in_window + slot * p.pairs + pair] = block[in_block + row * p.pairs + pair];
            }
        } else if place == RING {
            for (var word = index; word < words; word += THREADS) {
                ring[in_ring + slot * words + word] = ring[in_ring + row * words + word];
            }
        } else {
            let start = select(in_block, in_window, place == WINDOW) + row * p.pairs;
            for (var pair = index; pair < p.pairs; pair += THREADS) {
                var both = vec2(0.0);
                if place == WINDOW {
                    both = halves(window[start + pair]);
                } else {
                    both = halves(block[start + pair]);
                }
                values[2u * pair] = both.x;
                values[2u * pair + 1u] = both.y;
            }
            workgroupBarrier();
            rotate(index);
            if index < p.pairs / 16u {
                scales[index] = scale_of(index);
            } else if index < BLOCKS {
                scales[index] = 0.0;
            }
            workgroupBarrier();
            let goal = in_ring + slot * words;
            for (var word = index; word < nibbles; word += THREADS) {
                // Four bytes of a block: values 0..16 are in the lower nibbles.
                let of_block = word / 4u;
                let scale = scales[of_block];
                let inverse = select(0.0, 1.0 / scale, abs(scale) > 1.0e-37);
                let first = 32u * of_block + 4u * (word % 4u);
                var packed = 0u;
                for (var byte = 0u; byte < 4u; byte++) {
                    let pair = vec2(values[first + byte], values[first + byte + 16u]);
                    let q = min(vec2<u32>(pair * inverse + 8.5), vec2(15u));
                    packed |= (q.x | (q.y << 4u)) << (8u * byte);
                }
                ring[goal + word] = packed;
            }
            let word = nibbles + index;
            if word < words {
                let both = vec2(scales[2u * index], scales[2u * index + 1u]);
                ring[goal + word] = pack_halves(both);
            }
        }
        // The next move may read what this one wrote, and the values are computed again.
        storageBarrier();
        workgroupBarrier();
    }
}
