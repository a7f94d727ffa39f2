//! Partial reading against the whole reader: the same bits where everything is read, few bytes where not, and
//! never an answer from wrong bytes. The network is a loop that copies what is wanted from the file.

use std::sync::atomic::{AtomicUsize, Ordering};

use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::filter::Filter;
use nearfield_segment::search::{AccessPath, Hit, ListParams, SearchParams, SearchStats};
use nearfield_segment::segment::{Segment, SegmentBuilder, SegmentOptions};
use nearfield_segment::storage::{
    AlignedBuffer, Bytes, BytesBlob, MemoryStorage, RangeBlob, Storage,
};
use nearfield_segment::vector::graph::{GraphParams, Scratch};
use nearfield_segment::{
    DeadRows, Encoding, Error, ErrorKind, FileId, Kernel, Lsn, Metric, PointId, Pool, Rng, RowId,
    Schema,
};

use super::*;
use crate::read::points::{Columns, Place, Points, Scan};
use crate::read::view::LiveSegment;

const DIM: usize = 12;

fn clumped(rng: &mut Rng) -> [f32; DIM] {
    let mut clump = Rng::new(5_000 + rng.below(300));
    std::array::from_fn(|_| clump.unit_f32() * 8.0 - 4.0 + rng.unit_f32())
}

