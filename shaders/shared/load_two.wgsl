// What a lane reads of two rows.
// To be constructed by this name: naga takes what `array()` returns for another type.
alias Together = array<Loaded, 2>;

fn load_all(place: u32, rows: vec2<u32>, lane: u32) -> Together {
    if place == RING {
        return Together(ring_loaded(rows.x, lane), ring_loaded(rows.y, lane));
    }
    if place == WINDOW {
        return Together(loaded_near(window_raw(rows.x, lane)), loaded_near(window_raw(rows.y, lane)));
    }
    return Together(loaded_near(block_raw(rows.x, lane)), loaded_near(block_raw(rows.y, lane)));
}
