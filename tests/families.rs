//! Public families: small random models of them, compared with the logits that `transformers`
//! computes. `families/families.py` makes the models and, where transformers is installed, judges
//! the logits that are kept beside it.

mod common;

use attamba::session::{Budget, Options, Session};
use attamba::{Engine, EngineOptions, KvType, Model};
use common::python::run_python;
use common::suite::{Error, Split, feed, read_floats};
use serde_json::Value;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Relative error allowed.
const BOUND: f64 = 1e-4;

/// A model of a family.
struct Case {
    name: String,
    tokens: Vec<u32>,
    /// `[tokens][vocab]`
    logits: Vec<f32>,
    /// Relative error of `spec/reference.py`.
    reference: f64,
    /// With matrices in F32 and in F16.
    models: [Arc<Model>; 2],
}

/// The models, made by the first test that needs them and kept for later runs.
fn cases() -> &'static [Case] {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    CASES.get_or_init(|| {
        let [script, spec] = ["tests/families/families.py", "spec/reference.py"]
            .map(|file| Path::new(env!("CARGO_MANIFEST_DIR")).join(file));
        let mut hasher = DefaultHasher::new();
        [&script, &spec].map(|file| std::fs::read(file).unwrap()).hash(&mut hasher);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("families-{:016x}", hasher.finish()));
        let list = folder.join("families.json");
        if !list.exists() {
            std::fs::create_dir_all(&folder).unwrap();
            run_python(
                "import runpy, sys; sys.argv = sys.argv[1:]; sys.dont_write_bytecode = True; \
                 runpy.run_path(sys.argv[0], run_name='__main__')",
                &[&script, Path::new("write"), &folder].map(|path| path.to_str().unwrap()),
            );
        }
        let cases: Value = serde_json::from_slice(&std::fs::read(list).unwrap()).unwrap();
        cases.as_array().unwrap().iter().map(|case| read(&folder, case)).collect()
    })
}

fn read(folder: &Path, case: &Value) -> Case {
    let name = case["name"].as_str().unwrap().to_owned();
    let tokens = case["tokens"].as_array().unwrap();
    Case {
        tokens: tokens.iter().map(|t| t.as_u64().unwrap() as u32).collect(),
        logits: read_floats(&PathBuf::from(case["logits"].as_str().unwrap())),
        reference: case["reference"].as_f64().unwrap(),
        models: ["F32", "F16"].map(|dtype| {
            let model = Model::read(folder.join(format!("{name}-{dtype}.gguf")));
            Arc::new(model.unwrap_or_else(|e| panic!("{name}: {e}")))
        }),
        name,
    }
}

fn case(name: &str) -> &'static Case {
    cases().iter().find(|case| case.name == name).unwrap_or_else(|| panic!("no case {name}"))
}

fn options() -> Options {
    Options::default().with_budget(Budget::States(64)).with_kv(KvType::F32)
}

fn engine(model: &Arc<Model>, threads: usize) -> Engine {
    Engine::cpu(Arc::clone(model), &EngineOptions::default().with_threads(threads)).unwrap()
}

impl Case {
    fn compare(&self, engine: &Engine, split: Split) {
        let got = feed(engine, options(), &self.tokens, split);
        let error = Error::of(&got, &self.logits, self.logits.len() / self.tokens.len());
        println!("{}, {split:?}: {error:?}", self.name);
        assert!(error.within(BOUND), "{}, {split:?}: {error:?}", self.name);
    }
}

fn cpu(name: &str) {
    let case = case(name);
    case.models.iter().for_each(|model| case.compare(&engine(model, 2), Split::Whole));
}

fn any_split(name: &str) {
    let case = case(name);
    let engine = engine(&case.models[0], 1);
    for split in [Split::Ones, Split::Blocks(7), Split::Pieces(3)] {
        case.compare(&engine, split);
    }
}

