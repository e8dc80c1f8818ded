// Attention to four rows of a tile at once, so that all are on their way while the first is used.
#import load_four

// The words of the keys of a group's rows, from row `first` of the tile on.
fn keys_of(first: u32) -> vec4<u32> {
    return vec4(keys[first], keys[first + SLOTS], keys[first + 2u * SLOTS], keys[first + 3u * SLOTS]);
}

// The lane's part of the scores of the rows from `start` on that are summed up at a time.
fn partial_scores(place: u32, start: u32, tile: u32, slot: u32, lane: u32, index: u32) {
    let asked = asked_at(place == RING, lane);
    for (var step = 0u; step < STEPS && start + step * SLOTS < tile; step += 4u) {
        let rows = load_all(place, keys_of(start + step * SLOTS + slot), lane);
        let a = eight_of(rows[0]);
        let b = eight_of(rows[1]);
        let c = eight_of(rows[2]);
        let d = eight_of(rows[3]);
        var of_a = Heads();
        var of_b = Heads();
        var of_c = Heads();
        var of_d = Heads();
        for (var j = 0u; j < 4u; j++) {
            let low = queries[asked.x + j];
            let high = queries[asked.y + j];
            of_a += low * a.low[j] + high * a.high[j];
            of_b += low * b.low[j] + high * b.high[j];
            of_c += low * c.low[j] + high * c.high[j];
            of_d += low * d.low[j] + high * d.high[j];
        }
        let at = step * PADDED + index;
        partials[at] = of_a;
        partials[at + PADDED] = of_b;
        partials[at + 2u * PADDED] = of_c;
        partials[at + 3u * PADDED] = of_d;
    }
}

// Adds the lane's eight values of the tile's rows, times their shares.
fn add_values(
    sums: ptr<function, array<Heads, 8>>,
    place: u32,
    tile: u32,
    after: u32,
    slot: u32,
    lane: u32,
) {
    for (var row = slot; row < tile; row += 4u * SLOTS) {
        let rows = load_all(place, keys_of(row) + after, lane);
        add_eight(sums, scores[row], eight_of(rows[0]));
        add_eight(sums, scores[row + SLOTS], eight_of(rows[1]));
        add_eight(sums, scores[row + 2u * SLOTS], eight_of(rows[2]));
        add_eight(sums, scores[row + 3u * SLOTS], eight_of(rows[3]));
    }
}
