//! The same answers everywhere, bits of distances included.
//!
//! Every instruction set of this processor, every number of threads and the committed golden file agree.
//! The file is made by `NEARFIELD_GOLDEN=write cargo test -p nearfield-tests --test golden`, and only when a
//! change of answers is wanted. The same collections are left as files of this machine below `target/tmp/golden`,
//! for Node, Chromium and the server to give these answers too (`wasm/tests/golden.test.mjs`).

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nearfield_engine::batch::{Batch, Draft};
use nearfield_engine::{Collection, Database, Export, LiveSegment, ManualClock, Mode, View};
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::filter::Filter;
use nearfield_segment::format::{Residence, SectionKind};
use nearfield_segment::search::{Hit, SearchParams};
use nearfield_segment::storage::{Disk, SimDisk, Storage, open_directory};
use nearfield_segment::{Encoding, InstructionSet, Kernel, Metric, PointId, Pool, Rng, Schema};
use nearfield_tests::rule::distance;
use nearfield_tests::sim::{small_options, storage};
use serde_json::{Value, json};

/// Elements of vectors: so few that graphs are walked by originals, so many that they are walked by codes.
const DIMS: [usize; 2] = [43, 250];
const QUERIES: usize = 4;
const K: usize = 7;

fn kernels() -> Vec<Kernel> {
    InstructionSet::ALL.into_iter().filter_map(Kernel::forced).collect()
}

fn id(number: u64) -> PointId {
    match number % 3 {
        0 => PointId::U64(number),
        1 => PointId::Uuid(u128::from(number) << 70 | 5),
        _ => PointId::Str(format!("näme {number}").into()),
    }
}

/// Rows around twelve centres, by additions and multiplications alone; every fifth row is a copy of an
/// earlier one, so that there are ties, and a few are zero.
fn rows(rng: &mut Rng, dim: usize, count: usize) -> Vec<f32> {
    let centres: Vec<f32> = (0..12 * dim).map(|_| rng.unit_f32() * 4.0 - 2.0).collect();
    let mut rows: Vec<f32> = Vec::with_capacity(count * dim);
    for row in 0..count {
        if row % 5 == 4 {
            let copied = rng.below(row as u64) as usize * dim;
            rows.extend_from_within(copied..copied + dim);
        } else if row % 97 == 50 {
            rows.resize(rows.len() + dim, 0.0);
        } else {
            let centre = rng.below(12) as usize * dim;
            rows.extend((0..dim).map(|i| centres[centre + i] + rng.unit_f32() * 0.7 - 0.35));
        }
    }
    rows
}

fn upsert(collection: &Collection, first: u64, rows: &[f32], pool: &Pool) {
    let count = rows.len() / dim_of(&collection.view());
    let metadata =
        (0..count as u64).map(|row| Some(format!("{{\"n\":{}}}", (first + row) * 37 % 100).into()));
    let draft = Draft {
        ids: Some((first..first + count as u64).map(id).collect()),
        rows: count,
        vectors: BTreeMap::from([(String::new(), Cow::Borrowed(rows))]),
        metadata: metadata.collect(),
        ..Draft::default()
    };
    let batch = Batch::new(draft, &collection.view().schema).unwrap();
    collection.apply(batch, pool).unwrap();
}

fn dim_of(view: &View) -> usize {
    view.schema.default_field().unwrap().dim as usize
}

/// A file with a graph, a file without, rows in memory, deleted and replaced rows, ties.
fn collection(kernel: Kernel, threads: usize, case: &Case) -> (SimDisk, Arc<Collection>) {
    let disk = SimDisk::new(3);
    let (_database, collection) = filled(storage(&disk), kernel, threads, case);
    (disk, collection)
}

