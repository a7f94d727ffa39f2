//! Random operations on a collection against a sorted map and a full scan by the written rule.
//!
//! Every failure is shrunk to few operations by leaving some out, and printed with its seed.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nearfield_engine::task::MergeScope;
use nearfield_engine::{Collection, Database, ErrorKind, Fault, ManualClock, Mode, RowOutcome};
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::filter::Filter;
use nearfield_segment::search::{AccessPath, SearchParams};
use nearfield_segment::storage::SimDisk;
use nearfield_segment::{Encoding, Kernel, Metric, PointId, Pool, Rng, Schema};
use nearfield_tests::oracle::{Change, KEYS_MAX, Oracle, Point};
use nearfield_tests::rule::{distance, rounded_to_half};
use nearfield_tests::sim::{random_id, small_options, storage};
use serde_json::{Value, json};

/// Searches that went through a graph: the test is worth little without them.
static GRAPHS_SEARCHED: AtomicU64 = AtomicU64::new(0);

/// Rows that were left out because of a key.
static REPEATED: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Clone)]
enum Op {
    Write(Change),
    DeleteBelow(u64),
    Checkpoint,
    Compact,
    Maintain,
    Reopen,
    Count(Condition),
    Search { query: Vec<f32>, k: usize, exact: bool, condition: Option<Condition> },
}

/// A filter on the one field there is.
#[derive(Debug, Clone)]
enum Condition {
    Below(u64),
    From(u64),
    OneOf(Vec<u64>),
    Exists(bool),
    Not(Box<Condition>),
    Both(Box<Condition>, Box<Condition>),
    Either(Box<Condition>, Box<Condition>),
}

impl Condition {
    fn random(rng: &mut Rng, depth: u32) -> Condition {
        let number = rng.below(1000);
        let mut inner = || Box::new(Condition::random(rng, depth - 1));
        match if depth == 0 { number % 4 } else { number % 7 } {
            0 => Condition::Below(number),
            1 => Condition::From(number),
            2 => Condition::OneOf((0..30).map(|_| rng.below(1000)).collect()),
            3 => Condition::Exists(number < 800),
            4 => Condition::Not(inner()),
            5 => Condition::Both(inner(), inner()),
            _ => Condition::Either(inner(), inner()),
        }
    }

    fn json(&self) -> Value {
        match self {
            Condition::Below(bound) => json!({"n": {"lt": bound}}),
            Condition::From(bound) => json!({"n": {"gte": bound}}),
            Condition::OneOf(values) => json!({"n": {"in": values}}),
            Condition::Exists(there) => json!({"n": {"exists": there}}),
            Condition::Not(inner) => json!({"not": inner.json()}),
            Condition::Both(a, b) => json!({"and": [a.json(), b.json()]}),
            Condition::Either(a, b) => json!({"or": [a.json(), b.json()]}),
        }
    }

    /// Whether it asks for the values of `n`, not only for its existence.
    fn asks_values(&self) -> bool {
        match self {
            Condition::Below(_) | Condition::From(_) | Condition::OneOf(_) => true,
            Condition::Exists(_) => false,
            Condition::Not(inner) => inner.asks_values(),
            Condition::Both(a, b) | Condition::Either(a, b) => a.asks_values() || b.asks_values(),
        }
    }

