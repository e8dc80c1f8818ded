// Attention for one token, for one query head or four that share a key head, over the rows it sees
// in ring, window and block, or over one of several parts of them: `softmax(q k / sqrt(n)) v`.

#import KV
#import RING
#import HEADS
#import arena
#import kv_head

struct Params {
    // Query heads, and how many of them share a key head.
    heads: u32,
    shared_by: u32,
    kv_heads: u32,
    // Values from one token's queries to the next, and from one token's output to the next.
    q_stride: u32,
    out_stride: u32,
    // Number of the layer's first KV head, and the kind of rings of those to compute.
    first_head: u32,
    kind: u32,
    // First pair of the layer's keys in window and block.
    window_at: u32,
    block_at: u32,
    // Rows of a key head there.
    window_rows: u32,
    block_rows: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> arena: array<u32>;
@group(0) @binding(2) var<storage, read> q: array<f32>;
@group(0) @binding(3) var<storage, read> ring: array<RingWord>;
@group(0) @binding(4) var<storage, read> window: array<KvWord>;
@group(0) @binding(5) var<storage, read> block: array<KvWord>;
// `[token][heads * head_dim]`
@group(0) @binding(6) var<storage, read_write> out: array<f32>;
// `[part][head][head_dim + 2]`: sum of values, maximum score, sum of weights
@group(0) @binding(7) var<storage, read_write> parts: array<f32>;

override HEAD_DIM: u32;
// Groups of invocations that share the rows of a tile, so that few are idle when heads are narrow;
// and all sums of all groups.
override GROUPS: u32;
override SUMS: u32;

const TILE = 64u;
// Less than any score, and finite: differences with it are never NaN.
const LEAST = -3.0e38;

const RING = 0u;
const WINDOW = 1u;
const BLOCK = 2u;

var<workgroup> queries: array<Heads, HEAD_DIM>;
// `[group][HEAD_DIM]`
var<workgroup> sums: array<Heads, SUMS>;
var<workgroup> scores: array<Heads, TILE>;
// The same, times the scales of the values.
var<workgroup> shares: array<Heads, TILE>;
// Place and first pair of the key of each row of the tile.
var<workgroup> places: array<vec2<u32>, TILE>;

// Place and row of the row with index `wanted` in the runs from word `first` on.
fn row_of(first: u32, wanted: u32) -> vec2<u32> {
    var at = first;
    var left = wanted;
    while left >= arena[at + 3u] {
        left -= arena[at + 3u];
        at += 4u;
    }
    return vec2(arena[at], arena[at + 1u] + left * arena[at + 2u]);
}

fn first_pair(row: vec2<u32>, head: u32, place: KvHead) -> u32 {
    if row.x == BLOCK {
        return p.block_at + (head * p.block_rows + row.y) * (HEAD_DIM / 2u);
    }
    if row.x == WINDOW {
        return p.window_at + (head * p.window_rows + row.y) * (HEAD_DIM / 2u);
    }
    return place.ring_at + row.y * ring_row_pairs();
}

// Pairs from keys to their values.
fn values_after(row: vec2<u32>, place: KvHead) -> u32 {
    if row.x == BLOCK {
        return p.kv_heads * p.block_rows * (HEAD_DIM / 2u);
    }
    if row.x == WINDOW {
        return p.kv_heads * p.window_rows * (HEAD_DIM / 2u);
    }
    return place.values_after;
}

// The scale of a row, for its key (side 0) or value (side 1).
fn scale(row: vec2<u32>, side: u32, place: KvHead) -> f32 {
    if row.x == RING {
        return ring_scale(place.scales_at + side * place.scales_after + row.y);
    }
    return 1.0;
}

// Pair `i` of the row whose first pair is `row`.
fn pair(place: u32, row: u32, i: u32) -> vec2<f32> {
    if place == RING {
        return ring_pair(row, i);
    }
    // The second word is unused if a pair is one word.
    let at = (row + i) * KV_WORDS;
    let second = at + KV_WORDS - 1u;
    if place == BLOCK {
        return kv_unpack(block[at], block[second]);
    }
    return kv_unpack(window[at], window[second]);
}

fn sum_of_groups(i: u32) -> Heads {
    var sum = sums[i];
    for (var group = 1u; group < GROUPS; group++) {
        sum += sums[group * HEAD_DIM + i];
    }
    return sum;
}

// Rows of the ring in `count` runs from word `first` on: they come before all others.
fn rows_of_ring(first: u32, count: u32) -> u32 {
    var rows = 0u;
    for (var run = 0u; run < count; run++) {
        let at = first + 4u * run;
        if arena[at] != RING {
            break;
        }
        rows += arena[at + 3u];
    }
    return rows;
}

// Indices of the values that number `i` of a step of the rotation joins, `half` apart.
fn joined(i: u32, half: u32) -> vec2<u32> {
    let first = i / half * 2u * half + i % half;
    return vec2(first, first + half);
}

// Multiply by the Hadamard matrix of a head's width, over its square root: its own inverse.
fn rotate_queries(index: u32) {
    for (var half = 1u; half < HEAD_DIM; half *= 2u) {
        for (var i = index; i < HEAD_DIM / 2u; i += TILE) {
            let at = joined(i, half);
            let both = array(queries[at.x], queries[at.y]);
            queries[at.x] = both[0] + both[1];
            queries[at.y] = both[0] - both[1];
        }
        workgroupBarrier();
    }
    for (var i = index; i < HEAD_DIM; i += TILE) {
        queries[i] *= inverseSqrt(f32(HEAD_DIM));
    }
    workgroupBarrier();
}

fn rotate_sums(index: u32) {
    for (var half = 1u; half < HEAD_DIM; half *= 2u) {
        for (var i = index; i < SUMS / 2u; i += TILE) {
            let at = joined(i, half);
            let both = array(sums[at.x], sums[at.y]);
            sums[at.x] = both[0] + both[1];
            sums[at.y] = both[0] - both[1];
        }
        workgroupBarrier();
    }
    for (var i = index; i < SUMS; i += TILE) {
        sums[i] *= inverseSqrt(f32(HEAD_DIM));
    }
    workgroupBarrier();
}

@compute @workgroup_size(TILE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let groups = (p.shared_by + HEADS - 1u) / HEADS;
    let kv_head = workgroup.x / groups;
    let in_group = workgroup.x % groups * HEADS;
    let head = kv_head * p.shared_by + in_group;
    let count = min(HEADS, p.shared_by - in_group);
    let token = workgroup.y;
    let place = kv_head_of(p.first_head + kv_head);
    if place.kind != p.kind {
        return;
    }
    let seen = arena[SEEN] + 4u * (place.schedule * arena[TOKENS] + token);
    let runs = arena[seen];
    let rows = arena[seen + 2u];
    let split = arena[PARTS];
    // A head that sees less has fewer parts.
    let begin = workgroup.z * arena[ROWS_OF_A_PART];
    if begin >= rows {
        return;
    }
    let end = min(begin + arena[ROWS_OF_A_PART], rows);

    for (var i = index; i < HEAD_DIM; i += TILE) {
        var value = Heads();
        for (var h = 0u; h < count; h++) {
            set_head(&value, h, q[token * p.q_stride + (head + h) * HEAD_DIM + i] * p.scale);
        }
        queries[i] = value;
    }
    for (var i = index; i < SUMS; i += TILE) {
        sums[i] = Heads();
    }
    let group = index / (HEAD_DIM / 2u);
    let column = index % (HEAD_DIM / 2u);
    var most = Heads(LEAST);
    var weight = Heads();
    workgroupBarrier();

    // Rotated rows, which come first, are attended to with rotated queries.
    var rotated = begin;
    if RING_ROTATED {
        rotated = clamp(rows_of_ring(runs, arena[seen + 1u]), begin, end);
        if rotated > begin {
            rotate_queries(index);
        }
    }
    var next = begin;
    while next < end {
        let first = next;
        let tile = min(TILE, select(end, rotated, first < rotated) - first);
        next += tile;
        var score = Heads(LEAST);
        var value_scale = 0.0;
        if index < tile {
            let row = row_of(runs, first + index);
            let key = first_pair(row, kv_head, place);
            score = Heads();
            for (var i = 0u; i < HEAD_DIM / 2u; i++) {
                let k = pair(row.x, key, i);
                score += queries[2u * i] * k.x + queries[2u * i + 1u] * k.y;
            }
            score *= scale(row, 0u, place);
            value_scale = scale(row, 1u, place);
            places[index] = vec2(row.x, key + values_after(row, place));
        }
        scores[index] = score;
        workgroupBarrier();
        var greatest = most;
        for (var i = 0u; i < tile; i++) {
            greatest = max(greatest, scores[i]);
        }
        let kept = exp(most - greatest);
        most = greatest;
        workgroupBarrier();
        let share = exp(score - greatest);
        scores[index] = share;
        shares[index] = share * value_scale;
        workgroupBarrier();
        weight *= kept;
        for (var i = 0u; i < tile; i++) {
            weight += scores[i];
        }
        if group < GROUPS {
            for (var i = column; i < HEAD_DIM / 2u; i += TILE) {
                let at = group * HEAD_DIM + 2u * i;
                var a = sums[at] * kept;
                var b = sums[at + 1u] * kept;
                for (var r = group; r < tile; r += GROUPS) {
                    let v = pair(places[r].x, places[r].y, i);
                    a += shares[r] * v.x;
                    b += shares[r] * v.y;
                }
                sums[at] = a;
                sums[at + 1u] = b;
            }
        }
        workgroupBarrier();
        if RING_ROTATED && next == rotated {
            rotate_sums(index);
            if next < end {
                rotate_queries(index);
            }
        }
    }

    for (var h = 0u; h < count; h++) {
        if split == 1u {
            for (var i = index; i < HEAD_DIM; i += TILE) {
                let at = token * p.out_stride + (head + h) * HEAD_DIM + i;
                out[at] = get_head(sum_of_groups(i), h) / get_head(weight, h);
            }
        } else {
            let at = (workgroup.z * p.heads + head + h) * (HEAD_DIM + 2u);
            for (var i = index; i < HEAD_DIM; i += TILE) {
                parts[at + i] = get_head(sum_of_groups(i), h);
            }
            if index == 0u {
                parts[at + HEAD_DIM] = get_head(most, h);
                parts[at + HEAD_DIM + 1u] = get_head(weight, h);
            }
        }
    }
}
