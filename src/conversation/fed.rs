//! The text that a session has processed. It is shared with the session's history instead of being
//! copied at every turn: a chat may be long.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub(super) struct Fed {
    text: Arc<Mutex<String>>,
    /// Where the last answer begins, if it ends the text.
    answer: Option<usize>,
}

/// The first bytes of a text that may have grown since.
pub(super) struct Beginning {
    text: Arc<Mutex<String>>,
    bytes: usize,
}

impl Fed {
    pub fn new(text: String) -> Fed {
        Fed { text: Arc::new(Mutex::new(text)), answer: None }
    }

    fn text(&self) -> MutexGuard<'_, String> {
        lock(&self.text)
    }

    /// Bytes of text.
    pub fn len(&self) -> usize {
        self.text().len()
    }

    pub fn is_empty(&self) -> bool {
        self.text().is_empty()
    }

    /// A copy.
    pub fn whole(&self) -> String {
        self.text().clone()
    }

    /// The last answer, if it ends the text.
    pub fn answer(&self) -> Option<String> {
        self.text().get(self.answer?..).map(str::to_owned)
    }

    /// Appends what leads to an answer.
    pub fn push(&mut self, text: &str) {
        self.text().push_str(text);
        self.answer = None;
    }

    /// Appends an answer.
    pub fn push_answer(&mut self, text: &str) {
        self.answer = Some(self.len());
        self.text().push_str(text);
    }

    /// Back to the first bytes.
    pub fn truncate(&mut self, bytes: usize) {
        self.text().truncate(bytes);
        self.answer = None;
    }

    /// As it is now.
    pub fn beginning(&self) -> Beginning {
        Beginning { text: Arc::clone(&self.text), bytes: self.len() }
    }
}

impl Beginning {
    /// A copy.
    pub fn whole(&self) -> String {
        let text = lock(&self.text);
        text.get(..self.bytes).unwrap_or(&text).to_owned()
    }
}

/// A text is changed in one step: one left by a panic is as good.
fn lock(text: &Mutex<String>) -> MutexGuard<'_, String> {
    text.lock().unwrap_or_else(PoisonError::into_inner)
}
