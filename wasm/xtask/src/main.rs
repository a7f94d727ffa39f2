//! Builds the browser package into `wasm/dist/`: `cargo run -p xtask -- wasm`; and of that the demo page, static
//! files in `wasm/dist/demo/`: `cargo run -p xtask -- demo`.
//!
//! Four steps: cargo for wasm32, wasm-bindgen as a library (of the version the crate uses), wasm-opt, and esbuild, which
//! puts the scripts of `wasm/js` together. Sizes are printed and held to their limit. It tests nothing and publishes nothing.

mod demo;
mod sizes;
mod steps;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Result of a step; the text says what to do.
type Result<T> = std::result::Result<T, String>;

/// The checkout.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("wasm/xtask stands in the checkout").to_owned()
}

fn wasm() -> Result<()> {
    let root = root();
    let dist = root.join("wasm/dist");
    let stage = root.join("target/browser-package");
    steps::empty_directory(&dist)?;
    steps::empty_directory(&stage)?;
    for module in steps::MODULES {
        let compiled = steps::compile(&root, module)?;
        steps::bind(&compiled, module, &stage)?;
        steps::optimise(&root, module, &stage, &dist)?;
    }
    steps::bundle(&root, &stage, &dist)?;
    sizes::check(&dist)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["wasm"] => wasm(),
        ["demo"] => demo::assemble(&root(), &root().join("wasm/dist")),
        ["sizes"] => sizes::check(&root().join("wasm/dist")),
        _ => Err("usage: cargo run -p xtask -- wasm | demo | sizes".to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("xtask: {problem}");
            ExitCode::FAILURE
        }
    }
}
