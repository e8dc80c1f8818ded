//! Models in several files.

mod common;

use attamba::gguf::Gguf;
use attamba::session::{Budget, Options, Session};
use attamba::{Engine, EngineOptions, Model};
use common::models::{File, Meta, Numbers, Sizes};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const PARTS: usize = 3;

fn whole() -> File {
    Sizes { architecture: "llama", layers: 3, ..Sizes::default() }.file(4)
}

fn path(folder: &Path, part: usize) -> PathBuf {
    folder.join(format!("model-{:05}-of-{PARTS:05}.gguf", part + 1))
}

/// Writes the parts of the whole, as `change` leaves them, and returns the path of the first.
fn write(folder: &Path, change: impl Fn(usize, &mut File)) -> PathBuf {
    let whole = whole();
    let of_part = whole.tensors.len().div_ceil(PARTS);
    for (part, tensors) in whole.tensors.chunks(of_part).enumerate() {
        let mut file = File { metadata: Vec::new(), tensors: tensors.to_vec() };
        if part == 0 {
            file.metadata.clone_from(&whole.metadata);
        }
        file.set("split.no", Meta::U32(part as u32));
        file.set("split.count", Meta::U32(PARTS as u32));
        file.set("split.tensors.count", Meta::I32(whole.tensors.len() as i32));
        change(part, &mut file);
        std::fs::write(path(folder, part), file.bytes()).unwrap();
    }
    path(folder, 0)
}

fn session(model: Model) -> Session {
    let options = EngineOptions::default().with_threads(1);
    let engine = Engine::cpu(Arc::new(model), &options).unwrap();
    Session::open(&engine, Options::default().with_budget(Budget::States(20))).unwrap()
}

#[test]
fn parts_open_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let first = write(folder.path(), |_, _| {});
    let one = folder.path().join("whole.gguf");
    std::fs::write(&one, whole().bytes()).unwrap();
    let tokens = Numbers::new(3).tokens(30, Sizes::default().vocab);
    let mut want = session(Model::read(&one).unwrap());
    want.feed(&tokens).unwrap();
    // SAFETY: nobody writes to the files.
    for model in [Model::read(&first).unwrap(), unsafe { Model::map(&first) }.unwrap()] {
        assert!(model.gguf().metadata().all(|(key, _)| !key.starts_with("split.")));
        let sizes = (0..PARTS).map(|part| std::fs::metadata(path(folder.path(), part)).unwrap());
        assert_eq!(model.gguf().file_bytes() as u64, sizes.map(|file| file.len()).sum::<u64>());
        let mut read = (0, 0);
        model
            .preload(&mut |done, all| {
                read = (done, all);
                true
            })
            .unwrap();
        assert_eq!(read, (model.gguf().file_bytes() as u64, model.gguf().file_bytes() as u64));
        let mut got = session(model);
        got.feed(&tokens).unwrap();
        assert_eq!(got.logits().unwrap(), want.logits().unwrap());
        // It is the same model: what was saved with the whole goes on with the parts.
        let saved = folder.path().join("session");
        want.save(&saved, b"").unwrap();
        let (mut resumed, _) = Session::resume(got.engine(), &saved).unwrap();
        assert_eq!(resumed.position(), want.position());
        resumed.feed(&[1]).unwrap();
    }
}

#[test]
fn parts_that_do_not_fit_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |file: &Path, words: &[&str]| {
        let error = Gguf::read(file).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{words:?} in {error}");
    };
    let first = write(folder.path(), |_, _| {});
    let [second, third] = [1, 2].map(|part| path(folder.path(), part));
    refused(&second, &["-00002-of-", "part 2 of 3", "model-00001-of-00003.gguf"]);
    std::fs::copy(&second, &third).unwrap();
    refused(&first, &["model-00003-of-00003.gguf", "not part 3 of 3"]);
    std::fs::remove_file(&third).unwrap();
    refused(&first, &["model-00003-of-00003.gguf"]);
    write(folder.path(), |part, file| {
        if part == 2 {
            file.tensors.push(whole().tensors.swap_remove(0));
        }
    });
    refused(&first, &[&whole().tensors[0].name, "two parts"]);
    write(folder.path(), |part, file| {
        if part == 2 {
            file.tensors.pop();
        }
    });
    let count = whole().tensors.len();
    refused(&first, &[&format!("{} tensors in 3 parts, not {count}", count - 1)]);
    // Under another name a part can be inspected, but it is no model.
    let other = folder.path().join("other.gguf");
    std::fs::rename(&second, &other).unwrap();
    assert!(Gguf::read(&other).unwrap().tensors().len() > 0);
    let error = Model::read(&other).unwrap_err().to_string();
    assert!(error.contains("part 2 of 3"), "{error}");
}
