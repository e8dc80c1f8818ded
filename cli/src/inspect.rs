//! `attamba inspect`: what a GGUF file contains, and what it will cost to run.

use crate::common::{self, MemoryArgs, ModelArgs, printable, size};
use crate::finite;
use anyhow::Result;
use attamba::KvType;
use attamba::gguf::{Gguf, Tensor, Value};
use attamba::memory::Growth;
use attamba::model::Model;
use attamba::quant::type_name;
use attamba::session::{Heads, Options};
use attamba::text::Tokenizer;
use serde::Serialize;
use serde_json::{Map, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Show what a model file contains and what a session of it costs
///
/// The memory is that of a session with the given --budget, --ring and --kv, and so is how far its
/// heads see. For an Attamba model
/// it is shown next to that of a transformer of the same dimensions that remembers every token of
/// the same context.
///
/// Any GGUF file can be inspected; if its model can't be run, the reason is shown.
///
/// Example: attamba inspect model.gguf --tensors
#[derive(clap::Args)]
pub struct Args {
    /// Model file [default: as -m]
    #[arg(value_name = "MODEL", conflicts_with = "model")]
    file: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    /// List the tensors: name, shape (rows first), type, bytes
    #[arg(long)]
    tensors: bool,
    /// List the metadata; long values are truncated, except with --json
    #[arg(long)]
    metadata: bool,
    /// Also read all weights, and name tensors with values that are not numbers
    #[arg(long)]
    values: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    memory: MemoryArgs,
}

#[derive(Serialize)]
struct Report {
    file: String,
    bytes: usize,
    gguf_version: u32,
    name: Option<String>,
    architecture: Option<String>,
    /// Whether this runtime can run it, and if not, why.
    runs: bool,
    reason: Option<String>,
    parameters: u64,
    tensor_count: usize,
    types: Vec<TypeReport>,
    sizes: Option<Sizes>,
    /// Sliding windows that some layers have, whatever the session's memory.
    windows: Vec<WindowReport>,
    chunks: Option<Chunks>,
    tokenizer: TokenizerReport,
    chat_template: bool,
    session: Option<SessionReport>,
}

/// The tensors of one type.
#[derive(Serialize)]
struct TypeReport {
    r#type: String,
    tensors: usize,
    bytes: u64,
}

#[derive(Serialize)]
struct Sizes {
    layers: usize,
    width: usize,
    feed_forward: usize,
    heads: usize,
    kv_heads: usize,
    head_width: usize,
    vocabulary: usize,
    context: usize,
}

/// The layers that see a sliding window of so many tokens.
#[derive(Serialize)]
struct WindowReport {
    tokens: usize,
    layers: Vec<usize>,
}

#[derive(Serialize)]
struct Chunks {
    length: usize,
    window: usize,
    offsets: Vec<usize>,
    carry_state: bool,
    projected_kv: bool,
    mixer_width: usize,
    mixer_state: usize,
    mixer_heads: usize,
    mixer_groups: usize,
    convolution: usize,
}

#[derive(Serialize)]
struct TokenizerReport {
    kind: Option<String>,
    entries: Option<usize>,
    /// Why it can't be used.
    reason: Option<String>,
}

#[derive(Serialize)]
struct SessionReport {
    /// How far which heads see.
    sees: String,
    state_bytes: u64,
    /// The heads that see far, if not all are alike.
    far: Option<HeadsReport>,
    /// The others.
    near: HeadsReport,
    /// For a transformer of the same dimensions at the training context, keys and values in F16.
    transformer_bytes: Option<u64>,
}

/// KV heads that see equally far.
#[derive(Serialize)]
struct HeadsReport {
    heads: usize,
    tokens: u64,
    states: usize,
    kv: String,
}

pub fn run(args: Args) -> Result<()> {
    let path = match &args.file {
        Some(path) => path.clone(),
        None => args.model.path()?,
    };
    let model = args.model.file.model(&path);
    let other;
    let gguf = match &model {
        Ok(model) => model.gguf(),
        // What can't be run can still be inspected.
        Err(_) => {
            other = args.model.file.gguf(&path)?;
            &other
        }
    };
    let options = args.memory.options();
    let report = Report::new(&path, gguf, &model, options)?;
    let damaged = if args.values { Some(damaged(gguf)?) } else { None };
    let mut out = std::io::stdout().lock();
    if args.json {
        let mut whole = serde_json::to_value(&report)?;
        if let Some(damaged) = &damaged {
            whole["not_numbers"] = damaged.iter().map(|(name, _)| name.clone()).collect();
        }
        if args.tensors {
            whole["tensors"] = gguf.tensors().map(tensor_json).collect();
        }
        if args.metadata {
            let entries = gguf.metadata().map(|(key, value)| (key.to_owned(), value_json(value)));
            whole["metadata"] = entries.collect::<Map<_, _>>().into();
        }
        writeln!(out, "{}", serde_json::to_string_pretty(&whole)?)?;
    } else {
        report.write(&mut out)?;
        match damaged.as_deref() {
            None => {}
            Some([]) => writeln!(out, "values        all are numbers")?,
            Some(damaged) => {
                for (name, value) in damaged {
                    writeln!(out, "values        {} contains {value}", printable(name))?;
                }
            }
        }
        if args.metadata {
            writeln!(out, "\nmetadata:")?;
            for (key, value) in gguf.metadata() {
                writeln!(out, "  {} = {}", printable(key), shortened(value))?;
            }
        }
        if args.tensors {
            write_tensors(&mut out, gguf)?;
        }
    }
    Ok(out.flush()?)
}

/// Tensors with values that are not numbers, and the first such value.
fn damaged(gguf: &Gguf) -> Result<Vec<(String, f32)>> {
    let mut found = Vec::new();
    for tensor in gguf.tensors() {
        if let Some(value) = finite::first_that_is_not(tensor)? {
            found.push((tensor.name().to_owned(), value));
        }
    }
    Ok(found)
}

impl Report {
    fn new(
        path: &Path,
        gguf: &Gguf,
        model: &attamba::Result<Model>,
        options: Options,
    ) -> Result<Report> {
        // The file's own description is shown if it is text; if it isn't, that is not a failure.
        let text = |key| common::text(gguf, key).map(str::to_owned);
        let sound = model.as_ref().ok();
        Ok(Report {
            file: path.display().to_string(),
            bytes: gguf.file_bytes(),
            gguf_version: gguf.version(),
            name: text("general.name"),
            architecture: text("general.architecture"),
            runs: sound.is_some(),
            reason: model.as_ref().err().map(ToString::to_string),
            parameters: gguf.tensors().map(Tensor::len).sum(),
            tensor_count: gguf.tensors().len(),
            types: types(gguf),
            sizes: sound.map(Sizes::new),
            windows: sound.map(windows).unwrap_or_default(),
            chunks: sound.and_then(Chunks::new),
            tokenizer: TokenizerReport::new(gguf),
            chat_template: gguf.get("tokenizer.chat_template").is_some(),
            session: sound.map(|model| SessionReport::new(model, options)).transpose()?,
        })
    }

    fn write(&self, out: &mut impl Write) -> Result<()> {
        let absent = || "not given".to_owned();
        let printed = |text: &Option<String>| text.as_deref().map_or_else(absent, printable);
        writeln!(out, "file          {}, {}", self.file, size(self.bytes as u64))?;
        writeln!(out, "format        GGUF version {}", self.gguf_version)?;
        writeln!(out, "name          {}", printed(&self.name))?;
        writeln!(out, "architecture  {}", printed(&self.architecture))?;
        match &self.reason {
            None => writeln!(out, "runs          yes")?,
            Some(reason) => writeln!(out, "runs          no: {}", printable(reason))?,
        }
        writeln!(out, "parameters    {} in {} tensors", count(self.parameters), self.tensor_count)?;
        for t in &self.types {
            let bytes = size(t.bytes);
            writeln!(out, "  {:<10}  {bytes} in {} tensors", t.r#type, t.tensors)?;
        }
        if let Some(s) = &self.sizes {
            writeln!(
                out,
                "sizes         {} layers of width {}, feed-forward {}, {} heads of {} ({} for keys \
                 and values), vocabulary {}, context {}",
                s.layers,
                s.width,
                s.feed_forward,
                s.heads,
                s.head_width,
                s.kv_heads,
                s.vocabulary,
                s.context
            )?;
        }
        for WindowReport { tokens, layers } in &self.windows {
            writeln!(out, "window        the last {tokens} tokens in layers {}", ranges(layers))?;
        }
        if let Some(c) = &self.chunks {
            let carry = if c.carry_state { "carried over" } else { "reset" };
            let keys = if c.projected_kv { "projected" } else { "of the embedding itself" };
            writeln!(out, "chunks        {} tokens, window {}", c.length, c.window)?;
            writeln!(out, "  offsets     {:?}", c.offsets)?;
            writeln!(out, "  state       {carry} at a boundary; keys and values {keys}")?;
            writeln!(
                out,
                "  mixers      width {}, state {}, {} heads in {} groups, convolution over {}",
                c.mixer_width, c.mixer_state, c.mixer_heads, c.mixer_groups, c.convolution
            )?;
        }
        let t = &self.tokenizer;
        let kind = printed(&t.kind);
        match (&t.entries, &t.reason) {
            (Some(entries), _) => writeln!(out, "tokenizer     {kind}, {entries} entries")?,
            (None, Some(reason)) => {
                writeln!(out, "tokenizer     {kind}, can't be used: {}", printable(reason))?;
            }
            (None, None) => writeln!(out, "tokenizer     none")?,
        }
        writeln!(out, "template      {}", if self.chat_template { "yes" } else { "no" })?;
        if let Some(s) = &self.session {
            writeln!(out, "session       {}", s.sees)?;
            let HeadsReport { states, kv, .. } = &s.near;
            match &s.far {
                None => writeln!(out, "  rings       {states} states in {kv}")?,
                Some(far) => writeln!(
                    out,
                    "  rings       {} states in {} of heads that see far, {states} in {kv} of others",
                    far.states, far.kv
                )?,
            }
            if let (Some(bytes), Some(sizes)) = (s.transformer_bytes, &self.sizes) {
                writeln!(
                    out,
                    "  transformer {} of keys and values with the same dimensions at {} tokens",
                    size(bytes),
                    sizes.context
                )?;
            }
        }
        Ok(())
    }
}

impl Sizes {
    fn new(model: &Model) -> Sizes {
        let sizes = model.sizes();
        Sizes {
            layers: sizes.layers,
            width: sizes.width,
            feed_forward: sizes.feed_forward,
            heads: sizes.heads,
            kv_heads: sizes.kv_heads,
            head_width: sizes.head_width,
            vocabulary: sizes.vocab,
            context: sizes.context,
        }
    }
}

impl Chunks {
    fn new(model: &Model) -> Option<Chunks> {
        let mixers = model.mixers()?;
        Some(Chunks {
            length: model.chunk(),
            window: model.window(),
            offsets: model.chunk_offsets().to_vec(),
            carry_state: model.carries_state(),
            projected_kv: mixers.projected,
            mixer_width: mixers.width,
            mixer_state: mixers.state,
            mixer_heads: mixers.heads,
            mixer_groups: mixers.groups,
            convolution: mixers.convolution,
        })
    }
}

impl TokenizerReport {
    fn new(gguf: &Gguf) -> TokenizerReport {
        // A key of the wrong type is an error of the tokenizer, which names it.
        let text = |key| common::text(gguf, key);
        let kind = match (text("tokenizer.ggml.model"), text("tokenizer.ggml.pre")) {
            _ if gguf.get("tokenizer.huggingface.json").is_some() => "tokenizer.json".to_owned(),
            (Some(model), Some(pre)) => format!("{model}, {pre}"),
            (Some(model), None) => model.to_owned(),
            (None, _) => return TokenizerReport { kind: None, entries: None, reason: None },
        };
        let tokenizer = Tokenizer::from_gguf(gguf);
        TokenizerReport {
            kind: Some(kind),
            entries: tokenizer.as_ref().ok().map(Tokenizer::vocab_size),
            reason: tokenizer.err().map(|e| e.to_string()),
        }
    }
}

impl SessionReport {
    fn new(model: &Model, options: Options) -> Result<SessionReport> {
        let reach = options.reach(model)?;
        let transformer_bytes = match model.is_transformer() {
            true => None,
            false => {
                let context = model.sizes().context as u64;
                Some(Growth::transformer(model, KvType::F16)?.state_bytes(context))
            }
        };
        Ok(SessionReport {
            sees: reach.to_string(),
            state_bytes: reach.bytes,
            far: reach.far.map(HeadsReport::new),
            near: HeadsReport::new(reach.near),
            transformer_bytes,
        })
    }
}

impl HeadsReport {
    fn new(of: Heads) -> HeadsReport {
        let Heads { count, tokens, states, kv, .. } = of;
        HeadsReport { heads: count, tokens, states, kv: kv.to_string() }
    }
}

/// The layers with sliding windows, the shortest first.
fn windows(model: &Model) -> Vec<WindowReport> {
    let mut windows = BTreeMap::<usize, Vec<usize>>::new();
    for head in model.kv_heads().filter(|head| head.head == 0) {
        if let Some(tokens) = head.window {
            windows.entry(tokens).or_default().push(head.layer);
        }
    }
    windows.into_iter().map(|(tokens, layers)| WindowReport { tokens, layers }).collect()
}

/// Ascending numbers, neighbors as a range: `0-4, 6`.
fn ranges(numbers: &[usize]) -> String {
    let neighbors = numbers.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [first, .., last] => format!("{first}-{last}"),
        _ => run.iter().map(usize::to_string).collect(),
    });
    neighbors.collect::<Vec<_>>().join(", ")
}

