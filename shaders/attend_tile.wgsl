// Attention for some neighboring tokens and the query heads that share a key head, 32 queries in all:
// `softmax(q k / sqrt(n)) v`. The host lists the rows that any of these tokens sees, in runs of rows
// that the same of them see. Rows are taken 32 at a time; each invocation computes the scores of four
// queries and four rows, and then a few columns of four outputs, with a running maximum.

// In range: workgroups are as many as there are groups of heads and tiles of tokens; tokens beyond the
// last are the last, and not written, and columns end where a head does. Rows in lists are those of
// their place (`Tables`), and the one that is looked up is at most the last of them. Of 256 vectors in
// workgroup memory, index is 8 times one of 32 values or rows plus one of 8 quads; of 32 values, an
// eight or a four of them; of `32 / QUADS` rows, their `8 * QUADS` quads of columns. Outputs are 4 times
// QUADS, which is at most 4.

#import ROWS
#import RING
#import eight
#import arena
#import kv_head
#import attend_rows

override HEAD_DIM: u32;
// Eights of a row.
override LANES: u32;
// Rows of a tile.
override TILE: u32;
// Quads of columns of an invocation; a workgroup computes 32 times as many columns.
override QUADS: u32;

const THREADS = 64u;
const QUERIES = 32u;
// Values of a head that are staged at a time for the scores.
const CHUNK = 32u;

// `[value of the chunk][quad of queries]`
var<workgroup> queries: array<vec4<f32>, 256>;
// Keys `[value of the chunk][quad of rows]`, then values `[row][quad of columns]`.
var<workgroup> staged: array<vec4<f32>, 256>;
// `[row][quad of queries]`
var<workgroup> weights: array<vec4<f32>, 256>;
// `[quad of rows][quad of queries]`
var<workgroup> tops: array<vec4<f32>, THREADS>;
// Place, first pair of the key, and the first and one after the last of the tokens that see it.
var<workgroup> rows_of_tile: array<vec4<u32>, 32>;
// Pairs from a row's key to its value.
var<workgroup> values_after: array<u32, 32>;

// Row `wanted` of the runs from word `first` on.
fn look_up(i: u32, first: u32, wanted: u32, kv_head: u32, place_of: KvHead) {
    var at = first;
    var left = wanted;
    while left >= arena[at + 3u] {
        left -= arena[at + 3u];
        at += 5u;
    }
    let place = arena[at];
    let row = arena[at + 1u] + left * arena[at + 2u];
    let seen_by = arena[at + 4u];
    var key = place_of.ring_at + row * ring_row_pairs();
    var after = place_of.values_after;
    if place == WINDOW {
        key = p.window_at + (kv_head * p.window_rows + row) * (HEAD_DIM / 2u);
        after = p.kv_heads * p.window_rows * (HEAD_DIM / 2u);
    } else if place == BLOCK {
        key = p.block_at + (kv_head * p.block_rows + row) * (HEAD_DIM / 2u);
        after = p.kv_heads * p.block_rows * (HEAD_DIM / 2u);
    }
    rows_of_tile[i] = vec4(place, key, seen_by & 0xffffu, seen_by >> 16u);
    values_after[i] = after;
    keep_scales(i, place == RING, place_of.scales_at + row, place_of.scales_after);
}