/// A view of segments with so many rows, every ninth row dead; metadata `{"n": id % 5}`.
fn view(counts: &[u32], metric: Metric, store: Encoding) -> View {
    let schema = Schema::dense(DIM, metric, store).unwrap();
    let kernel = Kernel::detect();
    let options = SegmentOptions { kernel, graph_rows_min: 4_000, graph: GraphParams::default() };
    let (mut rng, mut next, mut segments) = (Rng::new(8), 0u64, Vec::new());
    for (index, &count) in counts.iter().enumerate() {
        let mut builder = SegmentBuilder::new(FileId(index as u128 + 1), &schema, count as usize);
        let mut dead = DeadRows::new(count);
        for row in 0..count {
            let id = if next.is_multiple_of(2) { PointId::U64(next) } else { text_id(next) };
            let metadata = format!(r#"{{"n":{}}}"#, next % 5);
            builder.push(id, [&clumped(&mut rng)[..]], Some(&metadata)).unwrap();
            next += 1;
            if row % 9 == 4 {
                dead.insert(RowId(row));
            }
        }
        let bytes = builder.index(&options, None).finish(&Pool::SERIAL).unwrap();
        let blob = Arc::new(BytesBlob::new("seg", bytes));
        let segment = Segment::open("seg", blob, Residence::InPlace).unwrap();
        segments.push(LiveSegment { segment: Arc::new(segment), dead: Arc::new(dead), file: None });
    }
    View::of_segments(Lsn(9), schema, segments)
}

fn text_id(number: u64) -> PointId {
    PointId::Str(format!("point-{number}").into())
}

fn export(view: &View) -> Bytes {
    let storage = MemoryStorage::default();
    let named = [("docs".to_owned(), Arc::new(view.clone()))];
    write_export(&storage, "x.near", &named, Kernel::detect(), &Pool::SERIAL, &never_cancelled)
        .unwrap();
    let blob = storage.open("x.near").unwrap();
    blob.read(0..blob.len()).unwrap()
}

#[test]
fn a_streamed_export_is_the_file_and_computes_no_more_bytes_than_it_says() {
    for counts in [&[][..], &[1], &[700, 40], &[5_000]] {
        let view = view(counts, Metric::L2, Encoding::F32);
        let named = [("docs".to_owned(), Arc::new(view.clone()))];
        let mut streamed = Vec::new();
        let (kernel, pool) = (Kernel::detect(), Pool::SERIAL);
        let report =
            stream_export(&mut streamed, "x.near", &named, kernel, &pool, &never_cancelled)
                .unwrap();
        assert_eq!(report.bytes, streamed.len() as u64);
        assert!(streamed == *export(&view), "{counts:?}");

        let blob: Arc<dyn Blob> =
            Arc::new(BytesBlob::new("x.near", AlignedBuffer::copy_of(&streamed).into()));
        let (contents, _) = front::read("x.near", &blob).unwrap();
        let sections = contents.iter().flat_map(|one| &one.segments).flat_map(|one| &one.sections);
        let computed = [SectionKind::Deletes, SectionKind::CellTable, SectionKind::Cells];
        let bytes: u64 = sections.filter(|s| computed.contains(&s.kind)).map(|s| s.len).sum();
        assert!(bytes <= export_memory_bytes(&named), "{counts:?}: {bytes}");
    }
}

/// Cancelled at each of its checks, an export fails, and leaves no file.
#[test]
fn an_export_ends_at_whichever_check_it_is_cancelled() {
    let named = [("docs".to_owned(), Arc::new(view(&[700, 2_000], Metric::L2, Encoding::F32)))];
    let (kernel, pool) = (Kernel::detect(), Pool::SERIAL);
    let checks = AtomicUsize::new(0);
    let cancelled_at = |most: usize| {
        checks.store(0, Ordering::Relaxed);
        let storage = MemoryStorage::default();
        let go_on = || checks.fetch_add(1, Ordering::Relaxed) < most;
        let made = write_export(&storage, "x.near", &named, kernel, &pool, &go_on);
        (made.map_err(|error| error.kind()), storage.list("").unwrap())
    };
    assert!(cancelled_at(usize::MAX).0.is_ok());
    let all = checks.load(Ordering::Relaxed);
    // The rows are clustered in eight rounds, 128 rows at a time.
    assert!(all > 2_700 / 128 * 8, "{all} checks");
    for most in 0..all {
        assert_eq!(
            cancelled_at(most),
            (Err(ErrorKind::Cancelled), vec![]),
            "check {most} of {all}"
        );
    }
}

/// What was fetched.
#[derive(Debug, Default)]
struct Fetched {
    bytes: u64,
    requests: u64,
    rounds: u64,
}

/// Calls `ask` until nothing is missing, fetching what is wanted from `file`.
fn fetching<T>(file: &[u8], ask: impl Fn(&Arc<RangeBlob>) -> Result<T>) -> (Result<T>, Fetched) {
    let blob = Arc::new(RangeBlob::new("x.near", file.len() as u64));
    let mut fetched = Fetched::default();
    loop {
        let answer = ask(&blob);
        let missing = answer.as_ref().err().map(Error::kind) == Some(ErrorKind::NotResident);
        if !missing {
            return (answer, fetched);
        }
        let wanted = blob.take_wanted();
        assert!(!wanted.is_empty() && fetched.rounds < 20, "a round that asks for nothing");
        fetched.rounds += 1;
        for range in wanted {
            fetched.requests += 1;
            fetched.bytes += range.end - range.start;
            let bytes = &file[range.start as usize..range.end as usize];
            blob.supply(range.start, bytes).unwrap();
        }
    }
}

fn opened(blob: &Arc<RangeBlob>) -> Result<Export> {
    let blob: Arc<dyn Blob> = Arc::<RangeBlob>::clone(blob);
    Export::open("x.near", &blob, Residence::OnDemand)
}

/// What a search of inverted lists found and took.
#[derive(Debug, PartialEq)]
struct Answer {
    hits: Vec<Hit>,
    stats: SearchStats,
    coverage: f64,
    lists: u32,
}

fn search(
    view: &View,
    vector: &[f32],
    filter: Option<&Filter>,
    lists: ListParams,
) -> Result<Answer> {
    let params = SearchParams { field: "", k: 10, ef: None, exact: false, filter };
    let prepared = view.prepare(params, Kernel::detect())?.with_lists(lists)?;
    let (hits, stats) =
        view.search_many(&prepared, vector, &Pool::SERIAL, &never_cancelled)?.remove(0);
    let lists = prepared.plans().map(|plan| match plan.path {
        AccessPath::Lists { lists } => lists,
        AccessPath::Nothing | AccessPath::Exact | AccessPath::Graph { .. } => 0,
    });
    let (coverage, lists) = (prepared.coverage(&stats), lists.sum());
    Ok(Answer { hits, stats, coverage, lists })
}

const ALL: ListParams = ListParams { lists: Some(1_000_000), runs_max: 8, rerank: 0 };

fn found(hits: &[Hit]) -> Vec<(PointId, Place)> {
    hits.iter().map(|hit| (hit.id.clone(), (hit.source, hit.row))).collect()
}

/// Ids and bits of the distances of the exact answer.
fn exact(view: &View, vector: &[f32], k: usize, filter: Option<&Filter>) -> Vec<(PointId, u32)> {
    let params = SearchParams { field: "", k, ef: None, exact: true, filter };
    let prepared = view.prepare(params, Kernel::detect()).unwrap();
    let (hits, _) = prepared.search(vector, &mut Scratch::default(), &never_cancelled).unwrap();
    hits.into_iter().map(|hit| (hit.id, hit.distance.to_bits())).collect()
}

fn bits(answer: &Answer) -> Vec<(PointId, u32)> {
    answer.hits.iter().map(|hit| (hit.id.clone(), hit.distance.to_bits())).collect()
}

#[test]
fn all_lists_with_every_row_compared_again_are_the_exact_answer_bit_for_bit() {
    for (metric, store) in
        [(Metric::Cosine, Encoding::F32), (Metric::Dot, Encoding::F16), (Metric::L2, Encoding::F32)]
    {
        let view = view(&[1500, 40, 700], metric, store);
        let file = export(&view);
        let filter = Filter::from_json_text(r#"{"n":{"gte":2}}"#).unwrap();
        for filter in [None, Some(&filter)] {
            for seed in 0..5 {
                let vector = clumped(&mut Rng::new(100 + seed));
                let (answer, _) = fetching(&file, |blob| {
                    let export = opened(blob)?;
                    let lists = ListParams { rerank: 5_000, ..ALL };
                    search(export.collection("docs")?, &vector, filter, lists)
                });
                let answer = answer.unwrap();
                assert_eq!(bits(&answer), exact(&view, &vector, 10, filter), "{metric:?}");
                assert_eq!((answer.coverage, answer.stats.lists_read), (1.0, answer.lists));
                let again = u64::from(answer.stats.reranked);
                assert_eq!(again, view.count(filter, &never_cancelled).unwrap());
            }
        }
    }
}

#[test]
fn a_few_lists_find_most_of_the_nearest_with_few_bytes_in_few_requests_and_rounds() {
    let view = view(&[9000], Metric::L2, Encoding::F32);
    let file = export(&view);
    let (mut found, mut total) = (0, 0);
    for seed in 0..20 {
        let vector = clumped(&mut Rng::new(200 + seed));
        let (answer, fetched) = fetching(&file, |blob| {
            let export = opened(blob)?;
            let few = ListParams { lists: Some(12), runs_max: 4, rerank: 0 };
            search(&export.collections[0].1, &vector, None, few)
        });
        let answer = answer.unwrap();
        let expected = exact(&view, &vector, 10, None);
        found += answer.hits.iter().filter(|hit| expected.iter().any(|e| e.0 == hit.id)).count();
        total += expected.len();
        assert_eq!((answer.stats.lists_read, answer.hits.len()), (12, 10));
        assert!(answer.coverage > 0.0 && answer.coverage < 0.5, "{}", answer.coverage);
        assert!(fetched.rounds <= 3 && fetched.requests <= 3 + 12, "{fetched:?}");
        assert!(fetched.bytes < file.len() as u64 / 4, "{fetched:?} of {}", file.len());
    }
    assert!(found * 10 >= total * 9, "{found} of {total}");
}

/// Whatever is asked, all that is known to be missing is requested together, of all segments: rounds do not grow with
/// them.
#[test]
fn a_question_to_several_segments_takes_as_few_rounds_as_to_one() {
    let filter = Filter::from_json_text(r#"{"n":3}"#).unwrap();
    let columns = Columns { vectors: &[""], metadata: true };
    let ids = [2, 700, 1500].map(PointId::U64);
    let rounds = |counts: &[u32]| {
        let file = export(&view(counts, Metric::Cosine, Encoding::F32));
        let rounds = |ask: &dyn Fn(&View) -> Result<()>| {
            let (asked, fetched) = fetching(&file, |blob| ask(opened(blob)?.collection("docs")?));
            asked.unwrap();
            fetched.rounds
        };
        let params =
            |exact| SearchParams { field: "", k: 10, ef: None, exact, filter: Some(&filter) };
        let search = |view: &View, exact, lists| {
            let prepared = view.prepare(params(exact), Kernel::detect())?.with_lists(lists)?;
            view.search_many(&prepared, &[0.5; 3 * DIM], &Pool::SERIAL, &never_cancelled)
        };
        [
            rounds(&|view| search(view, true, ALL).map(drop)),
            rounds(&|view| search(view, false, ALL).map(drop)),
            rounds(&|view| {
                let answers = search(view, false, ListParams { rerank: 20, ..ALL })?;
                let hits: Vec<Hit> = answers.into_iter().flat_map(|(hits, _)| hits).collect();
                view.points(found(&hits), columns).map(drop)
            }),
            rounds(&|view| view.get(&ids, columns).map(drop)),
            rounds(&|view| {
                Scan::new(view, Some(&filter), &never_cancelled)?
                    .next(view, columns, 9, 999)
                    .map(drop)
            }),
            rounds(&|view| crate::recall::sample(view, "", None, 40, 1).map(drop)),
        ]
    };
    let one = rounds(&[3_000]);
    assert_eq!(one, rounds(&[1_000, 900, 600, 500]));
    assert!(
        one.into_iter().zip([3, 4, 7, 5, 6, 3]).all(|(rounds, most)| rounds <= most),
        "{one:?}"
    );
}

#[test]
fn the_whole_reader_answers_as_before_the_export_and_after_a_second_export() {
    let view = view(&[5000, 30], Metric::Cosine, Encoding::F32);
    let file = export(&view);
    let blob: Arc<dyn Blob> = Arc::new(BytesBlob::new("x.near", file.clone()));
    let (_, reopened) =
        Export::open("x.near", &blob, Residence::InPlace).unwrap().collections.remove(0);
    assert!(export(&reopened)[..] == file[..], "cells and deletes are written anew, not twice");
    for exactly in [true, false] {
        let vector = clumped(&mut Rng::new(3));
        let params = SearchParams { field: "", k: 20, ef: None, exact: exactly, filter: None };
        let ask = |view: &View| {
            let prepared = view.prepare(params, Kernel::detect()).unwrap();
            let (hits, stats) =
                prepared.search(&vector, &mut Scratch::default(), &never_cancelled).unwrap();
            (
                hits.into_iter().map(|hit| (hit.id, hit.distance.to_bits())).collect::<Vec<_>>(),
                stats,
            )
        };
        assert_eq!(ask(&view), ask(&reopened));
    }
}

#[test]
fn rows_are_found_named_and_shown_as_the_view_shows_them() {
    let view = view(&[300, 200], Metric::L2, Encoding::F32);
    let file = export(&view);
    let filter = Filter::from_json_text(r#"{"n":3}"#).unwrap();
    let columns = Columns { vectors: &[""], metadata: true };
    let owned = |points: Points<'_>| {
        let texts = points.metadata.into_iter().map(|text| text.map(|text| text.into_owned()));
        (points.ids, points.vectors, texts.collect::<Vec<_>>())
    };
    let (listed, _) = fetching(&file, |blob| {
        let export = opened(blob)?;
        let docs = export.collection("docs")?;
        assert_eq!((docs.len(), docs.has_lists()), (view.len(), true));
        assert_eq!(
            docs.count(Some(&filter), &never_cancelled)?,
            view.count(Some(&filter), &never_cancelled)?
        );
        let (mut scan, mut listed) = (Scan::new(docs, None, &never_cancelled)?, Vec::new());
        while scan.place().is_some() {
            listed.push(owned(scan.next(docs, columns, 37, usize::MAX)?));
        }
        let ids: Vec<PointId> = listed.iter().flat_map(|(ids, _, _)| ids.clone()).collect();
        let (looked_up, missing) = docs.get(&ids, columns)?;
        assert_eq!((looked_up.ids.len(), missing.len()), (ids.len(), 0));
        let (_, missing) = docs.get(&[PointId::U64(4), PointId::U64(1 << 50)], columns)?;
        assert_eq!(missing, [0, 1], "4 is dead");
        Ok(listed)
    });
    let mut scan = Scan::new(&view, None, &never_cancelled).unwrap();
    for part in listed.unwrap() {
        assert_eq!(part, owned(scan.next(&view, columns, 37, usize::MAX).unwrap()));
    }
    assert_eq!(scan.place(), None);
}

#[test]
fn wrong_bytes_are_corrupt_wherever_they_are_read_and_never_change_an_answer() {
    let view = view(&[400], Metric::Dot, Encoding::F32);
    let file = export(&view);
    let vector = clumped(&mut Rng::new(6));
    let ask = |file: &[u8]| {
        let (answer, _) = fetching(file, |blob| {
            let export = opened(blob)?;
            let docs = &export.collections[0].1;
            let answer = search(docs, &vector, None, ListParams { rerank: 40, ..ALL })?;
            let columns = Columns { vectors: &[], metadata: true };
            let texts = docs.points(found(&answer.hits), columns)?.metadata;
            let texts = texts.into_iter().map(|text| text.map(|text| text.into_owned()));
            Ok((bits(&answer), texts.collect::<Vec<_>>()))
        });
        answer
    };
    let expected = ask(&file).unwrap();
    let mut corrupt = 0;
    for at in (0..file.len()).step_by(97) {
        let mut hurt = AlignedBuffer::copy_of(&file);
        hurt.as_mut_slice()[at] ^= 0x10;
        match ask(&hurt) {
            Ok(found) => assert_eq!(found, expected, "byte {at}"),
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Version), "{error}");
                corrupt += 1;
            }
        }
    }
    assert!(corrupt > 100, "{corrupt}");
}

