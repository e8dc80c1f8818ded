// The moves after a block: what left the window goes to the ring, the block goes to the window. An
// invocation moves one pair of values of every row of a share of the moves. Those that touch the same
// row are in the same share, in order, so that no row is overwritten before it has been moved.

// In range: columns beyond the last return, and workgroups are as many as layers and shares. Rows in
// the list are those of their place (`Tables`), and a pair is within its row.

#import HALF
#import KV
#import arena
#import kv_head
#import commit_params

@compute @workgroup_size(64)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    if id.x >= p.columns {
        return;
    }
    // Keys of all heads, then values of all heads.
    let head = id.x / p.pairs;
    let pair = id.x % p.pairs;
    let heads = p.columns / (2u * p.pairs);
    let place = kv_head_of((p.layer + id.y) * heads + head % heads);
    if place.kind != p.kind {
        return;
    }
    let list = arena[MOVES] + 2u * place.schedule;
    let in_ring = place.ring_at + (head / heads) * place.values_after + pair;
    let in_window = p.window_at + id.y * p.window_step + head * p.window_rows * p.pairs + pair;
    let in_block = p.block_at + id.y * p.block_step + head * p.block_rows * p.pairs + pair;
    let share = share_of(list, id.z, workgroups.z);
    for (var i = share.x; i < share.y; i++) {
        // Source place and row, destination place and row.
        let at = arena[list] + 4u * i;
        let source_place = source_of(at);
        let source = arena[at + 1u] * p.pairs;
        let goal = arena[at + 3u] * p.pairs;
        for (var w = 0u; w < KV_WORDS; w++) {
            var word = 0u;
            if source_place == RING {
                word = ring[(in_ring + source) * KV_WORDS + w];
            } else if source_place == WINDOW {
                word = window[(in_window + source) * KV_WORDS + w];
            } else {
                word = block[(in_block + source) * KV_WORDS + w];
            }
            if arena[at + 2u] == RING {
                ring[(in_ring + goal) * KV_WORDS + w] = word;
            } else {
                window[(in_window + goal) * KV_WORDS + w] = word;
            }
        }
    }
}