    fn holds(&self, point: &Point) -> bool {
        match self {
            Condition::Below(bound) => point.n.is_some_and(|n| n < *bound),
            Condition::From(bound) => point.n.is_some_and(|n| n >= *bound),
            Condition::OneOf(values) => point.n.is_some_and(|n| values.contains(&n)),
            Condition::Exists(there) => point.n.is_some() == *there,
            Condition::Not(inner) => !inner.holds(point),
            Condition::Both(a, b) => a.holds(point) && b.holds(point),
            Condition::Either(a, b) => a.holds(point) || b.holds(point),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    dim: usize,
    metric: Metric,
    store: Encoding,
}

impl Shape {
    /// Vectors from a small set of numbers, so that there are ties and zero vectors.
    fn vector(self, rng: &mut Rng) -> Vec<f32> {
        match rng.below(12) {
            0 => vec![0.0; self.dim],
            1..4 => (0..self.dim).map(|_| rng.below(3) as f32 - 1.0).collect(),
            _ => (0..self.dim).map(|_| rng.unit_f32() * 9.0 - 4.5).collect(),
        }
    }

    fn op(self, rng: &mut Rng) -> Op {
        match rng.below(30) {
            0 => Op::Compact,
            1 => Op::Reopen,
            2 | 3 => Op::Checkpoint,
            4..8 => Op::Maintain,
            8 => Op::DeleteBelow(rng.below(200)),
            9..11 => Op::Count(Condition::random(rng, 2)),
            11..18 => Op::Search {
                query: self.vector(rng),
                k: 1 + rng.below(12) as usize,
                exact: rng.below(2) == 0,
                condition: (rng.below(2) == 0).then(|| Condition::random(rng, 2)),
            },
            number if number < 22 => Op::Write(self.keyed_change(rng)),
            _ => Op::Write(self.change(rng)),
        }
    }

    /// With a key, on which all of it depends, or with keys of rows.
    fn keyed_change(self, rng: &mut Rng) -> Change {
        let number = rng.below(2 * KEYS_MAX as u64);
        if rng.below(2) == 0 {
            return Change { key: Some(number.to_string()), ..self.change(&mut Rng::new(number)) };
        }
        let change = Change { deletes: Vec::new(), ..self.change(rng) };
        let count = change.points.len() as u64;
        let keyed = |row: u64| (row < KEYS_MAX as u64).then(|| (number + row).to_string());
        Change { row_keys: (0..count).map(keyed).collect(), ..change }
    }

    fn change(self, rng: &mut Rng) -> Change {
        let rows = rng.below(60) as usize;
        let deletes = (0..rng.below(6)).map(|_| random_id(rng)).collect();
        let points = (0..rows).map(|_| Point {
            vector: self.vector(rng),
            n: (rng.below(6) > 0).then(|| rng.below(1000)),
        });
        let points: Vec<Point> = points.collect();
        let mut ids: Vec<PointId> = (0..rows).map(|_| random_id(rng)).collect();
        ids.sort();
        ids.dedup();
        let points = if ids.len() == rows { points } else { points[..ids.len()].to_vec() };
        let ids = (rng.below(2) > 0).then_some(ids);
        Change { deletes, ids, points, ..Change::default() }
    }

    fn stored(self, change: &Change) -> Change {
        let mut change = change.clone();
        if self.store == Encoding::F16 {
            let elements = change.points.iter_mut().flat_map(|point| &mut point.vector);
            elements.for_each(|element| *element = rounded_to_half(*element));
        }
        change
    }
}

fn is_unknown_field(error: &nearfield_engine::Error) -> bool {
    error.kind() == ErrorKind::InvalidInput(Fault::Filter)
}

/// The engine and the oracle beside it.
struct Pair {
    shape: Shape,
    disk: SimDisk,
    seed: u64,
    db: Option<Database>,
    collection: Arc<Collection>,
    oracle: Oracle,
    /// A point with the field `n` was written, whatever became of it.
    knows_n: bool,
}

impl Pair {
    fn new(shape: Shape, seed: u64) -> Pair {
        let disk = SimDisk::new(seed);
        let db = open(&disk, seed);
        let schema = Schema::dense(shape.dim, shape.metric, shape.store).unwrap();
        let collection = db.create("c", &schema).unwrap();
        let oracle = Oracle::default();
        Pair { shape, disk, seed, db: Some(db), collection, oracle, knows_n: false }
    }

    fn perform(&mut self, op: &Op) -> Result<(), String> {
        let (collection, pool) = (Arc::clone(&self.collection), Pool::SERIAL);
        let failed = |error: nearfield_engine::Error| error.to_string();
        match op {
            Op::Write(change) => {
                let batch = change.batch(&collection.view().schema).map_err(failed)?;
                let applied = collection.apply(batch, &pool).map_err(failed)?;
                let ids = self.oracle.apply(&self.shape.stored(change));
                self.knows_n |= self.oracle.points.values().any(|point| point.n.is_some());
                let points = applied.points(change.ids.as_deref());
                same(points.map(|(id, _)| id).collect(), ids, "ids of the points")?;
                let repeated = applied.rows.iter().filter(|row| **row == RowOutcome::Repeated);
                REPEATED.fetch_add(repeated.count() as u64, Ordering::Relaxed);
            }
            Op::DeleteBelow(bound) => {
                let filter = Filter::from_json(&Condition::Below(*bound).json()).unwrap();
                let before = self.oracle.points.len();
                let applied = collection.delete_where(&filter);
                self.oracle.delete_below(*bound);
                let gone = (before - self.oracle.points.len()) as u64;
                let deleted = applied.map(|applied| applied.deleted);
                self.same_or_refused(deleted, gone, self.knows_n, "points deleted")?;
            }
            Op::Checkpoint => collection.checkpoint(&pool).map_err(failed)?,
            Op::Compact => {
                collection.compact(&pool, &mut |_| ControlFlow::Continue(())).map_err(failed)?;
            }
            Op::Maintain => {
                collection
                    .maintain(MergeScope::Due, &pool, &mut |_| ControlFlow::Continue(()))
                    .map_err(failed)?;
            }
            Op::Reopen => self.reopen(),
            Op::Count(condition) => self.count(condition)?,
            Op::Search { query, k, exact, condition } => {
                self.search(query, *k, *exact, condition.as_ref())?;
            }
        }
        self.oracle.difference(&self.collection.view()).map_or(Ok(()), Err)
    }

    fn reopen(&mut self) {
        self.db = None;
        self.seed += 1;
        self.disk = self.disk.restart(self.seed);
        let db = open(&self.disk, self.seed);
        self.collection = db.collection("c").unwrap();
        self.db = Some(db);
    }

    /// Whether a filter must be answered: on values of `n`, once a point had it, and always from then on.
    fn answers(&self, condition: &Condition) -> bool {
        self.knows_n || !condition.asks_values()
    }

    fn same_or_refused(
        &self,
        got: nearfield_engine::Result<u64>,
        expected: u64,
        answered: bool,
        what: &str,
    ) -> Result<(), String> {
        match got {
            Ok(got) if answered => same(got, expected, what),
            Err(error) if !answered && is_unknown_field(&error) => Ok(()),
            other => Err(format!("{what}: {other:?}, must be answered: {answered}")),
        }
    }

    fn count(&self, condition: &Condition) -> Result<(), String> {
        let filter = Filter::from_json(&condition.json()).unwrap();
        let counted = self.collection.view().count(Some(&filter), &never_cancelled);
        let expected = self.oracle.points.values().filter(|point| condition.holds(point)).count();
        let answered = self.answers(condition);
        self.same_or_refused(counted, expected as u64, answered, "points counted")
    }

    fn search(
        &self,
        query: &[f32],
        k: usize,
        exact: bool,
        condition: Option<&Condition>,
    ) -> Result<(), String> {
        let answered = condition.is_none_or(|condition| self.answers(condition));
        let filter = condition.map(|condition| Filter::from_json(&condition.json()).unwrap());
        let params = SearchParams { field: "", k, ef: Some(4), exact, filter: filter.as_ref() };
        let view = self.collection.view();
        let prepared = view.prepare(params, Kernel::detect());
        let prepared = match prepared {
            Err(error) if !answered && is_unknown_field(&error) => return Ok(()),
            Ok(_) if !answered => return Err("a filter on an unknown field passed".to_owned()),
            other => other.map_err(|error| error.to_string())?,
        };
        let graphs = prepared.plans().filter(|plan| matches!(plan.path, AccessPath::Graph { .. }));
        GRAPHS_SEARCHED.fetch_add(graphs.count() as u64, Ordering::Relaxed);
        let found = view.search_many(&prepared, query, &Pool::SERIAL, &never_cancelled);
        if self.shape.metric == Metric::Cosine && query.iter().all(|&element| element == 0.0) {
            let refused = found.err().map(|error| error.kind());
            return same(
                refused,
                Some(ErrorKind::InvalidInput(Fault::NonFinite)),
                "query of zeros",
            );
        }
        let found = found.unwrap();
        let hits: Vec<_> =
            found[0].0.iter().map(|hit| (hit.distance.to_bits(), hit.id.clone())).collect();
        let scored = |(id, point): (&PointId, &Point)| {
            (distance(self.shape.metric, query, &point.vector), id.clone())
        };
        let holds = |point: &Point| condition.is_none_or(|condition| condition.holds(point));
        let points = self.oracle.points.iter().filter(|(_, point)| holds(point));
        let mut all: Vec<_> = points.map(scored).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
        let mut all = all.into_iter().map(|(distance, id)| (distance.to_bits(), id));
        if exact {
            return same(hits, all.take(k).collect(), "exact answer");
        }
        // A graph may miss points, but bends neither order nor distance, and fills up with what passes.
        same(hits.len(), k.min(all.len()), "number of hits")?;
        match hits.iter().find(|hit| !all.any(|other| other == **hit)) {
            Some(hit) => Err(format!("{hit:?} is wrong or out of order in {hits:?}")),
            None => Ok(()),
        }
    }
}

fn open(disk: &SimDisk, seed: u64) -> Database {
    let (options, clock) = (small_options(), Arc::new(ManualClock::new(1)));
    Database::open(storage(disk), Mode::Write, options, clock, seed, "model").unwrap()
}

fn same<T: PartialEq + std::fmt::Debug>(found: T, expected: T, what: &str) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what}: {found:?}, expected {expected:?}"))
    }
}

