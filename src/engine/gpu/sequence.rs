//! One sequence of tokens on the GPU: what is uploaded, submitted and read back for a block.

use super::Shared;
use super::ahead::{Read, Recorded, fetch_scores};
use super::cache::Memory;
use super::device::Device;
use super::model::{Parts, Programs};
use super::plan::{Arena, KvHead, Split, heads_at, words_of};
use super::scratch::{MOST_PARTS, Scratch};
use super::weights::scores_of;
use crate::cache::{Plan, Saved, Tables, rows};
use crate::engine::{Candidate, Geometry, State, TOP, Want};
use crate::error::{Error, Result};
use crate::quant;
use crate::room;
use std::sync::Arc;

/// One sequence.
pub(super) struct Sequence {
    shared: Arc<Shared>,
    memory: Memory,
    /// Where the rings of all KV heads are.
    heads: Vec<KvHead>,
    scratch: Scratch,
    /// None if buffers or the sharing of tables have changed since: recorded again by the next
    /// block.
    programs: Option<Recorded>,
    tables: Tables,
    arena: Arena,
    /// Embeddings of the current tokens, `[tokens][d]`, padded.
    embedded: Vec<f32>,
    /// Row of the logits of the last token that needed logits.
    last_row: Option<usize>,
    /// An error has left the state undefined.
    poisoned: bool,
}

impl Sequence {
    pub fn new(shared: Arc<Shared>, geometry: Geometry) -> Result<Sequence> {
        let spec = shared.model.spec();
        let layout = Arc::new(geometry.layout(spec)?);
        let memory = Memory::new(shared.device(), spec, Arc::clone(&layout))?;
        let scratch = Scratch::new(shared.device(), spec, &layout, shared.weights.count())?;
        let tables = Tables::new(layout, scratch.block)?;
        let what = "buffers of a block of tokens";
        let embedded = room::zeroed(scratch.block * scratch.widths.d as usize, what)?;
        let arena = Arena::new(room::list(scratch.arena.size() as usize / 4, what)?);
        let mut sequence = Sequence {
            shared,
            heads: memory.heads(),
            memory,
            scratch,
            programs: None,
            tables,
            arena,
            embedded,
            last_row: None,
            poisoned: false,
        };
        sequence.record()?;
        Ok(sequence)
    }

    /// Records the programs, and uploads where the rings of all KV heads are.
    fn record(&mut self) -> Result<()> {
        let Sequence { shared, scratch, memory, tables, heads, .. } = self;
        let device = shared.device();
        let words = words_of(heads, tables);
        let at = 4 * heads_at(scratch.arena.size(), heads.len()) as u64;
        device.scoped(4 * words.len() as u64, "an upload", || {
            device.queue.write_buffer(&scratch.arena, at, bytemuck::cast_slice(&words));
        })?;
        self.programs = Some(Recorded::new(programs(shared, scratch, memory, tables)?));
        Ok(())
    }

    fn check(&self) -> Result<()> {
        if self.poisoned {
            self.shared.device().check()?;
            return Err(Error::Poisoned);
        }
        Ok(())
    }

    /// Prepares a block before anything is computed: an error leaves the state unchanged.
    fn prepare(&mut self, tokens: &[u32]) -> Result<()> {
        self.check()?;
        let vocab = self.shared.model.spec().vocab;
        if let Some(&token) = tokens.iter().find(|&&t| t as usize >= vocab) {
            return Err(Error::TokenOutOfRange { token, vocab });
        }
        let room = State::room(self);
        if tokens.len() > room {
            return Err(Error::argument(
                "a block",
                format!("has {} tokens; the limit is {room}", tokens.len()),
            ));
        }
        if self.programs.is_none() {
            self.record()?;
        }
        Ok(())
    }

    /// Runs `work`; if it fails the state is undefined until it is reset.
    fn guarded<T>(&mut self, work: impl FnOnce(&mut Sequence) -> Result<T>) -> Result<T> {
        let result = work(self);
        self.poisoned |= result.is_err();
        result
    }