// Eight values of the key (side 0) or value (side 1) of row `i` of the tile; zeros past its end.
fn staged_eight(i: u32, side: u32, lane: u32) -> Eight {
    if lane >= LANES {
        return Eight(vec4<f32>(), vec4<f32>());
    }
    let row = rows_of_tile[i];
    let raw = load(row.x, row.y + side * values_after[i], lane);
    let eight = eight_of(row.x == RING, raw);
    let scale = scales_of(i)[side];
    return Eight(eight.low * scale, eight.high * scale);
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let blocks = (HEAD_DIM + 32u * QUADS - 1u) / (32u * QUADS);
    let groups = (p.shared_by + QUERIES - 1u) / QUERIES;
    let block_of_columns = workgroup.x % blocks;
    let kv_head = workgroup.x / blocks / groups;
    let in_group = workgroup.x / blocks % groups * QUERIES;
    // Query heads, and the first of them.
    let heads = min(QUERIES, p.shared_by - in_group);
    let head = kv_head * p.shared_by + in_group;
    let place_of = kv_head_of(p.first_head + kv_head);
    if place_of.kind != p.kind {
        return;
    }
    let tokens = arena[TOKENS];
    let of_tile = arena[TILE_TOKENS];
    let first_token = workgroup.y * of_tile;
    let tiles = (tokens + of_tile - 1u) / of_tile;
    let list = arena[TILES] + 2u * (place_of.schedule * tiles + workgroup.y);
    let runs = arena[list];
    let rows = arena[list + 1u];

    // Query `n` is of token `n / heads` and head `n % heads`.
    let of_queries = index % 8u;
    let of_rows = index / 8u;
    let numbers = 4u * of_queries + vec4(0u, 1u, 2u, 3u);
    let their_tokens = select(vec4(~0u), numbers / heads, numbers / heads < vec4(of_tile));
    var outputs: array<vec4<f32>, 16>;
    for (var i = 0u; i < 16u; i++) {
        outputs[i] = vec4<f32>();
    }
    var most = vec4(LEAST);
    var weight = vec4<f32>();
    for (var first = 0u; first < rows; first += TILE) {
        if index < TILE {
            look_up(index, runs, min(first + index, rows - 1u), kv_head, place_of);
            if first + index >= rows {
                rows_of_tile[index].w = 0u;
            }
        }
        workgroupBarrier();
        var s0 = vec4<f32>();
        var s1 = vec4<f32>();
        var s2 = vec4<f32>();
        var s3 = vec4<f32>();
        for (var chunk = 0u; chunk < HEAD_DIM; chunk += CHUNK) {
            if index < 32u {
                // Eight values of four keys.
                let quad = index % 8u;
                let eight = index / 8u;
                let lane = chunk / 8u + eight;
                let a = staged_eight(4u * quad, 0u, lane);
                let b = staged_eight(4u * quad + 1u, 0u, lane);
                let c = staged_eight(4u * quad + 2u, 0u, lane);
                let d = staged_eight(4u * quad + 3u, 0u, lane);
                let at = 64u * eight + quad;
                staged[at] = vec4(a.low.x, b.low.x, c.low.x, d.low.x);
                staged[at + 8u] = vec4(a.low.y, b.low.y, c.low.y, d.low.y);
                staged[at + 16u] = vec4(a.low.z, b.low.z, c.low.z, d.low.z);
                staged[at + 24u] = vec4(a.low.w, b.low.w, c.low.w, d.low.w);
                staged[at + 32u] = vec4(a.high.x, b.high.x, c.high.x, d.high.x);
                staged[at + 40u] = vec4(a.high.y, b.high.y, c.high.y, d.high.y);
                staged[at + 48u] = vec4(a.high.z, b.high.z, c.high.z, d.high.z);
                staged[at + 56u] = vec4(a.high.w, b.high.w, c.high.w, d.high.w);
            } else {
                // Four values of four queries, twice.
                let quad = index % 8u;
                let n = 4u * quad + vec4(0u, 1u, 2u, 3u);
                let token = min(vec4(first_token) + n / heads, vec4(tokens - 1u));
                let query = token * p.q_stride + (head + n % heads) * HEAD_DIM;
                for (var i = index / 8u - 4u; i < 8u; i += 4u) {
                    let a = four_of(query.x, chunk + 4u * i);
                    let b = four_of(query.y, chunk + 4u * i);
                    let c = four_of(query.z, chunk + 4u * i);
                    let d = four_of(query.w, chunk + 4u * i);
                    let at = 32u * i + quad;
                    queries[at] = vec4(a.x, b.x, c.x, d.x);
                    queries[at + 8u] = vec4(a.y, b.y, c.y, d.y);
                    queries[at + 16u] = vec4(a.z, b.z, c.z, d.z);
                    queries[at + 24u] = vec4(a.w, b.w, c.w, d.w);
                }
            }
            workgroupBarrier();
            for (var i = 0u; i < CHUNK; i++) {
                let a = queries[8u * i + of_queries];
                let b = staged[8u * i + of_rows];
                s0 += a * b.x;
                s1 += a * b.y;
                s2 += a * b.z;
                s3 += a * b.w;
            }
            workgroupBarrier();
        }
        s0 = seen(s0, 4u * of_rows, their_tokens);
        s1 = seen(s1, 4u * of_rows + 1u, their_tokens);
        s2 = seen(s2, 4u * of_rows + 2u, their_tokens);
        s3 = seen(s3, 4u * of_rows + 3u, their_tokens);
        tops[index] = max(max(s0, s1), max(s2, s3));
        workgroupBarrier();
        var greatest = most;
        for (var i = 0u; i < 8u; i++) {
            greatest = max(greatest, tops[8u * i + of_queries]);
        }
        let kept = exp(most - greatest);
        most = greatest;
        s0 = share(s0, greatest);
        s1 = share(s1, greatest);
        s2 = share(s2, greatest);
        s3 = share(s3, greatest);
        weight = weight * kept + (s0 + s1) + (s2 + s3);
        let at = 32u * of_rows + of_queries;
        weights[at] = s0;
        weights[at + 8u] = s1;
        weights[at + 16u] = s2;
        weights[at + 24u] = s3;
        for (var i = 0u; i < QUADS; i++) {
            outputs[i] *= kept.x;
            outputs[4u + i] *= kept.y;
            outputs[8u + i] *= kept.z;
            outputs[12u + i] *= kept.w;
        }
        // As many values at a time as there is room for.
        for (var stage = 0u; stage < QUADS; stage++) {
            let begin = stage * (TILE / QUADS);
            for (var i = index; i < 128u; i += THREADS) {
                let row = i / (4u * QUADS);
                let eight = i % (4u * QUADS);
                let lane = block_of_columns * 4u * QUADS + eight;
                let v = staged_eight(begin + row, 1u, lane);
                staged[2u * i] = v.low;
                staged[2u * i + 1u] = v.high;
            }
            workgroupBarrier();
            for (var row = 0u; row < TILE / QUADS; row++) {
                let w = weights[8u * (begin + row) + of_queries];
                for (var i = 0u; i < QUADS; i++) {
                    let v = staged[8u * (row * QUADS + i) + of_rows];
                    outputs[i] += w.x * v;
                    outputs[4u + i] += w.y * v;
                    outputs[8u + i] += w.z * v;
                    outputs[12u + i] += w.w * v;
                }
            }
            workgroupBarrier();
        }
    }
    tops[index] = weight;
    workgroupBarrier();
    var total = vec4<f32>();
    for (var i = 0u; i < 8u; i++) {
        total += tops[8u * i + of_queries];
    }
    for (var j = 0u; j < 4u; j++) {
        let token = first_token + numbers[j] / heads;
        if their_tokens[j] < of_tile && token < tokens {
            let at = token * p.out_stride + (head + numbers[j] % heads) * HEAD_DIM;
            for (var i = 0u; i < QUADS; i++) {
                let column = block_of_columns * 32u * QUADS + 4u * (8u * i + of_rows);
                let values = outputs[4u * j + i] / total[j];
                for (var c = 0u; c < 4u && column + c < HEAD_DIM; c++) {
                    out[at + column + c] = values[c];
                }
            }
        }
    }
}

// The scores of a row, for the queries whose tokens see it.
fn seen(scores: vec4<f32>, row: u32, their_tokens: vec4<u32>) -> vec4<f32> {
    let by = rows_of_tile[row].zw;
    let on = (their_tokens >= vec4(by.x)) & (their_tokens < vec4(by.y));
    return select(vec4(LEAST), scores * p.scale, on);
}

// What does not count is at the least value, where everything may still be.
fn share(scores: vec4<f32>, greatest: vec4<f32>) -> vec4<f32> {
    return select(vec4<f32>(), exp(scores - greatest), scores > vec4(0.5 * LEAST));
}
