//! What kernels must know about a block of tokens beside the tokens themselves: rotations, places
//! within chunks, rows to see, rows to move. Worked out here, so that no shader does arithmetic on
//! positions; the words are laid out as `shaders/shared/arena.wgsl` says.

use crate::chunk::{Place, Schedule};
use crate::model::Hyper;

/// Words before the lists.
const HEADER: usize = 8;
const TOKENS: usize = 0;
const PARTS: usize = 1;
pub(super) const TURNS: usize = 2;
pub(super) const SINCE: usize = 3;
pub(super) const SEEN: usize = 4;
pub(super) const MOVES: usize = 5;

/// Most runs of rows that a token sees.
const MOST_RUNS: usize = 10;

/// The words for one block.
pub(super) struct Arena {
    words: Vec<u32>,
}

impl Arena {
    pub fn with_capacity(words: usize) -> Arena {
        Arena { words: Vec::with_capacity(words) }
    }

    /// Begins anew.
    pub fn begin(&mut self, tokens: usize, parts: usize) {
        self.words.clear();
        self.words.resize(HEADER, 0);
        self.words[TOKENS] = tokens as u32;
        self.words[PARTS] = parts as u32;
    }

    /// The words that are added from here on are those of `list`.
    pub fn list(&mut self, list: usize) {
        self.words[list] = self.words.len() as u32;
    }

    pub fn push(&mut self, words: impl IntoIterator<Item = u32>) {
        self.words.extend(words);
    }

    pub fn len(&self) -> usize {
        self.words.len()
    }

    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// Room for the words of an entry whose contents come later.
    fn reserve(&mut self, words: usize) -> usize {
        let at = self.words.len();
        self.words.resize(at + words, 0);
        at
    }
}

/// Works out the words of blocks of one sequence.
pub(super) struct Plan {
    /// Schedules that differ; layers of equal offset share one.
    schedules: Vec<Schedule>,
    /// Number of each layer's schedule.
    of_layer: Vec<usize>,
    /// Rotary frequencies, radians a position, `[head_dim / 2]`.
    frequencies: Vec<f64>,
    carry: bool,
}

impl Plan {
    pub fn new(hyper: &Hyper, ring: usize, frequencies: Vec<f64>) -> Plan {
        let mut schedules: Vec<Schedule> = Vec::new();
        let of_layer = (0..hyper.layers)
            .map(|layer| {
                let schedule = hyper.schedule(layer, ring);
                schedules.iter().position(|s| *s == schedule).unwrap_or_else(|| {
                    schedules.push(schedule);
                    schedules.len() - 1
                })
            })
            .collect();
        Plan { schedules, of_layer, frequencies, carry: hyper.carry_state }
    }

    /// Number of a layer's schedule.
    pub fn schedule(&self, layer: usize) -> u32 {
        self.of_layer[layer] as u32
    }

    /// Most words of a block of so many tokens.
    pub fn most_words(&self, block: usize) -> usize {
        let schedules = self.schedules.len();
        let a_token = 2 * self.frequencies.len() + schedules * (1 + 4 + 4 * MOST_RUNS);
        // At most every token of the block enters the window and two states go to the ring for it.
        let moves = schedules * 4 * (3 * block + 4);
        HEADER + block * a_token + 2 * self.of_layer.len() + moves
    }

    /// Rows that a token at `position`, alone in its block, sees in the layer where it sees most.
    pub fn rows(&self, position: u64) -> usize {
        self.schedules.iter().map(|s| s.visible(position, position).rows()).max().unwrap_or(0)
    }

    /// Chunk states in the fullest layer's ring before `position`.
    pub fn ring_rows(&self, position: u64) -> usize {
        self.schedules.iter().map(|s| s.ring_rows(position)).max().unwrap_or(0)
    }

    /// Chunk states in a layer's ring before `position`.
    pub fn ring_rows_of(&self, layer: usize, position: u64) -> usize {
        self.schedules[self.of_layer[layer]].ring_rows(position)
    }

    /// Writes the words for the block of `tokens` tokens from `start` on.
    pub fn lay_out(&self, arena: &mut Arena, start: u64, tokens: usize, parts: usize) {
        arena.begin(tokens, parts);
        let positions = start..start + tokens as u64;

        arena.list(TURNS);
        // Reduced in f64, angles stay exact after billions of tokens.
        for position in positions.clone() {
            for frequency in &self.frequencies {
                let (sin, cos) = (position as f64 * frequency).sin_cos();
                arena.push([cos, sin].map(|x| (x as f32).to_bits()));
            }
        }

        arena.list(SINCE);
        for schedule in &self.schedules {
            arena.push(positions.clone().map(|position| {
                let since = if self.carry { position } else { schedule.index_in_chunk(position) };
                u32::try_from(since).unwrap_or(u32::MAX)
            }));
        }

        arena.list(SEEN);
        let seen_at = arena.reserve(4 * tokens * self.schedules.len());
        let mut entries = (seen_at..).step_by(4);
        for schedule in &self.schedules {
            for position in positions.clone() {
                let visible = schedule.visible(start, position);
                let entry = [arena.len(), visible.runs().len(), visible.rows(), 0];
                if let Some(at) = entries.next() {
                    arena.words[at..at + 4].copy_from_slice(&entry.map(|n| n as u32));
                }
                for run in visible.runs() {
                    arena.push([
                        place(run.place),
                        run.first as u32,
                        run.step as u32,
                        run.len as u32,
                    ]);
                }
            }
        }

        arena.list(MOVES);
        let moves_at = arena.reserve(2 * self.of_layer.len());
        for (number, schedule) in self.schedules.iter().enumerate() {
            let first = arena.len();
            for (from, row, slot) in schedule.retire(start, tokens as u64) {
                arena.push([place(from), row as u32, place(Place::Ring), slot as u32]);
            }
            for (row, slot) in schedule.enter(start, tokens as u64) {
                let (from, to) = (place(Place::Block), place(Place::Window));
                arena.push([from, row as u32, to, slot as u32]);
            }
            let count = (arena.len() - first) / 4;
            for layer in (0..self.of_layer.len()).filter(|&l| self.of_layer[l] == number) {
                let at = moves_at + 2 * layer;
                arena.words[at] = first as u32;
                arena.words[at + 1] = count as u32;
            }
        }
    }
}

/// The number that shaders know a place by.
pub(super) fn place(place: Place) -> u32 {
    match place {
        Place::Ring => 0,
        Place::Window => 1,
        Place::Block => 2,
    }
}
