// Attention for some neighboring tokens and the query heads that share a key head, 32 queries in all:
// `softmax(q k / sqrt(n)) v`. The host lists the rows that any of these tokens sees, in runs of rows
// that the same of them see. Rows are taken 32 at a time; each invocation computes the scores of four
// queries and a few rows, and then eight columns of four outputs, with a running maximum. Neighbors
// read the same rows, from the cache; queries and scores are in workgroup memory.

// In range: workgroups are as many as there are groups of heads and tiles of tokens; tokens beyond the
// last are the last, and not written, and columns end where a head does. Rows in lists are those of
// their place (`Tables`), and the one that is looked up is at most the last of them; eights are at most
// the last of a row. `queries` are indexed by a value below 64 and a quad below 8, `weights` by a row
// below 32 and a quad; OWN rows for each of `THREADS / 8` are 32.

#import ROWS
#import RING
#import eight
#import arena
#import kv_head
#import attend_rows
#import SHAPE

override HEAD_DIM: u32;
// Eights of a row.
override LANES: u32;
// Rows of a tile.
override TILE: u32;

const QUERIES = 32u;
// Eights of a head for which there is room.
const ROOM = 8u;

// `[value of the eights][quad of queries]`
var<workgroup> queries: array<vec4<f32>, 512>;
// `[row][quad of queries]`
var<workgroup> weights: array<vec4<f32>, 256>;
// `[some rows][quad of queries]`
var<workgroup> tops: array<vec4<f32>, THREADS>;
// The greatest score of each query so far.
var<workgroup> mosts: array<vec4<f32>, 8>;
// First word of the key of each row.
var<workgroup> keys: array<u32, TILE>;
// The first and the one after the last of the tokens that see it.
var<workgroup> seen_by: array<vec2<u32>, TILE>;

// Row `wanted` of the runs from word `first` on, and the tokens that see it.
fn look_up(first: u32, wanted: u32) -> vec2<u32> {
    var at = first;
    var left = wanted;
    while left >= arena[at + 3u] {
        left -= arena[at + 3u];
        at += 5u;
    }
    return vec2(arena[at + 1u] + left * arena[at + 2u], arena[at + 4u]);
}

// Eights of the queries from `eight` on. An invocation brings four values of four queries at a time.
fn stage_queries(index: u32, starts: vec4<u32>, eight: u32) {
    for (var i = index / 8u; i < 2u * ROOM; i += THREADS / 8u) {
        let value = 8u * eight + 4u * i;
        let a = four_of(starts.x, value);
        let b = four_of(starts.y, value);
        let c = four_of(starts.z, value);
        let d = four_of(starts.w, value);
        let at = 32u * i + index % 8u;
        queries[at] = vec4(a.x, b.x, c.x, d.x);
        queries[at + 8u] = vec4(a.y, b.y, c.y, d.y);
        queries[at + 16u] = vec4(a.z, b.z, c.z, d.z);
        queries[at + 24u] = vec4(a.w, b.w, c.w, d.w);
    }
}

