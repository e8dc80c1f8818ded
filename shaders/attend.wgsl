// Attention for one token, for one query head or four that share a key head, over the rows it sees
// in ring, window and block, or over one of several parts of them: `softmax(q k / sqrt(n)) v`.
//
// A group of lanes shares a row, eight values each, so that neighbors read neighboring memory; a
// workgroup has several such groups, and each takes every so many rows, with a maximum and sums of
// its own. They are joined at the end.

// In range: workgroups are as many as there are groups of heads, tokens and parts, and a part that
// begins beyond the rows of its head returns. Rows in lists are those of their place (`Tables`), their
// lengths add up to the rows that are looked up, and lanes end where a row does or read its end again.
// LANES are at least STEPS, and `LANES * SLOTS` at most THREADS, as no head has more than 512 values. A
// tile is two times STEPS of SLOTS rows; those that are summed up together all have a key, and those of
// a tile all have a share. Rows that are read together are four at most, which STEPS is a multiple of.
// `partials` are indexed by a step or value below 8 and an invocation, queries by the eight of a lane.

#import ROWS
#import RING
#import HEADS
#import eight
#import arena
#import kv_head
#import attend_rows
#import AT_ONCE

// `[part][head][head_dim + 2]`: sum of values, maximum score, sum of weights
@group(0) @binding(7) var<storage, read_write> parts: array<f32>;

override HEAD_DIM: u32;
// Lanes that share a row, and the groups of them. Invocations may be left over: they do what the
// last group does, and it is not used.
override LANES: u32;
override SLOTS: u32;
// Rows of each group whose scores are summed up together, a lane each: four or eight. A tile is two
// times as many.
override STEPS: u32;
override TILE: u32;
// Values of all lanes.
override DIMS: u32;

const THREADS = 64u;
// One more, so that a column is in different banks.
const PADDED = THREADS + 1u;
// Queries times their scale, and zeros past their end.
var<workgroup> queries: array<Heads, DIMS>;
// `[step][invocation]`; at the end `[value of eight][invocation]`.
var<workgroup> partials: array<Heads, 8u * PADDED>;
// Of each invocation: the greatest of its scores, at the end the sum of its weights.
var<workgroup> tops: array<Heads, THREADS>;
// Of each row: the score, then its exponential times the scale of the value.
var<workgroup> scores: array<Heads, TILE>;
// First word of the key of each row.
var<workgroup> keys: array<u32, TILE>;

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

// The heads' queries, which begin at `first`; zeros past their end.
fn load_queries(first: u32, count: u32, index: u32) {
    for (var i = index; i < DIMS; i += THREADS) {
        var values = Heads();
        for (var h = 0u; h < count && i < HEAD_DIM; h++) {
            set_head(&values, h, one_of(first + h * HEAD_DIM + i) * p.scale);
        }
        queries[i] = values;
    }
    workgroupBarrier();
}

// Multiplies `queries` by the Hadamard matrix of a head's width, over its square root: its own
// inverse.
fn rotate(index: u32) {
    for (var half = 1u; half < HEAD_DIM; half *= 2u) {
        for (var i = index; i < HEAD_DIM / 2u; i += THREADS) {
            let at = i / half * 2u * half + i % half;
            let both = array(queries[at], queries[at + half]);
            queries[at] = both[0] + both[1];
            queries[at + half] = both[0] - both[1];
        }
        workgroupBarrier();
    }
    for (var i = index; i < HEAD_DIM; i += THREADS) {
        queries[i] *= inverseSqrt(f32(HEAD_DIM));
    }
    workgroupBarrier();
}

// The sum over all groups of value `j` of the eight of `lane`.
fn sum_of_slots(j: u32, lane: u32) -> Heads {
    var sum = Heads();
    for (var slot = 0u; slot < SLOTS; slot++) {
        sum += partials[j * PADDED + slot * LANES + lane];
    }
    return sum;
}

// Brings all groups to the same maximum, and leaves their sums in `partials`.
fn join(
    index: u32,
    most: ptr<function, Heads>,
    weight: ptr<function, Heads>,
    sums: ptr<function, array<Heads, 8>>,
) {
    tops[index] = *most;
    workgroupBarrier();
    var greatest = tops[0];
    for (var slot = 1u; slot < SLOTS; slot++) {
        greatest = max(greatest, tops[slot * LANES]);
    }
    let kept = exp(*most - greatest);
    *most = greatest;
    *weight *= kept;
    for (var j = 0u; j < 8u; j++) {
        partials[j * PADDED + index] = (*sums)[j] * kept;
    }
    workgroupBarrier();
}

fn put(whole: bool, at: u32, value: f32) {
    if whole {
        out[at] = value;
    } else {
        parts[at] = value;
    }
}

