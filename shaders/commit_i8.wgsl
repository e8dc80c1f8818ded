// The moves after a block for a ring of 8-bit integers: what left the window goes to the ring with
// a scale, the block goes to the window. A workgroup moves a share of the rows of one key head's keys
// or values, those that touch the same row in order.

// In range: workgroups are as many as heads of both sides, layers and shares. Rows in the list are those
// of their place (`Tables`), and a pair or word is within its row.

#import HALF
#import arena
#import kv_head
#import commit_params

const THREADS = 64u;

var<workgroup> greatest: array<f32, THREADS>;

// Pair `i` of a row that begins at `start`; zero past its end.
fn near(place: u32, start: u32, i: u32) -> vec2<f32> {
    if i >= p.pairs {
        return vec2(0.0);
    }
    if place == WINDOW {
        return halves(window[start + i]);
    }
    return halves(block[start + i]);
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
    let words = (p.pairs + 1u) / 2u;
    let in_ring = (place_of.ring_at + side * place_of.values_after) / 2u;
    let scales = place_of.scales_at + side * place_of.scales_after;
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
            if index == 0u {
                ring[scales + slot] = ring[scales + row];
            }
        } else {
            let start = select(in_block, in_window, place == WINDOW) + row * p.pairs;
            var most = 0.0;
            for (var pair = index; pair < p.pairs; pair += THREADS) {
                let values = abs(near(place, start, pair));
                most = max(most, max(values.x, values.y));
            }
            greatest[index] = most;
            workgroupBarrier();
            for (var half = THREADS / 2u; half > 0u; half /= 2u) {
                if index < half {
                    greatest[index] = max(greatest[index], greatest[index + half]);
                }
                workgroupBarrier();
            }
            let scale = greatest[0] / 127.0;
            let inverse = select(0.0, 1.0 / scale, scale > 0.0);
            for (var word = index; word < words; word += THREADS) {
                let first = near(place, start, 2u * word);
                let second = near(place, start, 2u * word + 1u);
                let q = vec4<i32>(round(vec4(first, second) * inverse));
                ring[in_ring + slot * words + word] = pack4xI8(q);
            }
            if index == 0u {
                ring[scales + slot] = bitcast<u32>(scale);
            }
        }
        // The next move may read what this one wrote, and the maximum is computed again.
        storageBarrier();
        workgroupBarrier();
    }
}
