//! Everything that is written is read again, and must be the same; then damaged, and must not panic.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use nearfield_engine::batch::{Batch, Draft};
use nearfield_engine::{Database, ManualClock, Options, View};
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::filter::Filter;
use nearfield_segment::{DEFAULT_FIELD, Encoding, Metric, PointId, Pool, Rng, Schema};
use tempfile::TempDir;

use super::super::{ColumnNames, IdKind, RowFile, Rows, ViewRows, open};
use super::*;

const ALL: [&str; 9] =
    ["npy", "npz", "fvecs", "jsonl", "ndjson", "parquet", "arrow", "feather", "arrows"];
const ROWS: usize = 2_500;
const DIM: usize = 3;

fn id(kind: IdKind, row: usize) -> PointId {
    let number = PointId::U64(u64::MAX - row as u64);
    match (kind, row % 3) {
        (IdKind::None, _) => unreachable!("every point has an id"),
        (IdKind::Signed, _) => PointId::from(500 - row as i64),
        (IdKind::Numbers, _) => PointId::U64(row as u64),
        (IdKind::Large, _) | (IdKind::Mixed, 0) => number,
        (IdKind::Text | IdKind::Mixed, 1) => {
            PointId::Uuid(row as u128 * 0x1234_5678_9abc_def0_1234)
        }
        (IdKind::Text | IdKind::Mixed, _) => {
            PointId::from_text(&format!("é\"{row}")).expect("short")
        }
    }
}

fn metadata(row: usize) -> Option<String> {
    match row % 4 {
        0 => None,
        1 => Some(format!("{{\"n\": {row}.10, \"text\": \"a\\u0000\\nü\"}}")),
        2 => Some("{}".to_owned()),
        _ => Some(format!("{{\"row\":{row},\"deep\":[[{{\"x\":null}}]]}}")),
    }
}

/// A view of several segments, some of whose rows were replaced and deleted.
fn view(kind: IdKind) -> Arc<View> {
    let database = Database::in_memory(Options::default(), Arc::new(ManualClock::new(1)), 7);
    let schema = Schema::dense(DIM, Metric::L2, Encoding::F32).expect("good");
    let collection = database.expect("opens").create("points", &schema).expect("creates");
    let mut rng = Rng::new(3);
    for part in 0..2 {
        let elements: Vec<f32> =
            (0..ROWS * DIM).map(|_| (rng.unit_f32() - 0.5) * 3e-5 + f32::MIN_POSITIVE).collect();
        let rows = part * ROWS / 2..part * ROWS / 2 + ROWS;
        let draft = Draft {
            deletes: if part == 1 { vec![id(kind, 5)] } else { Vec::new() },
            ids: Some(rows.clone().map(|row| id(kind, row)).collect()),
            rows: ROWS,
            vectors: BTreeMap::from([(DEFAULT_FIELD.to_owned(), Cow::Owned(elements))]),
            metadata: rows.map(|row| metadata(row).map(Cow::Owned)).collect(),
            ..Draft::default()
        };
        let view = collection.view();
        let batch = Batch::new(draft, &view.schema).expect("good");
        collection.apply(batch, &Pool::SERIAL).expect("applies");
    }
    collection.view()
}

fn all_rows(source: &mut dyn RowFile) -> Result<Rows> {
    let mut all = Rows::default();
    loop {
        let mut part = source.next_rows(701)?;
        if part.count == 0 {
            return Ok(all);
        }
        all.count += part.count;
        all.vectors.append(&mut part.vectors);
        all.ids.append(&mut part.ids);
        all.metadata.append(&mut part.metadata);
    }
}

/// Writes a view in the format of the ending, and says where.
fn written(dir: &TempDir, ending: &str, view: &Arc<View>, filter: Option<&Filter>) -> PathBuf {
    let path = dir.path().join(format!("f.{ending}"));
    let mut passes = |pass| -> Result<Box<dyn RowFile>> {
        let rows = ViewRows::new(Arc::clone(view), filter, &never_cancelled)?;
        Ok(Box::new(if pass == Pass::Census { rows.without_vectors() } else { rows }))
    };
    let census = census(&mut passes).expect("counts");
    let mut bytes = Vec::new();
    let format = Format::of(&path).expect("known");
    write(format, &census, &mut passes, &mut bytes, &mut |_, _| ()).expect("writes");
    std::fs::write(&path, bytes).expect("a file");
    path
}

#[test]
fn every_format_gives_back_bits_ids_and_metadata() {
    for kind in [IdKind::Numbers, IdKind::Large, IdKind::Signed, IdKind::Text, IdKind::Mixed] {
        let (view, dir) = (view(kind), TempDir::new().expect("a directory"));
        let mut source = ViewRows::new(Arc::clone(&view), None, &never_cancelled).expect("rows");
        let expected = all_rows(&mut source).expect("reads");
        assert_eq!(expected.count, ROWS * 3 / 2 - 1);
        for ending in ALL {
            let path = written(&dir, ending, &view, None);
            let mut file = open(&path, &ColumnNames::default()).expect(ending);
            assert_eq!(file.dim(), DIM, "{ending}");
            let found = all_rows(&mut *file).expect(ending);
            let bits = |rows: &Rows| rows.vectors.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&found), bits(&expected), "{ending}");
            if Format::of(&path).expect("known").is_complete() {
                assert_eq!(found.ids, expected.ids, "{ending}");
                assert!(same_metadata(ending, &found, &expected), "{ending}");
            } else {
                assert!(found.ids.is_empty() && found.metadata.is_empty(), "{ending}");
            }
        }
    }
}