// Adds a row's eight columns, times the weights of four queries, to their sums.
fn add_row(sums: ptr<function, array<vec4<f32>, 8>>, w: vec4<f32>, v: Eight) {
    (*sums)[0] += w.x * v.low;
    (*sums)[1] += w.x * v.high;
    (*sums)[2] += w.y * v.low;
    (*sums)[3] += w.y * v.high;
    (*sums)[4] += w.z * v.low;
    (*sums)[5] += w.z * v.high;
    (*sums)[6] += w.w * v.low;
    (*sums)[7] += w.w * v.high;
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let blocks = (HEAD_DIM + THREADS - 1u) / THREADS;
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
    let list = arena[TILES] + 4u * (place_of.schedule * tiles + workgroup.y);
    let runs = arena[list];
    // Rows of ring, of ring and window, and of all.
    let before = vec2(arena[list + 1u], arena[list + 2u]);
    let rows = arena[list + 3u];

    // Query `n` is of token `n / heads` and head `n % heads`.
    let of_queries = index % 8u;
    let of_rows = index / 8u;
    let numbers = 4u * of_queries + vec4(0u, 1u, 2u, 3u);
    let their_tokens = select(vec4(~0u), numbers / heads, numbers / heads < vec4(of_tile));
    let starts = min(vec4(first_token) + numbers / heads, vec4(tokens - 1u)) * p.q_stride
        + (head + numbers % heads) * HEAD_DIM;
    if LANES <= ROOM {
        stage_queries(index, starts, 0u);
    }
    // Of each query eight columns.
    let eight = block_of_columns * THREADS / 8u + of_rows;
    var sums: array<vec4<f32>, 8>;
    for (var i = 0u; i < 8u; i++) {
        sums[i] = vec4<f32>();
    }
    if of_rows == 0u {
        mosts[of_queries] = vec4(LEAST);
    }
    var weight = vec4<f32>();
    var next = 0u;
    while next < rows {
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
        values_after /= of_word;
        next = min(first + TILE, limit);
        if index < TILE {
            // Past the end it is the last row again, which no token sees there.
            let row = look_up(runs, min(first + index, limit - 1u));
            let end = select(0u, row.y >> 16u, first + index < limit);
            keys[index] = (key_at + row.x * row_pairs) / of_word;
            seen_by[index] = vec2(row.y & 0xffffu, end);
            keep_scales(index, place == RING, place_of.scales_at + row.x, place_of.scales_after);
        }
        workgroupBarrier();
        var scores: Scores;
        for (var r = 0u; r < OWN; r++) {
            scores[r] = vec4<f32>();
        }
        for (var begin = 0u; begin < LANES; begin += ROOM) {
            if LANES > ROOM {
                workgroupBarrier();
                stage_queries(index, starts, begin);
                workgroupBarrier();
            }
            add_scores(&scores, place, begin, of_rows, of_queries);
        }
        var greatest = vec4(LEAST);
        for (var r = 0u; r < OWN; r++) {
            scores[r] = seen(scores[r], OWN * of_rows + r, their_tokens);
            greatest = max(greatest, scores[r]);
        }
        tops[index] = greatest;
        workgroupBarrier();
        let most = mosts[of_queries];
        greatest = most;
        for (var i = 0u; i < THREADS / 8u; i++) {
            greatest = max(greatest, tops[8u * i + of_queries]);
        }
        let kept = exp(most - greatest);
        weight *= kept;
        for (var r = 0u; r < OWN; r++) {
            let row = OWN * of_rows + r;
            let counts = share(scores[r], greatest);
            weight += counts;
            weights[8u * row + of_queries] = counts * scales_of(row).y;
        }
        for (var i = 0u; i < 4u; i++) {
            sums[2u * i] *= kept[i];
            sums[2u * i + 1u] *= kept[i];
        }
        workgroupBarrier();
        if of_rows == 0u {
            mosts[of_queries] = greatest;
        }
        add_values(&sums, place, next - first, values_after, min(eight, LANES - 1u), of_queries);
        workgroupBarrier();
    }
    tops[index] = weight;
    workgroupBarrier();
    var total = vec4<f32>();
    for (var i = 0u; i < THREADS / 8u; i++) {
        total += tops[8u * i + of_queries];
    }
    for (var j = 0u; j < 4u; j++) {
        let token = first_token + numbers[j] / heads;
        if their_tokens[j] < of_tile && token < tokens {
            let at = token * p.out_stride + (head + numbers[j] % heads) * HEAD_DIM;
            for (var i = 0u; i < 2u; i++) {
                let column = 8u * eight + 4u * i;
                let values = sums[2u * j + i] / total[j];
                for (var c = 0u; c < 4u && column + c < HEAD_DIM; c++) {
                    out[at + column + c] = values[c];
                }
            }
        }
    }
}

// The scores of a row, for the queries whose tokens see it.
fn seen(scores: vec4<f32>, row: u32, their_tokens: vec4<u32>) -> vec4<f32> {
    let by = seen_by[row];
    let on = (their_tokens >= vec4(by.x)) & (their_tokens < vec4(by.y));
    return select(vec4(LEAST), scores * (p.scale * scales_of(row).x), on);
}

// What does not count is at the least value, where everything may still be.
fn share(scores: vec4<f32>, greatest: vec4<f32>) -> vec4<f32> {
    return select(vec4<f32>(), exp(scores - greatest), scores > vec4(0.5 * LEAST));
}
