//! The steps of the build, each a function of paths: `compile`, `bind`, `optimise`, `bundle`. Called by
//! `main` in this order.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use wasm_bindgen_cli_support::Bindgen;

use crate::Result;

/// A panic is a trap without a message: it could not be read, and the JavaScript discards the instance either way.
/// Loops keep their own pointers (no `lsr`): their loads then carry their offsets, which is shorter and faster.
/// Derived `Debug` prints names only: messages print no values by it, but traits of storage have it in their tables.
const FLAGS: &str = "-C target-feature=+simd128 -Zunstable-options -Cpanic=immediate-abort \
                     -Cllvm-args=-disable-lsr -Zfmt-debug=shallow";

/// Every feature of WebAssembly that the module may use; all browsers with SIMD have them.
const FEATURES: [&str; 7] = [
    "--enable-simd",
    "--enable-bulk-memory",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-multivalue",
];

/// A module of the package: the crate with some of its features.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Module {
    /// Of its files.
    pub(crate) name: &'static str,
    /// Of the crate, separated by commas.
    pub(crate) features: &'static str,
}

/// What reads, and what writes as well.
pub(crate) const MODULES: [Module; 2] = [
    Module { name: "nearfield_wasm", features: "" },
    Module { name: "nearfield_store", features: "store" },
];

/// Compiles a module for wasm32 and returns the file cargo wrote.
///
/// # Errors
/// When there is no compiler for wasm32 or it fails; it has said why.
pub(crate) fn compile(root: &Path, module: Module) -> Result<PathBuf> {
    let words = output(Command::new(root.join(".ci/wasm-target")).current_dir(root))?;
    let mut lines = words.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let before = lines.next().filter(|words| !words.is_empty()).ok_or("no cargo for wasm32")?;
    let after = lines.next().unwrap_or_default();
    let mut cargo = Command::new(before[0]);
    cargo.current_dir(root).args(&before[1..]);
    cargo.args(["build", "-p", "nearfield-wasm", "--profile", "wasm", "--locked"]);
    cargo.args(["--features", module.features]);
    cargo.args([
        "--target",
        "wasm32-unknown-unknown",
        "--message-format",
        "json-render-diagnostics",
    ]);
    let flags = format!("{FLAGS} {}", without_paths(root));
    // Set by the cargo that runs this program, for its own toolchain.
    for name in ["RUSTUP_TOOLCHAIN", "CARGO", "RUSTC"] {
        cargo.env_remove(name);
    }
    if !after.iter().any(|word| word.starts_with("-Zbuild-std")) {
        cargo.arg("-Zbuild-std=std,panic_abort");
    }
    cargo.arg("-Zbuild-std-features=optimize_for_size").args(after);
    // Options of the nightly compiler, in the compiler there is: decision 0033 says what they save.
    let messages = output(cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", flags))?;
    let mut modules = messages.lines().filter_map(module_of);
    modules.next_back().ok_or_else(|| "cargo built no module".to_owned())
}

/// Panics name files; the module is to be the same from every directory, and shorter.
fn without_paths(root: &Path) -> String {
    let home = std::env::var("CARGO_HOME").or_else(|_| Ok(std::env::var("HOME")? + "/.cargo"));
    let home = home.unwrap_or_else(|_: std::env::VarError| "/nowhere".to_owned());
    format!("--remap-path-prefix={}=. --remap-path-prefix={home}=cargo", root.display())
}

/// The `.wasm` file of a message of cargo, if it is about one.
fn module_of(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let names = message["filenames"].as_array()?;
    let module = names.iter().filter_map(Value::as_str).find(|name| name.ends_with(".wasm"));
    module.map(PathBuf::from)
}

/// Writes a module and its JavaScript side into `stage`. The latter becomes a function that makes the classes of one
/// instance: after a trap a realm needs new ones, and no bundler would see a second address of the same script.
///
/// # Errors
/// Those of wasm-bindgen and of the disk.
pub(crate) fn bind(compiled: &Path, module: Module, stage: &Path) -> Result<()> {
    let mut bindgen = Bindgen::new();
    let bindgen = bindgen.input_path(compiled).out_name(module.name);
    let bindgen = bindgen.typescript(false).omit_default_module_path(true);
    let script = bindgen.no_modules(true).and_then(|bindgen| bindgen.generate(stage));
    script.map_err(|error| format!("wasm-bindgen: {error:#}"))?;
    let glue = stage.join(format!("{}.js", module.name));
    let failed = |error: std::io::Error| format!("{}: {error}", glue.display());
    let script = fs::read_to_string(&glue).map_err(failed)?;
    let factory = format!("export default function () {{\n{script}\nreturn wasm_bindgen;\n}}\n");
    fs::write(&glue, factory).map_err(failed)
}

/// Shrinks a module from `stage` into `dist` by wasm-opt, which npm brings (version in wasm/package-lock.json).
///
/// # Errors
/// When npm or wasm-opt fail; they have said why.
pub(crate) fn optimise(root: &Path, module: Module, stage: &Path, dist: &Path) -> Result<()> {
    let package = root.join("wasm");
    let brought = |tool: &str| package.join("node_modules/.bin").join(tool).exists();
    if !["wasm-opt", "esbuild"].into_iter().all(brought) {
        output(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&package))?;
    }
    let name = format!("{}_bg.wasm", module.name);
    let mut optimiser = Command::new(package.join("node_modules/.bin/wasm-opt"));
    optimiser.args(FEATURES).args([
        "-O3",
        "--low-memory-unused",
        "--strip-debug",
        "--strip-producers",
        "-o",
    ]);
    output(optimiser.arg(dist.join(&name)).arg(stage.join(&name))).map(drop)
}