    /// Uploads what a block needs; returns how its attention is split.
    fn upload(&mut self, tokens: &[u32]) -> Result<Split> {
        let shared = Arc::clone(&self.shared);
        let embedding = &shared.model.weights.embedding;
        let (stride, width) = (embedding.row_bytes(), self.scratch.widths.d as usize);
        let scale = shared.model.spec().embedding_scale;
        for (token, h) in tokens.iter().zip(self.embedded.chunks_exact_mut(width)) {
            let row = &embedding.bytes()[*token as usize * stride..][..stride];
            let h = &mut h[..embedding.cols];
            quant::dequantize(embedding.dtype, row, h)?;
            if scale != 1.0 {
                h.iter_mut().for_each(|value| *value *= scale);
            }
        }
        self.tables.begin(tokens.len());
        let split = self.split(tokens.len());
        let carry = shared.model.spec().chunks.carry_state;
        let tiling = self.scratch.tiling;
        self.arena.lay_out(&self.tables, tokens.len(), split, tiling, &shared.rotary, carry);
        let device = shared.device();
        let bytes = 4 * self.arena.len() as u64;
        if bytes > 4 * heads_at(self.scratch.arena.size(), self.heads.len()) as u64 {
            // Chunk lengths that change often lead to many runs.
            let size = 2 * (bytes + 4 * words_of(&self.heads, &self.tables).len() as u64);
            self.scratch.arena = device.storage(size, "what kernels know of a block")?;
            self.programs = None;
            self.record()?;
        }
        self.arena.set_heads(heads_at(self.scratch.arena.size(), self.heads.len()));
        let embedded = &self.embedded[..tokens.len() * width];
        device.scoped(bytes, "an upload", || {
            device.queue.write_buffer(&self.scratch.h, 0, bytemuck::cast_slice(embedded));
            let words = bytemuck::cast_slice(self.arena.words());
            device.queue.write_buffer(&self.scratch.arena, 0, words);
        })?;
        Ok(split)
    }

    /// How the block's attention is split: only if few workgroups would see many rows.
    fn split(&self, tokens: usize) -> Split {
        if tokens > 1 {
            return Split::WHOLE;
        }
        let layout = self.tables.layout();
        let seen = |class: usize| rows(self.tables.class(class).visible(0));
        let of_layer = |layer: usize| -> usize {
            let heads = |class: usize| layout.classes()[class].heads.len();
            layout.classes_of(layer).map(|class| heads(class) * seen(class)).sum()
        };
        let longest = (0..layout.classes().len()).map(seen).max().unwrap_or(0);
        let all = (0..layout.layers().len()).map(of_layer).max().unwrap_or(0);
        Split::new(longest, all, MOST_PARTS)
    }

    /// Submissions for a block of this many tokens: one, unless it is a lot of work.
    fn submits(&self, tokens: usize, programs: &Programs) -> usize {
        let work = tokens as u64 * self.shared.weights.count();
        let submits = work.div_ceil(self.shared.device().submit_work) as usize;
        submits.min(programs.block.len()).max(1)
    }

    /// Computes a block.
    fn block(&mut self, tokens: &[u32], read: Read) -> Result<()> {
        let split = self.upload(tokens)?;
        let shared = Arc::clone(&self.shared);
        let device = shared.device();
        match tokens.len() {
            1 => {
                let recorded = self.programs.as_mut().ok_or(Error::Poisoned)?;
                recorded.submit_token(device, &self.scratch, read, split.parts)?;
            }
            count => self.submit_block(device, count, read)?,
        }
        if let Some(clock) = &device.clock {
            clock.collect(device)?;
        }
        self.last_row = (read != Read::Nothing).then_some(0);
        self.note_scores(tokens.len())?;
        self.tables.finish();
        Ok(())
    }

