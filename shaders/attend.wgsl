// Attention for one token, for one query head or four that share a key head, over the rows it sees
// in ring, window and block, or over one of several parts of them: `softmax(q k / sqrt(n)) v`.
//
// A group of lanes shares a row, eight values each, so that neighbors read neighboring memory; a
// workgroup has several such groups, and each takes every so many rows, with a maximum and sums of
// its own. They are joined at the end.

// In range: workgroups are as many as there are groups of heads, tokens and parts, and a part that
// begins beyond the rows of its head returns. Rows in lists are those of their place (`Tables`), their
// lengths add up to the rows that are looked up, and lanes end where a row does. `SLOTS * LANES` is at
// most THREADS, as no head has more than 512 values; `i` is at most `STEPS * SLOTS - 1`, the last of
// TILE, as steps are in pairs and STEPS is even, and loops over a tile end at `tile`, which is at least
// 1. `partials` are indexed by a step or value below 8, or 8 itself, and an invocation. Of `rotated`, as
// wide as a head, the eights of lanes are used, where rows are rotated.

#import ROWS
#import RING
#import HEADS
#import eight
#import arena
#import kv_head
#import attend_rows

// `[part][head][head_dim + 2]`: sum of values, maximum score, sum of weights
@group(0) @binding(7) var<storage, read_write> parts: array<f32>;

override HEAD_DIM: u32;
// Lanes that share a row, and the groups of them. Invocations may be left over: they do what the
// last group does, and it is not used.
override LANES: u32;
override SLOTS: u32;
// Rows of a tile: STEPS of each group.
override TILE: u32;
// HEAD_DIM if rows of the ring are rotated.
override ROTATED_DIMS: u32;

const THREADS = 64u;
const STEPS = 8u;
// `[step][invocation]`, one more in each row so that a column is in different banks; at the end
// `[value of eight][invocation]` and a row of weights.
var<workgroup> partials: array<Heads, 9u * (THREADS + 1u)>;
var<workgroup> scores: array<Heads, TILE>;
// Their exponentials, times the scales of the values.
var<workgroup> shares: array<Heads, TILE>;
// First pair of the key of each row.
var<workgroup> keys: array<u32, TILE>;
// Rotated queries, and the sums over rotated rows.
var<workgroup> rotated: array<Heads, ROTATED_DIMS>;

// Row of the row with index `wanted` in the runs from word `first` on.
fn row_of(first: u32, wanted: u32) -> u32 {
    var at = first;
    var left = wanted;
    while left >= arena[at + 3u] {
        left -= arena[at + 3u];
        at += 4u;
    }
    return arena[at + 1u] + left * arena[at + 2u];
}

// Rows of ring, and of ring and window, in `count` runs from word `first` on, which are sorted.
fn rows_before(first: u32, count: u32) -> vec2<u32> {
    var rows = vec2<u32>();
    for (var run = 0u; run < count; run++) {
        let at = first + 4u * run;
        rows += select(vec2<u32>(), vec2(arena[at + 3u]), vec2(arena[at]) <= vec2(RING, WINDOW));
    }
    return rows;
}

// What a lane reads of two rows, so that both are on their way at once.
fn load_both(place: u32, rows: vec2<u32>, lane: u32) -> array<Raw, 2> {
    if place == RING {
        return array(ring_raw(rows.x, lane), ring_raw(rows.y, lane));
    }
    if place == WINDOW {
        return array(window_raw(rows.x, lane), window_raw(rows.y, lane));
    }
    return array(block_raw(rows.x, lane), block_raw(rows.y, lane));
}

fn dot_eight(queries: ptr<function, array<Heads, 8>>, k: Eight) -> Heads {
    let low = (*queries)[0] * k.low.x + (*queries)[1] * k.low.y + (*queries)[2] * k.low.z
        + (*queries)[3] * k.low.w;
    return low + (*queries)[4] * k.high.x + (*queries)[5] * k.high.y + (*queries)[6] * k.high.z
        + (*queries)[7] * k.high.w;
}

fn add_eight(sums: ptr<function, array<Heads, 8>>, share: Heads, v: Eight) {
    (*sums)[0] += share * v.low.x;
    (*sums)[1] += share * v.low.y;
    (*sums)[2] += share * v.low.z;
    (*sums)[3] += share * v.low.w;
    (*sums)[4] += share * v.high.x;
    (*sums)[5] += share * v.high.y;
    (*sums)[6] += share * v.high.z;
    (*sums)[7] += share * v.high.w;
}

