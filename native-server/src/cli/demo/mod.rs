//! `nearfield demo`: shows on real and generated data what the README claims, and measures it. `Demo` is the
//! command, run by `cli::run`, with four parts: `digits`, `crash`, `large`, `served`. `DemoWriter` is the
//! hidden command of the process that `crash` kills.
//!
//! Each part opens the store anew, as another program would. Nothing printed is assumed: neighbours,
//! recall, counts and times come from this run, and a promise that does not hold ends it with an error.
//! A temporary directory is removed at the end, also after an error; one that was named stays.

mod crash;
mod database;
mod digits;
mod large;
mod served;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use nearfield_engine::{Error, ErrorKind};

use super::exit::Result;
use crate::host::{self, Stopwatch};

#[derive(Debug, Args)]
pub struct Demo {
    /// New or empty directory to leave the data in [default: a temporary one, removed at the end]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Rows of the generated set
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(100..=5_000_000))]
    rows: u64,
    /// Keep the server of the last part until Enter is pressed or the input ends
    #[arg(long)]
    serve: bool,
    /// Do nothing but write the digits to this .near file: the sample of the browser's demo page
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dir", "rows", "serve"])]
    sample: Option<PathBuf>,
}

impl Demo {
    /// Runs all parts.
    ///
    /// # Errors
    /// `Conflict` if the directory holds something; `Corrupt` if a promise does not hold; what the
    /// engine returns.
    pub(super) fn run(self, out: &mut dyn Write) -> Result {
        if let Some(file) = &self.sample {
            return digits::export(out, file);
        }
        let clock = Stopwatch::start();
        let place = Place::new(self.dir)?;
        let kept = if place.temporary { "removed at the end; --dir keeps it" } else { "kept" };
        writeln!(out, "A database in {} ({kept}).", place.dir.display())?;
        writeln!(out, "Instructions: {}.", host::kernel()?.set().name())?;
        heading(out, "1. Handwritten digits: ingest, search, filter, explain")?;
        digits::show(out, &place.dir)?;
        heading(out, "2. Killed with -9 while writing, and opened again")?;
        crash::show(out, &place.dir)?;
        heading(out, "3. A larger set: load, build, measure")?;
        large::show(out, &place.dir, self.rows as usize)?;
        heading(out, "4. The same over HTTP")?;
        served::show(out, &place.dir, self.serve)?;
        heading(out, "What to try next")?;
        what_next(out, &place)?;
        Ok(writeln!(out, "\nDone in {:.1} s.", clock.seconds())?)
    }
}

#[derive(Debug, Args)]
pub struct DemoWriter {
    /// Directory of the demo's database
    dir: PathBuf,
}

impl DemoWriter {
    /// Writes batches and acknowledges each with a line, until it is killed or its output is closed.
    ///
    /// # Errors
    /// What the engine returns, or a closed pipe.
    pub(super) fn run(self, out: &mut dyn Write) -> Result {
        crash::write(out, &self.dir)
    }
}

fn heading(out: &mut dyn Write, text: &str) -> Result {
    writeln!(out, "\n== {text} ==")?;
    Ok(out.flush()?)
}

fn what_next(out: &mut dyn Write, place: &Place) -> Result {
    let named = if place.temporary { Path::new("demo-data") } else { &place.dir };
    let (run, dir) = ("cargo run --release --", named.display());
    if place.temporary {
        writeln!(out, "  {run} demo --dir {dir}")?;
    }
    writeln!(out, "  {run} info {dir}")?;
    let shown = digits::SHOWN;
    writeln!(
        out,
        "  {run} search {dir} digits --id {shown} --where '{{\"label\": {{\"ne\": 3}}}}'"
    )?;
    writeln!(out, "  {run} verify {dir}")?;
    writeln!(out, "  {run} export {dir} digits.near --collection digits")?;
    writeln!(out, "  {run} import my-data points native-server/data/digits.npy --metric cosine")?;
    let snippet = [
        "From Python (pip install . in a virtual environment):",
        "  import nearfield",
        &format!("  with nearfield.open({:?}) as db:", named.display().to_string()),
        "      digits = db.collection(\"digits\")",
        &format!("      image = digits.get([{shown}], vectors=True).vectors[0]"),
        "      print(digits.search(image, k=5, where={\"label\": {\"ne\": 3}}).ids)",
    ];
    Ok(writeln!(out, "{}", snippet.join("\n"))?)
}

/// The demo's directory.
struct Place {
    dir: PathBuf,
    temporary: bool,
}

impl Place {
    fn new(named: Option<PathBuf>) -> Result<Place> {
        let temporary = named.is_none();
        let fresh = || std::env::temp_dir().join(format!("nearfield-demo-{:016x}", host::seed()));
        let dir = named.unwrap_or_else(fresh);
        if std::fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_some()) {
            let message =
                format!("--dir: expected a new or empty directory, {} is not", dir.display());
            return Err(Error::new(ErrorKind::Conflict, message).into());
        }
        Ok(Place { dir, temporary })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.temporary && self.dir.exists() && std::fs::remove_dir_all(&self.dir).is_err() {
            eprintln!("could not remove {}; please do", self.dir.display());
        }
    }
}
