//! The header that is committed is the one that the sources give. To write it again:
//!
//!     ATTAMBA_WRITE_HEADER=1 cargo test -p attamba-ffi --test header

use std::path::Path;

/// cbindgen gives an enumeration its size in C++ and C23. Swift reads headers as older C, where it
/// would meet a type and a number of the same name, but understands the size as well.
const SIZED: [(&str, &str); 2] = [
    (
        "#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L\n",
        "#if defined(__cplusplus) || defined(__swift__) || __STDC_VERSION__ >= 202311L\n",
    ),
    (
        "#if __STDC_VERSION__ >= 202311L\n",
        "#if defined(__swift__) || __STDC_VERSION__ >= 202311L\n",
    ),
];

fn generated() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config =
        cbindgen::Config::from_file(folder.join("cbindgen.toml")).expect("a configuration");
    let bindings = cbindgen::generate_with_config(folder, config).expect("a header");
    let mut bytes = Vec::new();
    bindings.write(&mut bytes);
    let mut header = String::from_utf8(bytes).expect("a header in UTF-8");
    for (from, to) in SIZED {
        assert!(header.contains(from), "cbindgen writes enumerations otherwise: {from:?} is gone");
        header = header.replace(from, to);
    }
    header
}

#[test]
fn the_committed_header_is_that_of_the_sources() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/attamba.h");
    let header = generated();
    if std::env::var_os("ATTAMBA_WRITE_HEADER").is_some() {
        std::fs::write(&path, &header).expect("the header can be written");
    }
    let committed = std::fs::read_to_string(&path).expect("the header can be read");
    let differs = header.lines().zip(committed.lines()).position(|(a, b)| a != b);
    let first = differs.map(|n| (n + 1, header.lines().nth(n)));
    assert!(
        header == committed,
        "include/attamba.h is not up to date; first difference: {first:?}"
    );
}

#[test]
fn every_function_is_called_by_a_program() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs");
    let files = std::fs::read_dir(folder).expect("the folder can be read");
    let programs: String = files
        .map(|file| std::fs::read_to_string(file.expect("an entry").path()).expect("a text"))
        .collect();
    let header = generated();
    let functions = header.lines().filter_map(|line| {
        let before = line.split_once('(')?.0;
        let name = before.rsplit([' ', '*']).next()?;
        (name.starts_with("attamba_") && before.contains(' ')).then_some(name)
    });
    let mut count = 0;
    for name in functions.filter(|name| !name.ends_with("_fn")) {
        assert!(programs.contains(&format!("{name}(")), "no program calls {name}");
        count += 1;
    }
    assert!(count > 40, "only {count} functions were found in the header");
}
