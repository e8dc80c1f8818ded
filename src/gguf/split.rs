//! Models in several files, as `llama-gguf-split` makes them: `NAME-00001-of-00003.gguf` has the
//! metadata, and each file a share of the tensors.

use super::Gguf;
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// The keys that say which part of a model a file is.
const KEYS: [&str; 3] = ["split.no", "split.count", "split.tensors.count"];

impl Gguf {
    /// Which part of how many this file is, counted from 1, unless it is whole.
    ///
    /// # Errors
    /// [`Error::Model`] if a key is no number.
    pub(crate) fn part(&self) -> Result<Option<[u32; 2]>> {
        Ok(match self.u32("split.count")? {
            Some(count @ 2..) => {
                Some([self.u32("split.no")?.unwrap_or(0).saturating_add(1), count])
            }
            _ => None,
        })
    }

    /// This file at `path` with the tensors of the parts beside it, which `open` opens, if it is
    /// the first of several.
    ///
    /// # Errors
    /// Those of `open`; [`Error::Gguf`] if the file is another part or the parts don't fit together.
    pub(super) fn with_parts(
        mut self,
        path: &Path,
        open: &dyn Fn(&Path) -> Result<Gguf>,
    ) -> Result<Gguf> {
        let Some([number, count]) = self.part()? else { return Ok(self) };
        let wrong = |path: &Path, text: String| Err(Error::gguf(path.display().to_string(), text));
        let Some(first) = beside(path, number, count, 1) else {
            // Under another name it may still be inspected.
            return Ok(self);
        };
        if number != 1 {
            let first = first.display();
            return wrong(path, format!("is part {number} of {count}; open the first, {first}"));
        }
        for next in 2..=count {
            let Some(path) = beside(path, 1, count, next) else { return Ok(self) };
            let part = open(&path)?;
            if part.part()? != Some([next, count]) {
                return wrong(&path, format!("is not part {next} of {count}"));
            }
            self.take(part)?;
        }
        let (found, expected) = (self.tensors.len(), self.u32("split.tensors.count")?);
        if let Some(expected) = expected.filter(|&n| n as usize != found) {
            return wrong(path, format!("has {found} tensors in {count} parts, not {expected}"));
        }
        // What was a part is now the whole.
        self.metadata.retain(|entry| !KEYS.contains(&entry.key.as_str()));
        let keys = self.metadata.iter().enumerate();
        self.by_key = keys.map(|(index, entry)| (entry.key.clone(), index)).collect();
        Ok(self)
    }

    /// Takes the tensors of another part.
    fn take(&mut self, part: Gguf) -> Result<()> {
        let source = self.sources.len();
        self.sources.extend(part.sources);
        for tensor in part.tensors {
            let name = tensor.name.clone();
            if self.by_name.insert(name.clone(), self.tensors.len()).is_some() {
                return Err(Error::gguf(format!("tensor {name}"), "occurs in two parts"));
            }
            self.tensors.push(super::tensor::TensorEntry { source, ..tensor });
        }
        Ok(())
    }
}

/// The path of part `other`, given that of part `number` of `count`, if it is named like one.
fn beside(path: &Path, number: u32, count: u32, other: u32) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let base = name.strip_suffix(&format!("-{number:05}-of-{count:05}.gguf"))?;
    Some(path.with_file_name(format!("{base}-{other:05}-of-{count:05}.gguf")))
}