/// A session that is saved in the middle and goes on, on the same engine and on another.
fn save_and_resume(name: &str) {
    let case = case(name);
    let (first, rest) = case.tokens.split_at(case.tokens.len() / 2);
    let [before, after] = [1, 2].map(|threads| engine(&case.models[1], threads));
    let mut session = Session::open(&before, options()).unwrap();
    session.feed(first).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("session");
    session.save(&file, b"").unwrap();
    session.feed(rest).unwrap();
    for engine in [before, after] {
        let (mut resumed, _) = Session::resume(&engine, &file).unwrap();
        assert_eq!(resumed.position(), first.len() as u64);
        resumed.feed(rest).unwrap();
        assert_eq!(resumed.logits().unwrap(), session.logits().unwrap());
    }
}

fn reference(name: &str) {
    let error = case(name).reference;
    assert!(error < 1e-5, "{name}: {error}");
}

macro_rules! families {
    ($($name:ident)*) => {
        const TESTED: &[&str] = &[$(stringify!($name)),*];

        $(mod $name {
            #[test]
            fn reference() {
                super::reference(stringify!($name));
            }

            #[test]
            fn cpu() {
                super::cpu(stringify!($name));
            }

            #[test]
            fn any_split() {
                super::any_split(stringify!($name));
            }

            #[test]
            fn save_and_resume() {
                super::save_and_resume(stringify!($name));
            }

            #[test]
            #[cfg(feature = "gpu")]
            fn gpu() {
                super::gpu::any_split(stringify!($name));
            }
        })*
    };
}

families! {
    llama llama_biases llama_yarn llama_factors mistral gemma3 gemma3_linear granite phi3 phi3_long phi4_mini
    qwen2 qwen3 smollm3 exaone4 exaone4_windows
}

/// On the first adapter; without a GPU, a software Vulkan driver is enough.
#[cfg(feature = "gpu")]
mod gpu {
    use super::*;
    use attamba::Adapter;
    use attamba::internals::{self, Driver, Gpu, History, OrCpu};
    use attamba::memory::Estimate;
    use attamba::session::Snapshot;

    fn driver() -> Driver {
        Driver::open(&Adapter::find(None).unwrap(), &EngineOptions::default()).unwrap()
    }