    /// Notes what the device computed for heads that evict by score, if there are any.
    fn note_scores(&mut self, tokens: usize) -> Result<()> {
        let Sequence { shared, scratch, tables, .. } = self;
        let bytes = scratch.score_bytes(tokens);
        if bytes == 0 {
            return Ok(());
        }
        let layout = Arc::clone(tables.layout());
        let (position, layers) = (tables.position(), &shared.model.spec().layers);
        shared.device().read(&scratch.score_staging, bytes, |bytes| {
            let scores: &[f32] = bytemuck::cast_slice(bytes);
            for (class, of) in layout.classes().iter().enumerate().filter(|(_, of)| of.is_scored())
            {
                let first: u32 = layers[..of.layer].iter().map(scores_of).sum();
                for head in &of.heads {
                    let of_tokens = scores.chunks_exact(scratch.scores.stride as usize);
                    for (position, scores) in (position..).zip(of_tokens) {
                        tables.note(class, position, scores[first as usize + head]);
                    }
                }
            }
        })
    }

    /// Submits a block of several tokens.
    fn submit_block(&self, device: &Device, tokens: usize, read: Read) -> Result<()> {
        let (s, programs) = (&self.scratch, prepared(&self.programs)?);
        let row = 4 * u64::from(s.widths.d);
        let submits = self.submits(tokens, programs);
        for share in 0..submits {
            let commands = device.commands(|encoder| {
                programs.block.encode_share(share, submits, device, encoder, tokens as u32, 1);
                if share + 1 == submits && read != Read::Nothing {
                    let from = row * (tokens as u64 - 1);
                    encoder.copy_buffer_to_buffer(&s.h, from, &s.last, 0, row);
                    programs.last_head.encode(device, encoder, 1, 1);
                    read.fetch(s, encoder);
                }
                if share + 1 == submits {
                    fetch_scores(tokens, s, encoder);
                }
            })?;
            device.submit([commands])?;
        }
        Ok(())
    }

    /// Logits of every token of the last computed block, a few at a time.
    fn all_logits(&mut self, tokens: usize, sink: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let device = shared.device();
        let (s, programs) = (&self.scratch, prepared(&self.programs)?);
        let vocab = shared.model.spec().vocab;
        let (row, logits) = (4 * u64::from(s.widths.d), 4 * u64::from(s.widths.vocab));
        for first in (0..tokens).step_by(s.logit_rows) {
            let count = s.logit_rows.min(tokens - first);
            let mut arena = Arena::new(Vec::new());
            arena.begin(count, Split::WHOLE);
            let commands = device.commands(|encoder| {
                let words = bytemuck::cast_slice(arena.words());
                device.queue.write_buffer(&s.logit_arena, 0, words);
                let (from, bytes) = (row * first as u64, row * count as u64);
                encoder.copy_buffer_to_buffer(&s.h, from, &s.last, 0, bytes);
                programs.rows_head.encode(device, encoder, count as u32, 1);
                let bytes = logits * count as u64;
                encoder.copy_buffer_to_buffer(&s.logits, 0, &s.staging, 0, bytes);
            })?;
            device.submit([commands])?;
            device.read(&s.staging, logits * count as u64, |bytes| {
                for (i, row) in bytes.chunks_exact(logits as usize).enumerate() {
                    let row: &[f32] = bytemuck::cast_slice(row);
                    sink(first + i, &row[..vocab]);
                }
            })?;
            self.last_row = Some(count - 1);
        }
        Ok(())
    }
}

/// What [`Sequence::prepare`] has ensured.
fn prepared(programs: &Option<Recorded>) -> Result<&Programs> {
    programs.as_ref().map(|recorded| &recorded.programs).ok_or(Error::Poisoned)
}

fn programs(
    shared: &Shared,
    scratch: &Scratch,
    memory: &Memory,
    tables: &Tables,
) -> Result<Programs> {
    let layout = tables.layout();
    let layers = 0..layout.layers().len();
    let schedules: Vec<usize> =
        layers.map(|layer| tables.of_class()[layout.classes_of(layer).start]).collect();
    Programs::new(&Parts {
        device: shared.device(),
        pipelines: shared.pipelines(),
        spec: shared.model.spec(),
        weights: &shared.weights,
        scratch,
        memory,
        schedules: &schedules,
    })
}

