//! Second part of `nearfield demo`: kills a writing process at a random moment and checks that every
//! acknowledged batch is there. Entries: `show`, called by `Demo`, and `write`, called by `DemoWriter`.
//!
//! The writer is this program again. After each batch is durable it writes the number of the batch to
//! its pipe. It checkpoints and compacts on the way, so that the kill may hit those as well.

use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nearfield_engine::task::MergeScope;
use nearfield_engine::{Collection, Columns, Error, View};
use nearfield_segment::{DEFAULT_FIELD, Encoding, Metric, PointId, Pool, Rng, Schema};
use serde_json::json;

use super::database::{broken, open, upsert};
use crate::cli::exit::Result;
use crate::host;
use crate::sample::Clusters;

const NAME: &str = "crash";
const DIM: usize = 32;
/// Points of a batch.
const BATCH_ROWS: u64 = 50;
/// A writer that is not killed ends after these.
const BATCHES_MAX: u64 = 100_000;
/// Small, so that a checkpoint comes every few dozen batches.
const MEMTABLE_BYTES_MAX: u64 = 256 << 10;

/// What the process to be killed does.
pub(super) fn write(out: &mut dyn Write, dir: &Path) -> Result {
    let database = open(dir, u32::MAX, MEMTABLE_BYTES_MAX)?;
    let collection = database.collection(NAME)?;
    for batch in 0..BATCHES_MAX {
        write_batch(&collection, batch)?;
        writeln!(out, "{batch}")?;
        out.flush()?;
        collection.maintain(MergeScope::Due, &Pool::SERIAL, &mut |_| ControlFlow::Continue(()))?;
    }
    Ok(())
}

fn write_batch(collection: &Collection, batch: u64) -> Result {
    let documents = (0..BATCH_ROWS).map(|_| json!({ "batch": batch }).to_string()).collect();
    upsert(collection, batch * BATCH_ROWS, &vectors_of(batch), documents)
}

/// The vectors of a batch: known to writer and checker alike.
fn vectors_of(batch: u64) -> Vec<f32> {
    Clusters::new(batch, DIM, 4, 0.3).take_rows(BATCH_ROWS as usize)
}

pub(super) fn show(out: &mut dyn Write, dir: &Path) -> Result {
    let schema = Schema::dense(DIM, Metric::L2, Encoding::F32)?;
    drop(open(dir, u32::MAX, MEMTABLE_BYTES_MAX)?.create(NAME, &schema)?);
    let acknowledged = run_and_kill(dir)?;
    writeln!(
        out,
        "A second process wrote batches of {BATCH_ROWS} points, each acknowledged after its sync."
    )?;
    writeln!(out, "Killed with signal 9 after it had acknowledged {acknowledged} batches.")?;
    let clock = host::Stopwatch::start();
    let database = open(dir, u32::MAX, MEMTABLE_BYTES_MAX)?;
    let collection = database.collection(NAME)?;
    let milliseconds = clock.seconds() * 1000.0;
    let recovery = collection.recovery();
    let torn = recovery
        .torn
        .as_ref()
        .map_or("none".to_owned(), |torn| format!("{} bytes of {}", torn.bytes, torn.file));
    let (replayed, orphans) = (recovery.replayed, recovery.orphans.len());
    writeln!(
        out,
        "Opened again in {milliseconds:.1} ms: {replayed} batches replayed from the log, torn end cut \
         off: {torn}, unfinished files set aside: {orphans}."
    )?;
    let found = check(&collection.view(), acknowledged)?;
    let unsaid = match found - acknowledged {
        0 => "",
        _ => " (the last one durable just before it could be acknowledged)",
    };
    Ok(writeln!(
        out,
        "Acknowledged {acknowledged}, found {found} whole batches{unsaid}, every vector bit for bit; lost: 0."
    )?)
}

/// Starts the writer, kills it at a random moment, returns how many batches it acknowledged.
fn run_and_kill(dir: &Path) -> Result<u64> {
    let failed =
        |action: &'static str| move |error| Error::io(action, "the writing process", error);
    let program = std::env::current_exe().map_err(failed("find the program of"))?;
    let mut command = Command::new(program);
    command.arg("demo-writer").arg(dir).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(failed("start"))?;
    let counted = count_and_kill(&mut child);
    child.kill().and_then(|()| child.wait()).map_err(failed("end"))?;
    counted
}

