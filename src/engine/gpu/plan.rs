//! What kernels must know about a block of tokens in addition to the tokens themselves: rotations,
//! positions within chunks, rows to see, rows to move. Assembled here from the block tables, so
//! that no shader does arithmetic on positions; the words are laid out as
//! `shaders/shared/arena.wgsl` says. The list of KV heads, which hardly ever changes, is at the end
//! of the buffer.

use super::moves::Chains;
use super::tiles::Tiles;
use crate::cache::{Place, Run, Tables, rows};
use crate::engine::rotary::Rotary;

/// Words before the lists.
const HEADER: usize = 10;
const TOKENS: usize = 0;
const PARTS: usize = 1;
pub(super) const TURNS: usize = 2;
pub(super) const SINCE: usize = 3;
pub(super) const SEEN: usize = 4;
pub(super) const MOVES: usize = 5;
pub(super) const HEADS: usize = 6;
const ROWS_OF_A_PART: usize = 7;
const TILES: usize = 8;
const TILE_TOKENS: usize = 9;

/// Words of a KV head.
const HEAD_WORDS: usize = 6;

/// Minimum rows per part of one token's attention.
const SMALLEST_PART: usize = 64;
/// Workgroups that keep a GPU busy.
const WORKGROUPS: usize = 128;

/// Runs of rows that a token sees, unless chunk lengths change often.
const RUNS: usize = 9;

/// Where the ring of a KV head is: see `shaders/shared/kv_head.wgsl`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KvHead {
    /// The class of the head.
    pub class: usize,
    /// What kind of ring: see [`RingKind`](crate::cache::RingKind).
    pub kind: u32,
    pub ring_at: u32,
    pub values_after: u32,
    pub scales_at: u32,
    pub scales_after: u32,
}

impl KvHead {
    /// The words of the head, which follows this schedule.
    pub fn words(&self, schedule: u32) -> [u32; HEAD_WORDS] {
        let KvHead { kind, ring_at, values_after, scales_at, scales_after, .. } = *self;
        [schedule, kind, ring_at, values_after, scales_at, scales_after]
    }
}

/// The words of the KV heads of all layers, with these tables.
pub(super) fn words_of(heads: &[KvHead], tables: &Tables) -> Vec<u32> {
    heads.iter().flat_map(|head| head.words(tables.of_class()[head.class] as u32)).collect()
}

/// Where in a buffer of this many bytes the words of this many KV heads begin.
pub(super) fn heads_at(bytes: u64, heads: usize) -> usize {
    bytes as usize / 4 - HEAD_WORDS * heads
}

/// How the attention of a token is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Split {
    /// Parts of the head that sees most.
    pub parts: u32,
    /// Rows of a part, but for the last one of a head.
    pub rows: u32,
}

impl Split {
    pub const WHOLE: Split = Split { parts: 1, rows: u32::MAX };

    /// Parts of about `WORKGROUPS` in a layer whose heads see `all` rows, and `longest` one of them,
    /// at most `most` of a head. A head that sees less has fewer of them.
    pub fn new(longest: usize, all: usize, most: usize) -> Split {
        let rows = SMALLEST_PART.max(all.div_ceil(WORKGROUPS)).max(longest.div_ceil(most));
        match longest / rows {
            0 | 1 => Split::WHOLE,
            parts => Split { parts: parts as u32, rows: longest.div_ceil(parts) as u32 },
        }
    }
}

/// Queries that attention takes at a time: of the heads that share a key head, and as many tokens as
/// that leaves.
pub(super) const QUERIES: usize = 32;

/// What is listed of a block of several tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiling {
    /// Tokens of a tile, of which it is listed what they see.
    pub tokens: usize,
    /// Whether it is listed of each token too.
    pub each: bool,
}

impl Tiling {
    /// Where up to `shared_by` query heads share a key head, and some rings are of a type that
    /// attention takes token by token if `each` says so.
    pub fn new(shared_by: usize, each: bool) -> Tiling {
        Tiling { tokens: (QUERIES / shared_by.max(1)).max(1), each }
    }
}

/// The words for one block.
pub(super) struct Arena {
    words: Vec<u32>,
    chains: Chains,
    tiles: Tiles,
}

impl Arena {
    /// In the memory of `words`.
    pub fn new(words: Vec<u32>) -> Arena {
        Arena { words, chains: Chains::default(), tiles: Tiles::default() }
    }

    /// Starts over.
    pub fn begin(&mut self, tokens: usize, split: Split) {
        self.words.clear();
        self.words.resize(HEADER, 0);
        self.words[TOKENS] = tokens as u32;
        self.words[PARTS] = split.parts;
        self.words[ROWS_OF_A_PART] = split.rows;
    }

    /// The words added from here on are those of `list`.
    pub fn list(&mut self, list: usize) {
        self.words[list] = self.words.len() as u32;
    }

    /// The list of KV heads begins at this word of the buffer.
    pub fn set_heads(&mut self, at: usize) {
        self.words[HEADS] = at as u32;
    }

    pub fn push(&mut self, words: impl IntoIterator<Item = u32>) {
        self.words.extend(words);
    }

    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Capacity in words, without a new allocation.
    pub fn capacity(&self) -> usize {
        self.words.capacity()
    }

    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// Reserves words whose contents come later, and returns where they begin.
    fn reserve(&mut self, words: usize) -> usize {
        let at = self.words.len();
        self.words.resize(at + words, 0);
        at
    }

    fn set(&mut self, at: usize, words: &[usize]) {
        for (slot, word) in self.words[at..].iter_mut().zip(words) {
            *slot = *word as u32;
        }
    }