#[test]
fn a_bad_block_that_is_forgotten_and_fetched_again_is_good_and_a_good_one_is_checked_again() {
    let file = export(&view(&[400], Metric::L2, Encoding::F32));
    let vector = [0.5; DIM];
    let blob = Arc::new(RangeBlob::new("x.near", file.len() as u64));
    let ranges = {
        blob.supply(0, &file).unwrap();
        opened(&blob).unwrap().stage_ranges(Stage::Codes)
    };
    let cells = ranges[0].clone();
    let good = &file[cells.start as usize..cells.end as usize];
    let bad = vec![7; good.len()];
    let export = opened(&blob).unwrap();
    let ask = || search(&export.collections[0].1, &vector, None, ALL);
    let expected = ask().unwrap();
    blob.forget(cells.clone());
    assert_eq!(ask().unwrap_err().kind(), ErrorKind::NotResident);
    blob.supply(cells.start, &bad).unwrap();
    let error = ask().unwrap_err();
    let offset = error.detail("offset").and_then(|offset| offset.as_u64());
    assert_eq!((error.kind(), offset), (ErrorKind::Corrupt, Some(cells.start)));
    blob.forget(cells.clone());
    blob.supply(cells.start, good).unwrap();
    assert_eq!(ask().unwrap(), expected);
}

