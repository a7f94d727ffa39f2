//! Segments of mapped files, whose blocks are verified when they are first used: the answers of a segment that was
//! read whole, and damage that hurts what touches it and nothing else.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use nearfield_engine::Options;
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::filter::Filter;
use nearfield_segment::format::{BLOCK_BYTES, Residence, SectionKind};
use nearfield_segment::search::{AccessPath, Hit, SearchParams, Source, prepare};
use nearfield_segment::segment::{Segment, SegmentBuilder};
use nearfield_segment::storage::{AlignedBuffer, BytesBlob, Storage, open_directory};
use nearfield_segment::vector::graph::Scratch;
use nearfield_segment::{
    DeadRows, Encoding, Error, ErrorKind, FieldKinds, FileId, Kernel, Metric, PointId, Pool,
    Result, Rng, RowId, Schema,
};

const ROWS: u32 = 12_000;
const DIM: usize = 64;
const NAME: &str = "a.seg";

/// A segment file in a directory of the system; every section of it takes several blocks.
struct Bench {
    dir: PathBuf,
    bytes: Vec<u8>,
    storage: Arc<dyn Storage>,
}

impl Bench {
    fn new(test: &str) -> Bench {
        let dir = std::env::temp_dir().join(format!("nearfield-{test}-{}", std::process::id()));
        let _absent = std::fs::remove_dir_all(&dir);
        let storage: Arc<dyn Storage> = Arc::new(open_directory(&dir).unwrap());
        static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
        let bytes = BYTES.get_or_init(build).clone();
        storage
            .put(NAME, &mut |out| {
                out.write_all(&bytes).map_err(|error| Error::io("write", NAME, error))
            })
            .unwrap();
        Bench { dir, bytes, storage }
    }

    fn mapped(&self) -> Segment {
        self.open().unwrap()
    }

    fn open(&self) -> Result<Segment> {
        Segment::open(NAME, self.storage.open(NAME)?, Residence::Mapped)
    }

    /// The same bytes, read whole.
    fn whole(&self) -> Segment {
        let bytes = AlignedBuffer::copy_of(&self.bytes);
        let blob = Arc::new(BytesBlob::new(NAME, bytes.into()));
        Segment::open(NAME, blob, Residence::InPlace).unwrap()
    }

    /// Changes a byte of a section in the file, at a part of its length. Says where.
    fn damage(&self, kind: SectionKind, part: f64) -> u64 {
        let whole = self.whole();
        let section = whole.sections().iter().find(|section| section.entry().kind == kind);
        let entry = section.unwrap().entry();
        let at = entry.offset + (entry.len as f64 * part) as u64;
        self.write(at, self.bytes[at as usize] ^ 0x10);
        at
    }

    fn write(&self, at: u64, byte: u8) {
        let file = std::fs::OpenOptions::new().write(true).open(self.dir.join(NAME)).unwrap();
        file.write_all_at(&[byte], at).unwrap();
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _left = std::fs::remove_dir_all(&self.dir);
    }
}

fn build() -> Vec<u8> {
    let schema = Schema::dense(DIM, Metric::Cosine, Encoding::F32).unwrap();
    let mut rng = Rng::new(1);
    let mut builder = SegmentBuilder::new(FileId(7), &schema, ROWS as usize);
    for row in 0..ROWS {
        let vector: Vec<f32> = (0..DIM).map(|_| rng.unit_f32() - 0.5).collect();
        let text = format!("{{\"n\":{row},\"word\":\"w{}\",\"f\":{}.5}}", rng.below(1000), row);
        // Numbers that are no run, so that there is a table of them.
        let id = PointId::U64(u64::from(row) * 3 + rng.below(2));
        builder.push(id, [vector.as_slice()], Some(&text)).unwrap();
    }
    let mut indexing = builder.index(&Options::default().segment, None);
    while indexing.step(&Pool::SERIAL) {}
    indexing.finish(&Pool::SERIAL).unwrap().to_vec()
}