/// All texts are the same to the byte; lines of JSON keep "no metadata" apart from an empty object too.
fn same_metadata(ending: &str, found: &Rows, expected: &Rows) -> bool {
    let differs = found.metadata.iter().zip(&expected.metadata).find(|(a, b)| a != b);
    if let Some((found, expected)) = differs {
        eprintln!("{ending}: {found:?}, expected {expected:?}");
    }
    differs.is_none() && found.metadata.len() == expected.metadata.len()
}

#[test]
fn a_filter_decides_which_rows_are_written() {
    let (view, dir) = (view(IdKind::Mixed), TempDir::new().expect("a directory"));
    let filter = Filter::from_json_text("{\"row\": {\"lt\": 100}}").expect("a filter");
    let count = view.count(Some(&filter), &never_cancelled).expect("counts");
    for ending in ["npy", "npz", "jsonl", "parquet", "arrow"] {
        let path = written(&dir, ending, &view, Some(&filter));
        let mut file = open(&path, &ColumnNames::default()).expect(ending);
        assert_eq!(all_rows(&mut *file).expect(ending).count as u64, count, "{ending}");
    }
}

#[test]
fn an_http_export_is_read_back_the_same_with_and_without_vectors() {
    use super::super::arrow::{ArrowRows, write_arrow_stream};
    let view = view(IdKind::Mixed);
    let rows = || ViewRows::new(Arc::clone(&view), None, &never_cancelled).expect("rows");
    let expected = all_rows(&mut rows());
    let expected = expected.expect("reads");
    let mut bytes = Vec::new();
    let count = write_arrow_stream(rows(), true, &mut bytes).expect("writes");
    assert_eq!(count, expected.count as u64);
    let schema = Some((*view.schema).clone());
    let mut decoder = ArrowRows::new(ColumnNames::default(), schema, 1 << 20);
    let (mut rest, mut ids, mut vectors) = (bytes.as_slice(), Vec::new(), Vec::new());
    while let Some(rows) = decoder.next(&mut rest, &mut |_| Ok(())).expect("whole") {
        vectors.extend_from_slice(&rows.vectors[DEFAULT_FIELD]);
        ids.extend(rows.ids.expect("has ids"));
    }
    decoder.finish().expect("ended");
    assert_eq!((ids, vectors), (expected.ids, expected.vectors));
    let mut shorter = Vec::new();
    write_arrow_stream(rows(), false, &mut shorter).expect("writes");
    assert!(shorter.len() + 4 * DIM * expected.count <= bytes.len());
}

#[test]
fn ids_in_a_file_of_their_own_are_read_back_or_refused() {
    let dir = TempDir::new().expect("a directory");
    for (kind, as_array) in [
        (IdKind::Numbers, true),
        (IdKind::Large, true),
        (IdKind::Signed, true),
        (IdKind::Text, true),
        (IdKind::Mixed, true),
        (IdKind::Mixed, false),
    ] {
        let view = view(kind);
        let mut passes = |_| -> Result<Box<dyn RowFile>> {
            Ok(Box::new(ViewRows::new(Arc::clone(&view), None, &never_cancelled)?))
        };
        let census = census(&mut passes).expect("counts");
        let mut bytes = Vec::new();
        let outcome = write_ids(as_array, &census, &mut passes, &mut bytes);
        if (kind, as_array) == (IdKind::Mixed, true) {
            assert!(outcome.expect_err("both kinds").message().contains("all numbers or all text"));
            continue;
        }
        outcome.expect("writes");
        let expected = all_rows(&mut *passes(Pass::Rows).expect("rows")).expect("reads").ids;
        if as_array {
            let path = dir.path().join("ids.npy");
            std::fs::write(&path, bytes).expect("a file");
            assert_eq!(super::super::read_ids(&path).expect("reads"), expected);
        } else {
            let text = String::from_utf8(bytes).expect("text");
            assert!(text.lines().eq(expected.iter().map(ToString::to_string)));
        }
    }
}

#[test]
fn files_that_are_cut_off_are_refused_and_damaged_ones_do_not_panic() {
    let (view, dir) = (view(IdKind::Mixed), TempDir::new().expect("a directory"));
    let filter = Filter::from_json_text("{\"row\": {\"lt\": 200}}").expect("a filter");
    let mut rng = Rng::new(5);
    for ending in ["npz", "parquet", "arrow", "arrows"] {
        let bytes = std::fs::read(written(&dir, ending, &view, Some(&filter))).expect("a file");
        let path = dir.path().join(format!("damaged.{ending}"));
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("a file");
            all_rows(&mut *open(&path, &ColumnNames::default())?)
        };
        for len in (0..bytes.len()).step_by(1 + bytes.len() / 100) {
            assert!(read(&bytes[..len]).is_err(), "{ending} of {len} bytes");
        }
        let mut refused = 0;
        for _ in 0..300 {
            let mut damaged = bytes.clone();
            for _ in 0..=rng.below(3) {
                let at = rng.below(bytes.len() as u64) as usize;
                damaged[at] = rng.below(256) as u8;
            }
            refused += usize::from(read(&damaged).is_err());
        }
        assert!(refused > 20, "{ending}: {refused} of 300 damaged files were refused");
    }
}