    /// Writes the words for the current block of `tables`, of `tokens` tokens. `rotary` are the
    /// tables of rotations; with `carry` the mixers' states are carried across chunks.
    pub fn lay_out(
        &mut self,
        tables: &Tables,
        tokens: usize,
        split: Split,
        tiling: Tiling,
        rotary: &[Rotary],
        carry: bool,
    ) {
        self.begin(tokens, split);
        let start = tables.position();

        self.list(TURNS);
        for table in rotary {
            for position in start..start + tokens as u64 {
                self.push(table.pairs(position).flatten().map(f32::to_bits));
            }
        }

        self.list(SINCE);
        for table in tables.distinct() {
            for (in_chunk, position) in table.in_chunk().iter().zip(start..) {
                let since = if carry { position } else { *in_chunk };
                self.words.push(u32::try_from(since).unwrap_or(u32::MAX));
            }
        }

        if tokens == 1 || tiling.each {
            self.seen_by_each(tables, tokens);
        }
        if tokens > 1 {
            self.seen_by_tiles(tables, tokens, tiling.tokens);
        }

        self.list(MOVES);
        let schedules = self.reserve(2 * tables.distinct().len());
        for (number, table) in tables.distinct().iter().enumerate() {
            let first = self.len();
            let [ring, window, block] = [Place::Ring, Place::Window, Place::Block].map(place);
            let settle = table.moves().iter().map(|m| [place(m.from), m.row, ring, m.slot]);
            let enter = table.enter().map(|(row, slot)| [block, row as u32, window, slot as u32]);
            let Arena { words, chains, .. } = self;
            chains.sort(settle.chain(enter), |m| words.extend(m));
            let count = (self.len() - first) / 4;
            self.set(schedules + 2 * number, &[first, count]);
        }
    }

    /// What each token sees.
    fn seen_by_each(&mut self, tables: &Tables, tokens: usize) {
        self.list(SEEN);
        let mut entry = self.reserve(4 * tokens * tables.distinct().len());
        for table in tables.distinct() {
            for t in 0..tokens {
                let runs = table.visible(t);
                self.set(entry, &[self.len(), runs.len(), rows(runs)]);
                entry += 4;
                // Sorted: kernels attend to one place after the other.
                for of in [Place::Ring, Place::Window, Place::Block] {
                    for run in runs.iter().filter(|run| run.place == of) {
                        self.push([place(run.place), run.first, run.step, run.len]);
                    }
                }
            }
        }
    }

    /// What each tile of `of_tile` tokens sees.
    fn seen_by_tiles(&mut self, tables: &Tables, tokens: usize, of_tile: usize) {
        let tables = tables.distinct();
        self.tiles_of(tables.len(), |schedule, t| tables[schedule].visible(t), tokens, of_tile);
    }

    /// The same, of the runs that token `t` sees in schedule `s`, `visible(s, t)`.
    pub fn tiles_of<'a>(
        &mut self,
        schedules: usize,
        visible: impl Fn(usize, usize) -> &'a [Run],
        tokens: usize,
        of_tile: usize,
    ) {
        self.list(TILES);
        self.words[TILE_TOKENS] = of_tile as u32;
        let mut entry = self.reserve(4 * tokens.div_ceil(of_tile) * schedules);
        for schedule in 0..schedules {
            for first in (0..tokens).step_by(of_tile) {
                let len = of_tile.min(tokens - first);
                let at = self.len();
                let Arena { words, tiles, .. } = self;
                let seen = |t: usize| visible(schedule, first + t);
                let [ring, near, all] = tiles.find(len, seen, |run| words.extend(run));
                self.set(entry, &[at, ring, near, all]);
                entry += 4;
            }
        }
    }
}

/// Estimate of the words for a block of this many tokens, in a model whose rotary tables rotate
/// `turned` values, with this many KV heads and these lengths of the rings of its classes.
pub(super) fn likely_words(
    heads: usize,
    rings: &[usize],
    block: usize,
    tiling: Tiling,
    turned: usize,
) -> usize {
    let seen = if tiling.each { 4 + 4 * RUNS } else { 0 };
    let a_token = turned + rings.len() * (1 + seen);
    // What all tokens see, and what comes and goes.
    let a_tile = rings.len() * (4 + 5 * (RUNS + 2 * tiling.tokens));
    let tiles = block.div_ceil(tiling.tokens);
    // Every token of the block may enter window and ring, and thinning a ring moves it.
    let moves = rings.iter().map(|&ring| 4 * (2 * block + ring.min(1 << 12) + 4));
    HEADER
        + block * a_token
        + tiles * a_tile
        + HEAD_WORDS * heads
        + 2 * rings.len()
        + moves.sum::<usize>()
}

/// The number by which shaders identify a place.
pub(super) fn place(place: Place) -> u32 {
    match place {
        Place::Ring => 0,
        Place::Window => 1,
        Place::Block => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_that_see_more_have_more_parts() {
        let split = |longest, all| {
            let Split { parts, rows } = Split::new(longest, all, 32);
            (parts, rows)
        };
        let whole = (1, u32::MAX);
        assert_eq!(split(1, 3), whole);
        assert_eq!(split(127, 3 * 127), whole);
        assert_eq!(split(128, 3 * 128), (2, 64));
        assert_eq!(split(771, 3 * 771), (12, 65));
        // One head of three sees far: 32, 4 and 4 parts.
        assert_eq!(split(8192, 8192 + 2 * 771), (32, 256));
        // Many heads keep a GPU busy with few parts of each.
        assert_eq!(split(8192, 32 * 8192), (4, 2048));
        assert_eq!(split(8192, 8192 + 31 * 771), (32, 256));
        assert_eq!(split(8192, 200 * 8192), whole);
    }
}
