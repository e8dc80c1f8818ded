//! What the file of a model recommends for sampling.

use super::options::Sampling;
use crate::error::{Error, Result};
use crate::gguf::Gguf;
use crate::model::Model;

impl Sampling {
    /// With what the model's file recommends in place of the values here. The keys are those of
    /// llama.cpp: `general.sampling.` and `temp`, `top_k`, `top_p`, `min_p`, `xtc_probability`,
    /// `xtc_threshold`, `penalty_last_n` (negative for the training context) and `penalty_repeat`;
    /// others are ignored.
    ///
    /// # Errors
    /// [`Error::Model`] with the key or the parameter, if a value is not a number or is out of range.
    pub fn recommended_by(self, model: &Model) -> Result<Sampling> {
        self.recommended_in(model.gguf(), model.sizes().context)
    }

    fn recommended_in(mut self, file: &Gguf, context: usize) -> Result<Sampling> {
        let recommended = |name: &str| file.f32(&format!("general.sampling.{name}"));
        for (name, field) in [
            ("temp", &mut self.temperature),
            ("top_p", &mut self.top_p),
            ("min_p", &mut self.min_p),
            ("xtc_probability", &mut self.xtc_probability),
            ("xtc_threshold", &mut self.xtc_threshold),
            ("penalty_repeat", &mut self.repeat_penalty),
        ] {
            *field = recommended(name)?.unwrap_or(*field);
        }
        if let Some(k) = recommended("top_k")? {
            // Saturates: a negative number keeps all, as 0 does.
            self.top_k = k as usize;
        }
        if let Some(last) = recommended("penalty_last_n")? {
            self.repeat_last = if last < 0.0 { context } else { last as usize };
        }
        match self.check() {
            Ok(()) => Ok(self),
            Err(Error::Argument(wrong)) => {
                let what = format!("general.sampling, which recommends sampling: {}", wrong.what);
                Err(Error::model(what, wrong.problem))
            }
            Err(other) => Err(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::Writer;

    /// What a file makes of the default, with these keys or what else is written.
    fn recommended(keys: &[(&str, f32)], write: impl Fn(&mut Writer)) -> Result<Sampling> {
        let mut writer = Writer::new("test");
        for (key, value) in keys {
            writer.set(&format!("general.sampling.{key}"), *value);
        }
        write(&mut writer);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recommends.gguf");
        writer.write_file(&path, |_, _| Ok(())).unwrap();
        Sampling::default().recommended_in(&Gguf::read(path).unwrap(), 2048)
    }

    #[test]
    fn what_is_recommended_replaces_the_default_and_nothing_else_does() {
        let found =
            recommended(&[("temp", 0.25), ("penalty_last_n", -1.0), ("mirostat", 2.0)], |w| {
                w.set("general.sampling.top_k", 20);
            });
        let expected =
            Sampling { temperature: 0.25, top_k: 20, repeat_last: 2048, ..Sampling::default() };
        assert_eq!(found.unwrap(), expected);
        assert_eq!(recommended(&[], |_| ()).unwrap(), Sampling::default());
        assert_eq!(recommended(&[("top_k", -1.0)], |_| ()).unwrap().top_k, 0);
    }

    #[test]
    fn what_is_out_of_range_or_no_number_is_refused_by_name() {
        let message = recommended(&[("top_p", 1.5)], |_| ()).unwrap_err().to_string();
        assert!(message.contains("top_p is 1.5; it must be between 0 and 1"), "{message}");
        let hot = recommended(&[], |w| w.set("general.sampling.temp", "hot"));
        let message = hot.unwrap_err().to_string();
        assert!(message.contains("general.sampling.temp"), "{message}");
    }
}