fn count_and_kill(child: &mut Child) -> Result<u64> {
    let mut rng = Rng::new(host::seed());
    let enough = 40 + rng.below(80);
    let mut pipe = BufReader::new(child.stdout.take().expect("the pipe was asked for"));
    let failed = |error| Error::io("read from", "the writing process", error);
    let mut acknowledged = 0;
    let mut line = String::new();
    loop {
        line.clear();
        pipe.read_line(&mut line).map_err(failed)?;
        // A line without its end was not written whole, so nothing was promised.
        if !line.ends_with('\n') {
            break;
        }
        acknowledged += 1;
        if acknowledged == enough {
            // It goes on writing meanwhile: the signal arrives anywhere within a batch or a checkpoint.
            std::thread::park_timeout(Duration::from_micros(rng.below(5_000)));
            child.kill().map_err(failed)?;
        }
    }
    if acknowledged < enough {
        return Err(broken(format!(
            "the writing process ended by itself after {acknowledged} batches"
        )));
    }
    Ok(acknowledged)
}

/// Checks that each acknowledged batch is there, bit for bit, and no batch in part. Returns the number
/// of batches: the last may have become durable without its acknowledgement.
fn check(view: &View, acknowledged: u64) -> Result<u64> {
    let batches = view.len() / BATCH_ROWS;
    if !view.len().is_multiple_of(BATCH_ROWS) || batches < acknowledged {
        let found = view.len();
        return Err(broken(format!("{acknowledged} batches acknowledged, {found} points found")));
    }
    let columns = Columns { vectors: &[DEFAULT_FIELD], metadata: false };
    for batch in 0..batches {
        let first = batch * BATCH_ROWS;
        let ids: Vec<PointId> = (first..first + BATCH_ROWS).map(PointId::U64).collect();
        let (found, missing) = view.get(&ids, columns)?;
        if let Some(&position) = missing.first() {
            return Err(broken(format!("point {} is missing", ids[position])));
        }
        let expected = vectors_of(batch);
        let rows = found.vectors[0].chunks_exact(DIM).zip(expected.chunks_exact(DIM));
        for (id, (row, expected)) in ids.iter().zip(rows) {
            if !row.iter().zip(expected).all(|(a, b)| a.to_bits() == b.to_bits()) {
                return Err(broken(format!("point {id} has another vector")));
            }
        }
    }
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nearfield_engine::{Database, ManualClock, Options};

    use super::*;

    /// A collection in memory with the first `batches` batches.
    fn written(batches: u64) -> Arc<Collection> {
        let clock = Arc::new(ManualClock::new(1));
        let database = Database::in_memory(Options::default(), clock, 1).unwrap();
        let schema = Schema::dense(DIM, Metric::L2, Encoding::F32).unwrap();
        let collection = database.create(NAME, &schema).unwrap();
        (0..batches).for_each(|batch| write_batch(&collection, batch).unwrap());
        collection
    }

    #[test]
    fn whole_batches_pass_even_if_the_last_was_not_acknowledged() {
        let collection = written(3);
        assert_eq!(check(&collection.view(), 3).unwrap(), 3);
        assert_eq!(check(&collection.view(), 2).unwrap(), 3);
    }

    #[test]
    fn lost_torn_and_changed_batches_are_noticed() {
        let collection = written(3);
        assert!(check(&collection.view(), 4).is_err(), "a batch is missing");
        let strange = &vectors_of(7)[..DIM];
        let document = || vec!["{}".to_owned()];
        upsert(&collection, 3 * BATCH_ROWS, strange, document()).unwrap();
        assert!(check(&collection.view(), 3).is_err(), "a batch is there in part");
        let collection = written(3);
        upsert(&collection, BATCH_ROWS + 1, strange, document()).unwrap();
        assert!(check(&collection.view(), 3).is_err(), "a vector is another");
    }
}