fn filled(
    files: Arc<dyn Storage>,
    kernel: Kernel,
    threads: usize,
    case: &Case,
) -> (Database, Arc<Collection>) {
    let &Case { metric, store, dim, .. } = case;
    let mut options = small_options();
    options.memtable_bytes_hard = u64::MAX;
    options.segment.kernel = kernel;
    options.segment.graph_rows_min = 64;
    let clock = Arc::new(ManualClock::new(1));
    let db = Database::open(files, Mode::Write, options, clock, 5, "golden").unwrap();
    let collection = db.create("c", &Schema::dense(dim, metric, store).unwrap()).unwrap();
    let pool = Pool::new(threads);
    let rows = rows(&mut Rng::new(11), dim, 1000);
    upsert(&collection, 0, &rows[..500 * dim], &pool);
    collection.compact(&pool, &mut |_| ControlFlow::Continue(())).unwrap();
    upsert(&collection, 400, &rows[500 * dim..850 * dim], &pool);
    collection.checkpoint(&pool).unwrap();
    upsert(&collection, 700, &rows[850 * dim..], &pool);
    let filter = Filter::from_json(&json!({"n": {"in": [3, 14, 15, 92, 65]}})).unwrap();
    assert!(collection.delete_where(&filter).unwrap().deleted > 20);
    assert_eq!(collection.view().segments.len(), 3);
    (db, collection)
}

fn questions(filter: &Filter) -> [(&'static str, SearchParams<'_>); 4] {
    let graph = SearchParams { field: "", k: K, ef: Some(12), exact: false, filter: None };
    let exact = SearchParams { exact: true, ..graph };
    [
        ("graph", graph),
        ("filtered graph", SearchParams { filter: Some(filter), ..graph }),
        ("exact", exact),
        ("filtered exact", SearchParams { filter: Some(filter), ..exact }),
    ]
}

fn half() -> Filter {
    Filter::from_json(&json!({"n": {"lt": 90}})).unwrap()
}

fn queries(dim: usize) -> Vec<f32> {
    rows(&mut Rng::new(12), dim, QUERIES)
}

type Answers = BTreeMap<String, Value>;

/// All answers over one collection, as the golden file has them.
fn answers(view: &View, kernel: Kernel, pool: &Pool, name: &str) -> Answers {
    let filter = half();
    let mut answers = Answers::new();
    for (kind, params) in questions(&filter) {
        let prepared = view.prepare(params, kernel).unwrap();
        if !params.exact {
            let plans = serde_json::to_string(&prepared.plans().collect::<Vec<_>>()).unwrap();
            assert!(plans.contains("graph"), "no graph is searched: {plans}");
        }
        let found =
            view.search_many(&prepared, &queries(dim_of(view)), pool, &never_cancelled).unwrap();
        for (query, (hits, _)) in found.iter().enumerate() {
            check_against_the_rule(view, params, query, hits);
            let hits = hits.iter().map(|hit| format!("{} {:08x}", hit.id, hit.distance.to_bits()));
            answers.insert(format!("{name}, {kind}, query {query}"), hits.collect());
        }
    }
    answers
}

/// Distances are those of the rule; exact answers are those of a full scan by it.
fn check_against_the_rule(view: &View, params: SearchParams<'_>, query: usize, hits: &[Hit]) {
    let dim = dim_of(view);
    let queries = queries(dim);
    let query = &queries[query * dim..][..dim];
    let metric = view.schema.default_field().unwrap().metric;
    let allowed =
        params.filter.map_or(view.live_rows(), |f| view.matching(f, &never_cancelled).unwrap());
    let mut all = Vec::new();
    for (live, rows) in view.segments.iter().zip(allowed) {
        for row in rows.iter() {
            let mut stored = vec![0.0; dim];
            live.segment.field("").unwrap().decode(row, &mut stored).unwrap();
            all.push((distance(metric, query, &stored), live.segment.ids().unwrap().id(row)));
        }
    }
    all.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
    let found = hits.iter().map(|hit| (hit.distance.to_bits(), &hit.id));
    let expected = all.iter().map(|(distance, id)| (distance.to_bits(), id));
    if params.exact {
        assert!(found.eq(expected.take(K)), "{hits:?}");
    } else {
        // A graph may miss rows, but never bend an order or a distance.
        let mut expected = expected;
        assert_eq!(hits.len(), K);
        found.for_each(|hit| assert!(expected.any(|other| other == hit), "{hit:?}"));
    }
}

/// Checksum of every segment file.
fn file_checksums(disk: &SimDisk) -> Vec<String> {
    let dirs = disk.list("c").unwrap();
    let dir = format!("c/{}/segments", dirs[0].name);
    let mut names: Vec<String> =
        disk.list(&dir).unwrap().into_iter().map(|entry| entry.name).collect();
    names.sort();
    let line = |name: &String| {
        let bytes = disk.read(&format!("{dir}/{name}")).unwrap();
        format!("{name} {} bytes, hash {:016x}", bytes.len(), nearfield_segment::hash_bytes(&bytes))
    };
    names.iter().map(line).collect()
}