/// Tensors and bytes of each type, ordered by type number.
fn types(gguf: &Gguf) -> Vec<TypeReport> {
    let mut ids: Vec<u32> = gguf.tensors().map(|t| t.type_id()).collect();
    ids.sort_unstable();
    ids.dedup();
    let of = |id: u32| {
        let same = || gguf.tensors().filter(|t| t.type_id() == id);
        TypeReport {
            r#type: type_name(id),
            tensors: same().count(),
            bytes: same().map(|t| t.data().len() as u64).sum(),
        }
    };
    ids.into_iter().map(of).collect()
}

fn write_tensors(out: &mut impl Write, gguf: &Gguf) -> Result<()> {
    writeln!(out, "\ntensors:")?;
    let widest = gguf.tensors().map(|t| t.name().chars().count()).max().unwrap_or(0).min(48);
    for t in gguf.tensors() {
        let shape: Vec<String> = t.dims().iter().rev().map(u64::to_string).collect();
        writeln!(
            out,
            "  {:<widest$}  {:>16}  {:<7} {:>12}",
            printable(t.name()),
            format!("[{}]", shape.join(", ")),
            type_name(t.type_id()),
            t.data().len()
        )?;
    }
    Ok(())
}

fn tensor_json(t: Tensor) -> serde_json::Value {
    let shape: Vec<u64> = t.dims().iter().rev().copied().collect();
    let bytes = t.data().len();
    json!({ "name": t.name(), "shape": shape, "type": type_name(t.type_id()), "bytes": bytes })
}