#[test]
fn stages_are_what_the_next_questions_need() {
    let file = export(&view(&[2000, 50], Metric::Cosine, Encoding::F32));
    let vector = [0.5; DIM];
    let whole = Arc::new(RangeBlob::new("x.near", file.len() as u64));
    whole.supply(0, &file).unwrap();
    let plan = opened(&whole).unwrap();
    let filter = Filter::from_json_text(r#"{"n":3}"#).unwrap();
    let blob = Arc::new(RangeBlob::new("x.near", file.len() as u64));
    for stage in [Stage::Header, Stage::ListTables, Stage::Codes, Stage::Rows] {
        for range in plan.stage_ranges(stage) {
            blob.supply(range.start, &file[range.start as usize..range.end as usize]).unwrap();
        }
        // Opening asks for a fixed number of bytes first, whatever they are.
        blob.supply(0, &file[..(FIRST_BYTES as usize).min(file.len())]).unwrap();
        let export = opened(&blob).unwrap();
        let docs = &export.collections[0].1;
        match stage {
            Stage::Header | Stage::ListTables => {}
            Stage::Codes => drop(search(docs, &vector, None, ALL).unwrap()),
            Stage::Rows => {
                let lists = ListParams { rerank: 50, ..ALL };
                let hits = search(docs, &vector, Some(&filter), lists).unwrap().hits;
                let columns = Columns { vectors: &[""], metadata: true };
                docs.points(found(&hits), columns).unwrap();
                docs.find(&PointId::U64(0)).unwrap();
            }
        }
    }
}

#[test]
fn what_cannot_be_asked_is_refused_and_numbers_before_anything_is_fetched() {
    let file = export(&view(&[100], Metric::Cosine, Encoding::F32));
    let blob = Arc::new(RangeBlob::new("x.near", file.len() as u64));
    blob.supply(0, &file[..(FIRST_BYTES as usize).min(file.len())]).unwrap();
    let export = opened(&blob).unwrap();
    let docs = &export.collections[0].1;
    let good = SearchParams { field: "", k: 10, ef: None, exact: false, filter: None };
    let few = ListParams::default();
    let ask = |params: SearchParams<'_>, vector: &[f32], lists: ListParams| {
        let prepared = docs.prepare(params, Kernel::detect())?.with_lists(lists)?;
        docs.search_many(&prepared, vector, &Pool::SERIAL, &never_cancelled)
    };
    blob.take_wanted();
    for (params, vector, lists) in [
        (SearchParams { k: 0, ..good }, &[1.0; DIM][..], few),
        (SearchParams { field: "title", ..good }, &[1.0; DIM], few),
    ] {
        let kind = ask(params, vector, lists).unwrap_err().kind();
        assert!(matches!(kind, ErrorKind::InvalidInput(_) | ErrorKind::NotFound), "{kind:?}");
        assert_eq!(blob.take_wanted(), []);
    }
    blob.supply(0, &file).unwrap();
    for (vector, lists) in [
        (&[1.0; DIM][..], ListParams { lists: Some(0), ..few }),
        (&[1.0; DIM], ListParams { runs_max: 0, ..few }),
        (&[1.0; 3], few),
        (&[f32::NAN; DIM], few),
    ] {
        let kind = ask(good, vector, lists).unwrap_err().kind();
        assert!(matches!(kind, ErrorKind::InvalidInput(_)), "{kind:?}");
    }
    assert_eq!(export.collection("other").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(blob.take_wanted(), []);
}

#[test]
fn of_a_whole_file_the_blocks_with_wrong_bytes_are_named_and_no_others() {
    // A file that was gathered from ranges is checked once, before it counts as whole.
    let file = export(&view(&[3_000, 40], Metric::L2, Encoding::F32));
    let blob: Arc<dyn Blob> = Arc::new(BytesBlob::new("x.near", file.clone()));
    let export = Export::open("x.near", &blob, Residence::OnDemand).unwrap();
    assert_eq!(export.damaged(&file), []);
    let all: Vec<_> = export.damaged(&[]);
    for block in [&all[0], &all[all.len() / 2], &all[all.len() - 1]] {
        let mut bytes = file.to_vec();
        bytes[block.end as usize - 1] ^= 1;
        assert_eq!(export.damaged(&bytes), std::slice::from_ref(block));
    }
    assert_eq!(export.damaged(&file[..file.len() - 1]), all[all.len() - 1..]);
}

#[test]
fn a_header_that_promises_too_long_a_front_is_refused_before_more_is_asked_for() {
    // Its checksum is known only once all of it is here: a forged length must not fetch a whole file.
    const FILE_BYTES: u64 = 1 << 30;
    let mut first = export(&view(&[100], Metric::L2, Encoding::F32)).to_vec();
    first.resize(FIRST_BYTES as usize, 0);
    first[24..32].copy_from_slice(&FILE_BYTES.to_le_bytes());
    let ask = |front_len: u64| {
        let mut first = first.clone();
        first[16..24].copy_from_slice(&front_len.to_le_bytes());
        let blob = Arc::new(RangeBlob::new("x.near", FILE_BYTES));
        blob.supply(0, &first).unwrap();
        (opened(&blob).unwrap_err().kind(), blob.take_wanted())
    };
    let honest = (16 << 20) + FILE_BYTES / BLOCK_BYTES * 4;
    let (kind, wanted) = ask(honest);
    assert_eq!(kind, ErrorKind::NotResident);
    assert_eq!(wanted, std::slice::from_ref(&(FIRST_BYTES..honest)));
    assert_eq!(ask(honest + 1), (ErrorKind::Corrupt, vec![]));
    assert_eq!(ask(FILE_BYTES), (ErrorKind::Corrupt, vec![]));
}