// Values of the heads' queries, which begin at `first`, from value `i` on; zeros past their end.
fn load_queries(
    queries: ptr<function, array<Heads, 8>>,
    first: u32,
    count: u32,
    i: u32,
) {
    for (var j = 0u; j < 8u; j++) {
        (*queries)[j] = Heads();
    }
    for (var h = 0u; h < count; h++) {
        let low = four_of(first + h * HEAD_DIM, i) * p.scale;
        let high = four_of(first + h * HEAD_DIM, i + 4u) * p.scale;
        for (var j = 0u; j < 8u; j++) {
            var value = (*queries)[j];
            set_head(&value, h, select(low[j % 4u], high[j % 4u], j >= 4u));
            (*queries)[j] = value;
        }
    }
}

// Multiplies `rotated` by the Hadamard matrix of a head's width, over its square root: its own
// inverse.
fn rotate(index: u32) {
    for (var half = 1u; half < HEAD_DIM; half *= 2u) {
        for (var i = index; i < HEAD_DIM / 2u; i += THREADS) {
            let at = i / half * 2u * half + i % half;
            let both = array(rotated[at], rotated[at + half]);
            rotated[at] = both[0] + both[1];
            rotated[at + half] = both[0] - both[1];
        }
        workgroupBarrier();
    }
    for (var i = index; i < HEAD_DIM; i += THREADS) {
        rotated[i] *= inverseSqrt(f32(HEAD_DIM));
    }
    workgroupBarrier();
}

// The sum over all groups of value `j` of the eight of `lane`.
fn sum_of_slots(j: u32, lane: u32) -> Heads {
    var sum = Heads();
    for (var slot = 0u; slot < SLOTS; slot++) {
        sum += partials[j * (THREADS + 1u) + slot * LANES + lane];
    }
    return sum;
}

// Brings all groups to the same maximum, and leaves their sums and weights in `partials`.
fn join(
    index: u32,
    most: ptr<function, Heads>,
    weight: ptr<function, Heads>,
    sums: ptr<function, array<Heads, 8>>,
) {
    if index < SLOTS * LANES && index % LANES == 0u {
        scores[index / LANES] = *most;
    }
    workgroupBarrier();
    var greatest = scores[0];
    for (var s = 1u; s < SLOTS; s++) {
        greatest = max(greatest, scores[s]);
    }
    let kept = exp(*most - greatest);
    *most = greatest;
    *weight *= kept;
    for (var j = 0u; j < 8u; j++) {
        partials[j * (THREADS + 1u) + index] = (*sums)[j] * kept;
    }
    partials[8u * (THREADS + 1u) + index] = *weight;
    workgroupBarrier();
}

