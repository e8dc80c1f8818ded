// What shapes of a tile have in common that read rows two at a time.
#import load_two

alias Scores = array<vec4<f32>, OWN>;

// Multiplies some of an invocation's rows, from its row `own` on, with its queries.
fn add_some(scores: ptr<function, Scores>, own: u32, place: u32, begin: u32, first: u32, quad: u32) {
    let rows = vec2(keys[first + own], keys[first + own + 1u]);
    for (var i = 0u; i < min(ROOM, LANES - begin); i++) {
        let loaded = load_all(place, rows, begin + i);
        let a = eight_of(loaded[0]);
        let b = eight_of(loaded[1]);
        for (var j = 0u; j < 4u; j++) {
            let low = queries[8u * (8u * i + j) + quad];
            let high = queries[8u * (8u * i + j + 4u) + quad];
            (*scores)[own] += low * a.low[j] + high * a.high[j];
            (*scores)[own + 1u] += low * b.low[j] + high * b.high[j];
        }
    }
}

// Adds an eight of the columns of a tile's rows, times the weights of the queries.
fn add_values(
    sums: ptr<function, array<vec4<f32>, 8>>,
    place: u32,
    tile: u32,
    after: u32,
    eight: u32,
    quad: u32,
) {
    for (var row = 0u; row < tile; row += 2u) {
        let rows = vec2(keys[row], keys[row + 1u]);
        let loaded = load_all(place, rows + after, eight);
        add_row(sums, weights[8u * row + quad], eight_of(loaded[0]));
        add_row(sums, weights[8u * (row + 1u) + quad], eight_of(loaded[1]));
    }
}
