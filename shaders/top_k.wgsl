// The 64 largest of each 1024 candidates, in descending order, ties broken by the lower index.
// Repeated passes over the results leave the 64 largest of all.

struct Params {
    // Total number of candidates.
    count: u32,
    // Whether they are bare logits, whose index is their position.
    bare: u32,
    // First word of the candidates and of the results.
    source: u32,
    results: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> logits: array<u32>;
// Pairs of index and logit, results of one pass and candidates of the next
@group(0) @binding(2) var<storage, read_write> candidates: array<u32>;

const SIZE = 1024u;
const KEPT = 64u;
const THREADS = 256u;
const NONE = 0xffffffffu;

// Keys ordered like the floats, and indices.
var<workgroup> keys: array<u32, SIZE>;
var<workgroup> indices: array<u32, SIZE>;

// NaN counts as minus infinity.
fn key_of(bits: u32) -> u32 {
    let value = select(bits, 0xff800000u, (bits & 0x7fffffffu) > 0x7f800000u);
    return select(value | 0x80000000u, ~value, (value & 0x80000000u) != 0u);
}

fn bits_of(key: u32) -> u32 {
    return select(~key, key & 0x7fffffffu, (key & 0x80000000u) != 0u);
}

// Whether candidate `a` comes before candidate `b`.
fn precedes(a: u32, b: u32) -> bool {
    return keys[a] > keys[b] || (keys[a] == keys[b] && indices[a] < indices[b]);
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    for (var i = index; i < SIZE; i += THREADS) {
        let number = workgroup.x * SIZE + i;
        var key = 0u;
        var id = NONE;
        if number < p.count {
            if p.bare != 0u {
                key = key_of(logits[number]);
                id = number;
            } else {
                id = candidates[p.source + 2u * number];
                key = select(key_of(candidates[p.source + 2u * number + 1u]), 0u, id == NONE);
            }
        }
        keys[i] = key;
        indices[i] = id;
    }
    workgroupBarrier();

    // Bitonic sort.
    for (var size = 2u; size <= SIZE; size *= 2u) {
        for (var step = size / 2u; step > 0u; step /= 2u) {
            for (var i = index; i < SIZE / 2u; i += THREADS) {
                let low = 2u * i - (i & (step - 1u));
                let high = low + step;
                let descending = (low & size) == 0u;
                if precedes(high, low) == descending {
                    let key = keys[low];
                    let id = indices[low];
                    keys[low] = keys[high];
                    indices[low] = indices[high];
                    keys[high] = key;
                    indices[high] = id;
                }
            }
            workgroupBarrier();
        }
    }
    if index < KEPT {
        let at = p.results + 2u * (workgroup.x * KEPT + index);
        candidates[at] = indices[index];
        candidates[at + 1u] = bits_of(keys[index]);
    }
}