@compute @workgroup_size(THREADS)
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
    let place_of = kv_head_of(p.first_head + kv_head);
    if place_of.kind != p.kind {
        return;
    }
    let seen = arena[SEEN] + 4u * (place_of.schedule * arena[TOKENS] + token);
    let runs = arena[seen];
    let rows = arena[seen + 2u];
    let split = arena[PARTS];
    // A head that sees less has fewer parts.
    let begin = workgroup.z * arena[ROWS_OF_A_PART];
    if begin >= rows {
        return;
    }
    let end = min(begin + arena[ROWS_OF_A_PART], rows);
    let before = rows_before(runs, arena[seen + 1u]);

    let slot = min(index / LANES, SLOTS - 1u);
    let lane = index % LANES;
    // A lane looks after the rows of its own steps.
    let own = select(STEPS, lane, index < SLOTS * LANES);
    let first_query = token * p.q_stride + head * HEAD_DIM;
    var queries: array<Heads, 8>;
    var sums: array<Heads, 8>;
    load_queries(&queries, first_query, count, 8u * lane);
    for (var j = 0u; j < 8u; j++) {
        sums[j] = Heads();
    }
    var most = Heads(LEAST);
    var weight = Heads();
    // What the sums over rotated rows are relative to.
    var most_of_rotated = Heads(LEAST);

    // Rotated rows, which come first, are attended to with rotated queries.
    let turns = RING_ROTATED && begin < before.x;
    if turns {
        if index < LANES {
            for (var j = 0u; j < 8u; j++) {
                rotated[8u * lane + j] = queries[j];
            }
        }
        workgroupBarrier();
        rotate(index);
        for (var j = 0u; j < 8u; j++) {
            queries[j] = rotated[ring_dim(lane, j)];
        }
    }

    var next = begin;
    while next < end {
        // A tile is in one place.
        let first = next;
        var place = RING;
        var limit = before.x;
        var key_at = place_of.ring_at;
        var row_pairs = ring_row_pairs();
        var values_after = place_of.values_after;
        if first >= before.y {
            place = BLOCK;
            limit = rows;
            key_at = p.block_at + kv_head * p.block_rows * (HEAD_DIM / 2u);
            row_pairs = HEAD_DIM / 2u;
            values_after = p.kv_heads * p.block_rows * (HEAD_DIM / 2u);
        } else if first >= before.x {
            place = WINDOW;
            limit = before.y;
            key_at = p.window_at + kv_head * p.window_rows * (HEAD_DIM / 2u);
            row_pairs = HEAD_DIM / 2u;
            values_after = p.kv_heads * p.window_rows * (HEAD_DIM / 2u);
        }
        let tile = min(TILE, min(limit, end) - first);
        next += tile;

        for (var step = own; step < STEPS; step += LANES) {
            let i = step * SLOTS + slot;
            if i < tile {
                let row = row_of(runs, first + i);
                keys[i] = key_at + row * row_pairs;
                keep_scales(i, place == RING, place_of.scales_at + row, place_of.scales_after);
            }
        }
        workgroupBarrier();
        // Past the end it is the last row again.
        for (var step = 0u; step < STEPS && step * SLOTS < tile; step += 2u) {
            let i = step * SLOTS + slot;
            let both = vec2(keys[min(i, tile - 1u)], keys[min(i + SLOTS, tile - 1u)]);
            let k = load_both(place, both, lane);
            let at = step * (THREADS + 1u) + index;
            partials[at] = dot_eight(&queries, eight_of(place == RING, k[0]));
            partials[at + THREADS + 1u] = dot_eight(&queries, eight_of(place == RING, k[1]));
        }
        workgroupBarrier();
        for (var step = own; step < STEPS; step += LANES) {
            let i = step * SLOTS + slot;
            if i < tile {
                let at = step * (THREADS + 1u) + slot * LANES;
                var score = partials[at];
                for (var l = 1u; l < LANES; l++) {
                    score += partials[at + l];
                }
                scores[i] = score * scales_of(i).x;
            }
        }
        workgroupBarrier();
        var greatest = most;
        for (var i = slot; i < tile; i += SLOTS) {
            greatest = max(greatest, scores[i]);
        }
        let kept = exp(most - greatest);
        most = greatest;
        weight *= kept;
        for (var j = 0u; j < 8u; j++) {
            sums[j] *= kept;
        }
        for (var step = own; step < STEPS; step += LANES) {
            let i = step * SLOTS + slot;
            var share = Heads();
            if i < tile {
                share = exp(scores[i] - greatest);
                weight += share;
                share *= scales_of(i).y;
            }
            shares[i] = share;
        }
        workgroupBarrier();
        for (var step = 0u; step < STEPS && step * SLOTS < tile; step += 2u) {
            let i = step * SLOTS + slot;
            let both = vec2(keys[min(i, tile - 1u)], keys[min(i + SLOTS, tile - 1u)]);
            let v = load_both(place, both + values_after, lane);
            add_eight(&sums, shares[i], eight_of(place == RING, v[0]));
            add_eight(&sums, shares[i + SLOTS], eight_of(place == RING, v[1]));
        }
        workgroupBarrier();

        // The sums over rotated rows are turned back once they are complete.
        if turns && place == RING && next == min(before.x, end) {
            join(index, &most, &weight, &sums);
            for (var i = index; i < HEAD_DIM; i += THREADS) {
                rotated[ring_dim(i / 8u, i % 8u)] = sum_of_slots(i % 8u, i / 8u);
            }
            most_of_rotated = most;
            workgroupBarrier();
            rotate(index);
            load_queries(&queries, first_query, count, 8u * lane);
            for (var j = 0u; j < 8u; j++) {
                sums[j] = Heads();
            }
        }
    }

    join(index, &most, &weight, &sums);
    // Sums of weights, of each group and then of all.
    if index < SLOTS {
        var of_slot = Heads();
        for (var l = 0u; l < LANES; l++) {
            of_slot += partials[8u * (THREADS + 1u) + index * LANES + l];
        }
        scores[index] = of_slot;
    }
    workgroupBarrier();
    var total = scores[0];
    for (var s = 1u; s < SLOTS; s++) {
        total += scores[s];
    }
    let kept = exp(most_of_rotated - most);
    for (var i = index; i < HEAD_DIM; i += THREADS) {
        var sum = sum_of_slots(i % 8u, i / 8u);
        if turns {
            sum += rotated[i] * kept;
        }
        for (var h = 0u; h < count; h++) {
            if split == 1u {
                let at = token * p.out_stride + (head + h) * HEAD_DIM + i;
                out[at] = get_head(sum, h) / get_head(total, h);
            } else {
                let at = (workgroup.z * p.heads + head + h) * (HEAD_DIM + 2u);
                parts[at + i] = get_head(sum, h);
                if i == 0u {
                    parts[at + HEAD_DIM] = get_head(most, h);
                    parts[at + HEAD_DIM + 1u] = get_head(total, h);
                }
            }
        }
    }
}