/// The first operation that goes wrong, and how.
fn first_wrong(shape: Shape, seed: u64, ops: &[Op]) -> Option<String> {
    let mut pair = Pair::new(shape, seed);
    ops.iter().find_map(|op| pair.perform(op).err().map(|wrong| format!("{op:?}: {wrong}")))
}

/// Leaves out ever smaller pieces as long as something still goes wrong.
fn shrink(shape: Shape, seed: u64, mut ops: Vec<Op>) -> Vec<Op> {
    let mut piece = ops.len() / 2;
    while piece > 0 {
        let mut start = 0;
        while start < ops.len() {
            let mut fewer = ops.clone();
            fewer.drain(start..ops.len().min(start + piece));
            if first_wrong(shape, seed, &fewer).is_some() {
                ops = fewer;
            } else {
                start += piece;
            }
        }
        piece /= 2;
    }
    ops
}

#[test]
fn the_engine_agrees_with_a_map_and_a_full_scan() {
    for seed in 0..240 {
        let shape = Shape {
            dim: [1, 3, 19, 40][seed as usize % 4],
            metric: Metric::ALL[seed as usize % 3],
            store: if seed / 12 % 2 == 0 { Encoding::F32 } else { Encoding::F16 },
        };
        let mut rng = Rng::new(seed);
        let ops: Vec<Op> = (0..80).map(|_| shape.op(&mut rng)).collect();
        if first_wrong(shape, seed, &ops).is_some() {
            let ops = shrink(shape, seed, ops);
            let wrong = first_wrong(shape, seed, &ops);
            panic!("seed {seed}, {shape:?}: {wrong:?}\n{ops:?}");
        }
    }
    let graphs = GRAPHS_SEARCHED.load(Ordering::Relaxed);
    println!("{graphs} graphs were searched");
    assert!(graphs > 500, "only {graphs} graphs were searched");
    let repeated = REPEATED.load(Ordering::Relaxed);
    assert!(repeated > 1000, "only {repeated} rows were repeated");
}