/// Makes the scripts of `dist` by esbuild (from npm as well), without comments and long names: one for the page, one
/// for the worker and one with what both use. `stage` holds the sources of `wasm/js` and the glue of the modules.
///
/// # Errors
/// When esbuild fails; it has said why.
pub(crate) fn bundle(root: &Path, stage: &Path, dist: &Path) -> Result<()> {
    copy_scripts(&root.join("wasm/js"), stage)?;
    let mut bundler = Command::new(root.join("wasm/node_modules/.bin/esbuild"));
    bundler.args(["--minify", "--format=esm", "--target=es2022", "--log-level=warning"]);
    bundler.args(["--bundle", "--splitting"]).arg(format!("--outdir={}", dist.display()));
    output(bundler.args(["index.js", "worker.js"].map(|name| stage.join(name))))?;
    for name in ["index.d.ts", "local.d.ts", "package.json", "README.md"] {
        let copied = fs::copy(stage.join(name), dist.join(name));
        copied.map_err(|error| format!("{name}: {error}"))?;
    }
    let copied = fs::copy(root.join("LICENSE"), dist.join("LICENSE"));
    copied.map(drop).map_err(|error| format!("LICENSE: {error}"))
}

/// Makes a directory that has no files; what an earlier build left there is removed.
///
/// # Errors
/// Those of the disk.
pub(crate) fn empty_directory(path: &Path) -> Result<()> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    if path.exists() {
        fs::remove_dir_all(path).map_err(failed)?;
    }
    fs::create_dir_all(path).map_err(failed)
}

/// Copies the files of a directory, not those below it, as they are.
///
/// # Errors
/// Those of the disk.
pub(crate) fn copy_scripts(from: &Path, dist: &Path) -> Result<()> {
    let failed = |error: std::io::Error| format!("{}: {error}", from.display());
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.path().is_file() {
            continue;
        }
        fs::copy(entry.path(), dist.join(entry.file_name())).map_err(failed)?;
    }
    Ok(())
}

/// Runs a command; its errors go to the terminal, its output is returned.
///
/// # Errors
/// When it cannot be run or fails; it has said why.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = command.stderr(Stdio::inherit()).output();
    let done = done.map_err(|error| format!("{name}: {error}"))?;
    if !done.status.success() {
        return Err(format!("{name}: {}", done.status));
    }
    String::from_utf8(done.stdout).map_err(|error| format!("{name}: {error}"))
}