fn got(whole: bool, at: u32) -> f32 {
    if whole {
        return out[at];
    }
    return parts[at];
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
    // Where the result goes, and values from one head's to the next.
    let whole = arena[PARTS] == 1u;
    let result_step = select(HEAD_DIM + 2u, HEAD_DIM, whole);
    let result = head * result_step
        + select(workgroup.z * p.heads * result_step, token * p.out_stride, whole);
    // A head that sees less has fewer parts.
    let begin = workgroup.z * arena[ROWS_OF_A_PART];
    if begin >= rows {
        return;
    }
    let end = min(begin + arena[ROWS_OF_A_PART], rows);
    let before = rows_before(runs, arena[seen + 1u]);

    let slot = min(index / LANES, SLOTS - 1u);
    let lane = index % LANES;
    // A lane looks after the scores of one of its group's rows.
    let looks = lane < STEPS && index < SLOTS * LANES;
    let own = min(lane, STEPS - 1u) * SLOTS + slot;
    let first_query = token * p.q_stride + head * HEAD_DIM;
    load_queries(first_query, count, index);
    // Rotated rows, which come first, are attended to with rotated queries.
    let turns = RING_ROTATED && begin < before.x;
    if turns {
        rotate(index);
    }
    var sums: array<Heads, 8>;
    for (var j = 0u; j < 8u; j++) {
        sums[j] = Heads();
    }
    var most = Heads(LEAST);
    var weight = Heads();
    // What the sums over rotated rows are relative to, which wait where the result goes.
    var most_of_rotated = Heads(LEAST);

    var next = begin;
    while next < end {
        // A tile is in one place.
        let first = next;
        var place = RING;
        var limit = before.x;
        var key_at = place_of.ring_at;
        var row_pairs = ring_row_pairs();
        var of_word = RING_PAIRS;
        var values_after = place_of.values_after;
        if first >= before.y {
            place = BLOCK;
            limit = rows;
            key_at = p.block_at + kv_head * p.block_rows * (HEAD_DIM / 2u);
            row_pairs = HEAD_DIM / 2u;
            of_word = KV_PAIRS;
            values_after = p.kv_heads * p.block_rows * (HEAD_DIM / 2u);
        } else if first >= before.x {
            place = WINDOW;
            limit = before.y;
            key_at = p.window_at + kv_head * p.window_rows * (HEAD_DIM / 2u);
            row_pairs = HEAD_DIM / 2u;
            of_word = KV_PAIRS;
            values_after = p.kv_heads * p.window_rows * (HEAD_DIM / 2u);
        }
        let tile = min(TILE, min(limit, end) - first);
        next += tile;
        values_after /= of_word;

        var greatest = most;
        for (var start = 0u; start < tile; start += STEPS * SLOTS) {
            let i = start + own;
            if looks {
                // Past the end it is the last row again.
                let row = row_of(runs, first + min(i, tile - 1u));
                keys[i] = (key_at + row * row_pairs) / of_word;
                keep_scales(i, place == RING, place_of.scales_at + row, place_of.scales_after);
            }
            workgroupBarrier();
            partial_scores(place, start, tile, slot, lane, index);
            workgroupBarrier();
            if looks && i < tile {
                let at = lane * PADDED + slot * LANES;
                var score = partials[at];
                for (var l = 1u; l < LANES; l++) {
                    score += partials[at + l];
                }
                score *= scales_of(i).x;
                scores[i] = score;
                greatest = max(greatest, score);
            }
        }
        tops[index] = greatest;
        workgroupBarrier();
        for (var l = 0u; l < STEPS; l++) {
            greatest = max(greatest, tops[slot * LANES + l]);
        }
        let kept = exp(most - greatest);
        most = greatest;
        weight *= kept;
        for (var j = 0u; j < 8u; j++) {
            sums[j] *= kept;
        }
        for (var i = own; looks && i < 2u * STEPS * SLOTS; i += STEPS * SLOTS) {
            var share = Heads();
            if i < tile {
                share = exp(scores[i] - greatest);
                weight += share;
                share *= scales_of(i).y;
            }
            scores[i] = share;
        }
        workgroupBarrier();
        add_values(&sums, place, tile, values_after, slot, lane);
        workgroupBarrier();

        // The sums over rotated rows are turned back once they are complete.
        if turns && place == RING && next == min(before.x, end) {
            join(index, &most, &weight, &sums);
            for (var i = index; i < HEAD_DIM; i += THREADS) {
                queries[ring_dim(i / 8u, i % 8u)] = sum_of_slots(i % 8u, i / 8u);
            }
            most_of_rotated = most;
            workgroupBarrier();
            rotate(index);
            for (var i = index; i < HEAD_DIM; i += THREADS) {
                for (var h = 0u; h < count; h++) {
                    put(whole, result + h * result_step + i, get_head(queries[i], h));
                }
            }
            workgroupBarrier();
            load_queries(first_query, count, index);
            for (var j = 0u; j < 8u; j++) {
                sums[j] = Heads();
            }
        }
    }

    join(index, &most, &weight, &sums);
    // Sums of weights, of each group and then of all.
    tops[index] = weight;
    workgroupBarrier();
    if index < SLOTS {
        var of_slot = tops[index * LANES];
        for (var l = 1u; l < STEPS; l++) {
            of_slot += tops[index * LANES + l];
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
        let of_heads = sum_of_slots(i % 8u, i / 8u);
        for (var h = 0u; h < count; h++) {
            let at = result + h * result_step + i;
            var sum = get_head(of_heads, h);
            if turns {
                sum += got(whole, at) * get_head(kept, h);
            }
            put(whole, at, select(sum, sum / get_head(total, h), whole));
        }
    }
    if !whole && index < count {
        let at = result + index * result_step + HEAD_DIM;
        parts[at] = get_head(most, index);
        parts[at + 1u] = get_head(total, index);
    }
}