    fn shared_driver() -> &'static Driver {
        static DRIVER: OnceLock<Driver> = OnceLock::new();
        DRIVER.get_or_init(driver)
    }

    pub fn any_split(name: &str) {
        let case = case(name);
        for model in &case.models {
            let gpu = Gpu::new(Arc::clone(model), shared_driver()).unwrap();
            let engine = internals::engine(gpu);
            for split in [Split::Whole, Split::Ones, Split::Pieces(5)] {
                case.compare(&engine, split);
            }
            let session = Session::open(&engine, options()).unwrap();
            let defaults = EngineOptions::default();
            let estimate = Estimate::gpu(model, &options(), &defaults).unwrap();
            assert_eq!(session.memory(), estimate.session);
        }
    }

    /// The tokens before a snapshot, and it.
    struct Kept(Vec<u32>, Snapshot);

    impl History for Kept {
        fn tokens(&self) -> attamba::Result<Vec<u32>> {
            Ok(self.0.clone())
        }

        fn snapshot(&self) -> Option<&Snapshot> {
            Some(&self.1)
        }
    }

    /// A budget in bytes, a snapshot, shrinking, a file, and the loss of the device: after each of
    /// them as on the CPU.
    fn session_features(name: &str) {
        // Rows of integers may be rounded otherwise.
        for (kv, bound) in [(KvType::F32, BOUND), (KvType::I8, 2e-2)] {
            with_type(name, kv, bound);
        }
    }

    fn with_type(name: &str, kv: KvType, bound: f64) {
        let options = options().with_kv(kv);
        let case = case(name);
        let model = &case.models[0];
        let driver = driver();
        let lossy = Gpu::new(Arc::clone(model), &driver).unwrap();
        let engines = [
            engine(model, 2),
            internals::engine(OrCpu::new(lossy, EngineOptions::default().with_threads(2))),
        ];
        let least = Estimate::cpu(model, &options.with_budget(Budget::States(3)), 2).unwrap();
        let budget = least.session.state + 4000;
        let options = options.with_budget(Budget::Bytes(budget));
        let mut sessions = engines.each_ref().map(|e| Session::open(e, options).unwrap());
        let compare = |sessions: &mut [Session; 2], moment: &str| {
            let [want, got] = sessions.each_mut().map(|s| s.logits().unwrap().to_vec());
            let error = Error::of(&got, &want, want.len());
            assert!(error.within(bound), "{name}, {kv}, {moment}: {error:?}");
            assert_eq!(sessions[0].memory().state, sessions[1].memory().state);
        };
        let feed = |sessions: &mut [Session; 2], tokens: &[u32]| {
            sessions.iter_mut().for_each(|session| session.feed(tokens).unwrap());
        };
        let (first, rest) = case.tokens.split_at(30);

        feed(&mut sessions, &case.tokens);
        feed(&mut sessions, first);
        compare(&mut sessions, "within a budget");
        let state = sessions[0].memory().state;
        assert!(state <= budget && state > least.session.state, "{state} of {budget}");

        let snapshots = sessions.each_mut().map(|session| session.snapshot().unwrap());
        feed(&mut sessions, rest);
        let logits = sessions.each_mut().map(|session| session.logits().unwrap().to_vec());
        for ((session, snapshot), logits) in sessions.iter_mut().zip(&snapshots).zip(&logits) {
            session.rewind(snapshot).unwrap();
            session.feed(rest).unwrap();
            assert_eq!(session.logits().unwrap(), logits, "{name}, after a rewind");
        }
        compare(&mut sessions, "after a rewind");

        sessions.iter_mut().for_each(|session| session.shrink(least.session.state).unwrap());
        feed(&mut sessions, first);
        compare(&mut sessions, "after shrinking");
        assert_eq!(sessions[0].memory().state, least.session.state);

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("session");
        sessions[1].save(&file, b"").unwrap();
        let (mut resumed, _) = Session::resume(&engines[0], &file).unwrap();
        resumed.feed(rest).unwrap();
        let before = sessions[1].snapshot().unwrap();
        internals::set_history(&mut sessions[1], Kept(first.to_vec(), before));
        driver.lose();
        feed(&mut sessions, rest);
        assert!(sessions[1].engine().describe().starts_with("CPU"));
        compare(&mut sessions, "after the GPU was lost");
        assert_eq!(resumed.logits().unwrap(), sessions[1].logits().unwrap(), "{name}, from a file");
    }

    /// Layers with windows, and layers without.
    #[test]
    fn session_features_of_gemma3() {
        session_features("gemma3");
    }

    /// Biases.
    #[test]
    fn session_features_of_qwen2() {
        session_features("qwen2");
    }
}

/// A model is in the table, and a test of each column is here.
#[test]
fn the_table_of_models_has_every_one() {
    let text = include_str!("../docs/models.md");
    let (_, table) = text.split_once("| family |").unwrap();
    let mut table = table.lines().take_while(|line| !line.is_empty());
    let header = table.next().unwrap();
    let rows: Vec<Vec<&str>> =
        table.skip(1).map(|line| line.split('|').map(str::trim).collect()).collect();
    let mut models: Vec<&str> =
        rows.iter().flat_map(|row| row[3].split(", ").map(|name| name.trim_matches('`'))).collect();
    let mut tested = TESTED.to_vec();
    models.sort_unstable();
    tested.sort_unstable();
    assert_eq!(models, tested);
    let code = include_str!("families.rs");
    for column in header.split('|').skip(2).map(|column| column.trim().trim_matches('`')) {
        let test = format!("            fn {column}() {{\n");
        assert!(column.is_empty() || code.contains(&test), "{column}");
    }
}

#[test]
fn every_model_is_tested() {
    let made: Vec<&str> = cases().iter().map(|case| case.name.as_str()).collect();
    assert_eq!(made, TESTED);
}