fn query(seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed);
    (0..DIM).map(|_| rng.unit_f32() - 0.5).collect()
}

/// The hits and how they were found.
fn search(
    segment: &Segment,
    query: &[f32],
    filter: Option<&str>,
    exact: bool,
) -> Result<(Vec<Hit>, AccessPath)> {
    let (dead, fields) = (DeadRows::new(segment.rows()), FieldKinds::NONE);
    let source = Source { segment, dead: &dead, fields: &fields, skipped: false };
    let filter = filter.map(|text| Filter::from_json_text(text).unwrap());
    let params = SearchParams { field: "", k: 5, ef: None, exact, filter: filter.as_ref() };
    let prepared = prepare([source], params, Kernel::detect(), &never_cancelled)?;
    let path = prepared.plans().next().unwrap().path;
    let (hits, _) = prepared.search(query, &mut Scratch::default(), &never_cancelled)?;
    Ok((hits, path))
}

/// A filter that keeps some rows from this one on.
fn rows_from(row: u32) -> String {
    format!("{{\"n\":{{\"gte\":{row},\"lt\":{}}}}}", row + 20)
}

/// That the error names the file, and a block that contains this byte.
#[track_caller]
fn is_damage(result: Result<(Vec<Hit>, AccessPath)>, at: u64) {
    let error = result.expect_err("it touches the damage");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(error.detail("file").unwrap().as_str(), Some(NAME), "{error}");
    let offset = error.detail("offset").unwrap().as_u64().unwrap();
    assert!((offset..offset + BLOCK_BYTES).contains(&at), "{error} for {at}");
}

#[test]
fn answers_are_those_of_a_segment_that_was_read_whole() {
    let bench = Bench::new("mapped-answers");
    let (whole, mapped) = (bench.whole(), bench.mapped());
    for seed in 0..40 {
        let query = query(seed);
        for (filter, exact) in [(None, false), (None, true), (Some("{\"word\":\"w7\"}"), false)] {
            let expected = search(&whole, &query, filter, exact).unwrap();
            let found = search(&mapped, &query, filter, exact).unwrap();
            assert_eq!(found, expected, "{seed} {filter:?} {exact}");
        }
    }
    assert!(matches!(search(&mapped, &query(0), None, false).unwrap().1, AccessPath::Graph { .. }));
    for row in (0..ROWS).step_by(97).map(RowId) {
        let id = whole.ids().unwrap().id(row);
        assert_eq!(mapped.find(&id).unwrap(), Some(row));
        assert_eq!(mapped.text(row).unwrap(), whole.text(row).unwrap());
        let (mut a, mut b) = ([0.0; DIM], [0.0; DIM]);
        whole.field("").unwrap().decode(row, &mut a).unwrap();
        mapped.field("").unwrap().decode(row, &mut b).unwrap();
        assert_eq!(a, b);
    }
    assert!(mapped.degraded().is_empty());
}