impl State for Sequence {
    fn forward(
        &mut self,
        tokens: &[u32],
        want: Want,
        sink: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<()> {
        self.prepare(tokens)?;
        let Some(last) = tokens.len().checked_sub(1) else { return Ok(()) };
        self.guarded(|this| match want {
            Want::Nothing => {
                this.block(tokens, Read::Nothing)?;
                // One block at a time: cancellation takes effect before the next.
                this.shared.device().wait()
            }
            Want::Last => {
                let bytes = 4 * this.shared.model.spec().vocab as u64;
                this.block(tokens, Read::Logits(bytes))?;
                let device = this.shared.device();
                device.read(&this.scratch.staging, bytes, |bytes| {
                    sink(last, bytemuck::cast_slice(bytes));
                })
            }
            Want::All => {
                this.block(tokens, Read::Nothing)?;
                this.all_logits(tokens.len(), sink)
            }
        })
    }

    fn forward_top(&mut self, tokens: &[u32], top: &mut Vec<Candidate>) -> Result<()> {
        self.prepare(tokens)?;
        top.clear();
        if tokens.is_empty() {
            return Ok(());
        }
        self.guarded(|this| {
            this.block(tokens, Read::Candidates)?;
            let device = this.shared.device();
            device.read(&this.scratch.staging, 8 * TOP as u64, |bytes| {
                for pair in bytes.as_chunks::<8>().0 {
                    let [token, logit]: [u32; 2] = bytemuck::cast(*pair);
                    if (token as usize) < this.shared.model.spec().vocab {
                        top.push(Candidate { token, logit: f32::from_bits(logit) });
                    }
                }
            })
        })
    }

    fn last_logits(&mut self, logits: &mut Vec<f32>) -> Result<()> {
        self.check()?;
        logits.clear();
        let position = self.tables.position();
        let row = self.last_row.ok_or(Error::NoLogits { position })?;
        let s = &self.scratch;
        let device = self.shared.device();
        let from = 4 * row as u64 * u64::from(s.widths.vocab);
        let bytes = 4 * self.shared.model.spec().vocab as u64;
        let commands = device.commands(|encoder| {
            encoder.copy_buffer_to_buffer(&s.logits, from, &s.staging, 0, bytes);
        })?;
        device.submit([commands])?;
        device.read(&s.staging, bytes, |bytes| {
            logits.extend_from_slice(bytemuck::cast_slice(bytes));
        })
    }

    fn as_any(&mut self) -> &mut dyn std::any::Any {
        self
    }

    fn tables(&self) -> &Tables {
        &self.tables
    }

    fn set_plans(&mut self, plans: &[Plan]) -> Result<()> {
        self.tables.set_plans(plans)?;
        // Layers may share tables differently than before.
        self.programs = None;
        Ok(())
    }

    fn shrink(&mut self, rings: &[usize]) -> Result<()> {
        let mut tables = self.tables.clone();
        let remap = tables.shrink(rings)?;
        if *self.tables.layout() == remap.to {
            return Ok(());
        }
        self.memory = self.memory.shrunk(self.shared.device(), &remap)?;
        self.heads = self.memory.heads();
        self.tables = tables;
        // They hold the old buffers.
        self.programs = None;
        Ok(())
    }

    fn reset(&mut self) {
        // Nothing else to do: at position 0 no row is visible and every mixer starts from zero.
        self.tables.reset();
        self.last_row = None;
        self.poisoned = false;
    }

    fn export(&mut self, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.check()?;
        self.memory.export(self.shared.device(), &self.tables, sink)
    }

    fn import(
        &mut self,
        saved: Saved,
        source: &mut dyn FnMut(&mut [u8]) -> Result<()>,
    ) -> Result<()> {
        let tables = saved.into_tables(&self.tables)?;
        let taken = self.memory.import(self.shared.device(), &tables, source);
        self.tables = tables;
        self.last_row = None;
        self.programs = None;
        match &taken {
            Ok(()) => self.poisoned = false,
            Err(_) => self.reset(),
        }
        taken
    }

    fn state_bytes(&self) -> u64 {
        self.memory.bytes()
    }

    fn scratch_bytes(&self) -> u64 {
        let on_host = 4 * (self.embedded.capacity() + self.arena.capacity())
            + size_of::<KvHead>() * self.heads.len();
        self.scratch.bytes() + (on_host + self.tables.bytes()) as u64
    }
}
