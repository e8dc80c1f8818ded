//! Names the shared library for the linkers of the systems that look at a name inside it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let os = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    let argument = match os.as_str() {
        "linux" | "freebsd" => "-Wl,-soname,libattamba.so.0",
        // Android has no versions in the names of libraries, and wants pages of 16 KiB.
        "android" => "-Wl,-soname,libattamba.so,-z,max-page-size=16384",
        "macos" | "ios" => "-Wl,-install_name,@rpath/libattamba.dylib",
        _ => return,
    };
    println!("cargo::rustc-cdylib-link-arg={argument}");
}