#[test]
fn a_damaged_block_of_vectors_fails_the_queries_that_read_it_and_no_other() {
    let bench = Bench::new("mapped-vectors");
    let mapped = bench.mapped();
    let (first, last) = (rows_from(0), rows_from(ROWS - 20));
    let before = search(&mapped, &query(1), Some(&first), false).unwrap();
    // After the segment was opened, in rows that were not read before.
    let at = bench.damage(SectionKind::Vectors, 1.0 - 1e-6);
    is_damage(search(&mapped, &query(1), Some(&last), false), at);
    is_damage(search(&mapped, &query(1), None, true), at);
    assert_eq!(search(&mapped, &query(1), Some(&first), false).unwrap(), before);
    assert!(mapped.degraded().is_empty(), "vectors are not made of others");
    assert_eq!(mapped.verify_rows().expect_err("damaged").kind(), ErrorKind::Corrupt);
    let error = mapped.field("").unwrap().rows().expect_err("for a merge");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[test]
fn damaged_inverse_norms_fail_every_query_that_needs_them() {
    let bench = Bench::new("mapped-norms");
    let mapped = bench.mapped();
    let at = bench.damage(SectionKind::InverseNorms, 0.5);
    is_damage(search(&mapped, &query(1), None, false), at);
    is_damage(search(&mapped, &query(1), None, true), at);
}

#[test]
fn a_damaged_graph_is_done_without() {
    let bench = Bench::new("mapped-graph");
    // Before the segment is opened.
    for part in 1..10 {
        bench.damage(SectionKind::Graph, 0.1 * f64::from(part));
    }
    let (mapped, whole) = (bench.mapped(), bench.whole());
    for seed in 10..20 {
        let (expected, _) = search(&whole, &query(seed), None, true).unwrap();
        assert_eq!(search(&mapped, &query(seed), None, false).unwrap().0, expected);
        assert_eq!(mapped.degraded(), [SectionKind::Graph]);
    }
    assert_eq!(search(&mapped, &query(1), None, false).unwrap().1, AccessPath::Exact);
}

#[test]
fn damaged_codes_are_done_without() {
    let bench = Bench::new("mapped-codes");
    let kind = SectionKind::Codes;
    // Each time other bytes: the front, factors and codes.
    for part in [0.0, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9] {
        let bench = Bench::new("mapped-codes-part");
        bench.damage(kind, part);
        let (mapped, whole) = (bench.mapped(), bench.whole());
        for seed in 10..20 {
            let (expected, _) = search(&whole, &query(seed), None, true).unwrap();
            let (found, path) = search(&mapped, &query(seed), None, false).unwrap();
            assert!(matches!(path, AccessPath::Graph { .. }), "{path:?}");
            assert_eq!(found.len(), expected.len());
        }
    }
    for part in 0..10 {
        bench.damage(kind, 0.1 * f64::from(part));
    }
    let mapped = bench.mapped();
    search(&mapped, &query(1), None, false).unwrap();
    assert_eq!(mapped.degraded(), [kind]);
}

#[test]
fn damaged_columns_are_made_again() {
    let bench = Bench::new("mapped-columns");
    let mapped = bench.mapped();
    for part in [0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9] {
        bench.damage(SectionKind::Columns, part);
    }
    let filter = rows_from(500);
    let expected = search(&bench.whole(), &query(1), Some(&filter), false).unwrap();
    assert_eq!(search(&mapped, &query(1), Some(&filter), false).unwrap(), expected);
    assert_eq!(mapped.degraded(), [SectionKind::Columns]);
}

#[test]
fn damage_elsewhere_hurts_what_needs_it() {
    let bench = Bench::new("mapped-elsewhere");
    for kind in [SectionKind::Stats, SectionKind::IdBloom] {
        bench.damage(kind, 0.5);
    }
    let mapped = bench.mapped();
    let expected = search(&bench.whole(), &query(1), Some(&rows_from(7)), false).unwrap();
    assert_eq!(search(&mapped, &query(1), Some(&rows_from(7)), false).unwrap(), expected);
    let id = mapped.ids().unwrap().id(RowId(9));
    assert_eq!(mapped.find(&id).unwrap(), Some(RowId(9)));
    assert_eq!(mapped.degraded(), [SectionKind::Stats, SectionKind::IdBloom]);
    bench.damage(SectionKind::Ids, 0.5);
    let at = bench.damage(SectionKind::Metadata, 0.9);
    let mapped = bench.mapped();
    assert_eq!(mapped.ids().expect_err("damaged").kind(), ErrorKind::Corrupt);
    mapped.text(RowId(0)).unwrap();
    let error = (0..ROWS).map(RowId).find_map(|row| mapped.text(row).err()).unwrap();
    let offset = error.detail("offset").unwrap().as_u64().unwrap();
    assert!((offset..offset + BLOCK_BYTES).contains(&at), "{error}");
    // What opening reads refuses the file.
    bench.damage(SectionKind::Schema, 0.5);
    assert_eq!(bench.open().expect_err("the schema").kind(), ErrorKind::Corrupt);
}
