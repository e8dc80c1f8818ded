// What a lane reads of four rows, so that all are on their way at once.
// To be constructed by this name: naga takes what `array()` returns for another type.
alias Together = array<Loaded, 4>;

fn load_all(place: u32, rows: vec4<u32>, lane: u32) -> Together {
    if place == RING {
        return Together(
            ring_loaded(rows.x, lane),
            ring_loaded(rows.y, lane),
            ring_loaded(rows.z, lane),
            ring_loaded(rows.w, lane),
        );
    }
    if place == WINDOW {
        return Together(
            loaded_near(window_raw(rows.x, lane)),
            loaded_near(window_raw(rows.y, lane)),
            loaded_near(window_raw(rows.z, lane)),
            loaded_near(window_raw(rows.w, lane)),
        );
    }
    return Together(
        loaded_near(block_raw(rows.x, lane)),
        loaded_near(block_raw(rows.y, lane)),
        loaded_near(block_raw(rows.z, lane)),
        loaded_near(block_raw(rows.w, lane)),
    );
}