fn value_json(value: Value) -> serde_json::Value {
    match value {
        Value::Bool(b) => b.into(),
        Value::String(bytes) => String::from_utf8_lossy(bytes).into(),
        Value::Array(array) => array.iter().map(value_json).collect(),
        Value::F32(x) => x.into(),
        Value::F64(x) => x.into(),
        Value::Int(x) => u64::try_from(x).map_or_else(|_| i64::try_from(x).ok().into(), Into::into),
        _ => serde_json::Value::Null,
    }
}

/// A value on one line that fits a screen.
fn shortened(value: Value) -> String {
    const SHOWN: usize = 160;
    let (text, length) = match value {
        Value::String(bytes) => {
            let start = &bytes[..bytes.len().min(4 * SHOWN)];
            (format!("{:?}", String::from_utf8_lossy(start)), Some(bytes.len()))
        }
        other => (printable(&other.to_string()), None),
    };
    match (text.char_indices().nth(SHOWN), length) {
        (None, _) => text,
        (Some((at, _)), Some(bytes)) => format!("{}… {bytes} bytes in all", &text[..at]),
        (Some((at, _)), None) => format!("{}…", &text[..at]),
    }
}

/// A human-readable count: 134.5 M.
fn count(n: u64) -> String {
    match n as f64 {
        x if x >= 1e9 => format!("{:.2} G", x / 1e9),
        x if x >= 1e6 => format!("{:.1} M", x / 1e6),
        x if x >= 1e3 => format!("{:.1} k", x / 1e3),
        _ => n.to_string(),
    }
}