fn golden_file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/answers.json")
}

/// A collection of the set; `name` is what the golden file calls it.
struct Case {
    metric: Metric,
    store: Encoding,
    dim: usize,
    name: String,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (dim, by) in DIMS.into_iter().zip(["", " codes"]) {
        for metric in Metric::ALL {
            for store in Encoding::ALL {
                let name = format!("{} {}{by}", metric.name(), store.name());
                cases.push(Case { metric, store, dim, name });
            }
        }
    }
    cases
}

#[test]
fn every_instruction_set_gives_the_golden_answers() {
    let mut all: Vec<Answers> = Vec::new();
    for kernel in kernels() {
        let mut answers_of_set = Answers::new();
        for case in cases() {
            let (disk, collection) = collection(kernel, 1, &case);
            let view = collection.view();
            let name = &case.name;
            assert_eq!(has_codes(&view), case.dim == DIMS[1], "{name}");
            answers_of_set.extend(answers(&view, kernel, &Pool::SERIAL, name));
            answers_of_set.insert(format!("{name}, files"), file_checksums(&disk).into());
        }
        println!("{}: {} answers", kernel.set().name(), answers_of_set.len());
        all.push(answers_of_set);
    }
    let first = &all[0];
    all.iter().for_each(|other| assert_eq!(first, other));
    if std::env::var("NEARFIELD_GOLDEN").is_ok_and(|value| value == "write") {
        let text = serde_json::to_string_pretty(first).unwrap() + "\n";
        std::fs::create_dir_all(golden_file().parent().unwrap()).unwrap();
        std::fs::write(golden_file(), text).unwrap();
    }
    let golden = golden();
    for (name, expected) in &golden {
        assert_eq!(first.get(name), Some(expected), "{name}");
    }
    assert_eq!(golden.len(), first.len());
}

/// Whether some segment has codes.
fn has_codes(view: &View) -> bool {
    let bytes = |live: &LiveSegment| live.segment.section_bytes(SectionKind::Codes);
    view.segments.iter().map(bytes).sum::<u64>() > 0
}

fn golden() -> Answers {
    serde_json::from_str(&std::fs::read_to_string(golden_file()).unwrap()).unwrap()
}

/// For each case a directory like `cosine-f32` and its export `cosine-f32.near`; and `queries` and
/// `queries-codes`, f32.
#[test]
fn exports_give_the_golden_answers() {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("golden");
    if home.exists() {
        std::fs::remove_dir_all(&home).unwrap();
    }
    let out = open_directory(&home).unwrap();
    let golden = golden();
    for case in cases() {
        let name = &case.name;
        let place = name.replace(' ', "-");
        let files = Arc::new(open_directory(home.join(&place)).unwrap());
        let (db, _) = filled(files, Kernel::detect(), 2, &case);
        let file = format!("{place}.near");
        db.export(&out, &file, &[], &Pool::SERIAL, &never_cancelled).unwrap();
        let export = Export::open(&file, &out.open(&file).unwrap(), Residence::InPlace).unwrap();
        let found = answers(&export.collections[0].1, Kernel::detect(), &Pool::SERIAL, name);
        found.iter().for_each(|(params, found)| assert_eq!(golden[params], *found, "{name}"));
        assert_eq!(found.len(), 4 * QUERIES);
    }
    for (dim, name) in DIMS.into_iter().zip(["queries", "queries-codes"]) {
        let queries: Vec<u8> =
            queries(dim).iter().flat_map(|element| element.to_le_bytes()).collect();
        std::fs::write(home.join(name), queries).unwrap();
    }
}

#[test]
fn threads_and_instruction_sets_change_no_byte_of_a_file() {
    for case in cases() {
        let name = &case.name;
        let mut files = Vec::new();
        for (kernel, threads) in kernels().into_iter().flat_map(|k| [1, 2, 5].map(|t| (k, t))) {
            let (disk, collection) = collection(kernel, threads, &case);
            let pool = Pool::new(threads);
            collection.compact(&pool, &mut |_| ControlFlow::Continue(())).unwrap();
            let view = collection.view();
            let answers = answers(&view, kernel, &pool, name);
            files.push((file_checksums(&disk), answers));
        }
        assert_eq!(files[0].0.len(), 1, "one file after compaction");
        files.iter().for_each(|other| assert_eq!(files[0], *other, "{name}"));
    }
}
