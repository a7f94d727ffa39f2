//! Format 2: sections of later builds are refused or kept, as their flags say; tables of ids and columns of dates in
//! forged files do no harm.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::sync::Arc;

use nearfield_engine::{Export, LiveSegment, View, stream_export};
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::filter::{Filter, eval};
use nearfield_segment::format::{
    BLOCK_BYTES, Front, Residence, SectionEntry, SectionKind, align64,
};
use nearfield_segment::segment::{Segment, SegmentBuilder, SegmentOptions};
use nearfield_segment::storage::{AlignedBuffer, Blob, BytesBlob};
use nearfield_segment::vector::graph::GraphParams;
use nearfield_segment::{
    DeadRows, Encoding, ErrorKind, FieldKind, FieldKinds, FileId, Kernel, Lsn, Metric, PointId,
    Pool, Rng, RowId, Schema,
};

const FLAGS_AT: usize = 2;
const ENCODING_AT: usize = 6;

fn schema() -> Schema {
    Schema::dense(2, Metric::L2, Encoding::F32).unwrap()
}

fn segment_bytes() -> Vec<u8> {
    built(&schema(), (0..3u32).map(|row| (PointId::U64(row.into()), r#"{"a":1}"#.to_owned())))
}

/// A segment of these rows.
fn built(schema: &Schema, rows: impl ExactSizeIterator<Item = (PointId, String)>) -> Vec<u8> {
    let mut builder = SegmentBuilder::new(FileId(7), schema, rows.len());
    for (row, (id, metadata)) in rows.enumerate() {
        builder.push(id, [&[row as f32, 1.0][..]], Some(&metadata)).unwrap();
    }
    let options = SegmentOptions {
        kernel: Kernel::detect(),
        graph_rows_min: u32::MAX,
        graph: GraphParams::default(),
    };
    builder.index(&options, None).finish(&Pool::SERIAL).unwrap().to_vec()
}

/// The file with one more section, of a kind that no build has.
fn with_a_section(bytes: &[u8], content: &[u8]) -> Vec<u8> {
    let mut front = Front::decode("f", &bytes[..front_len(bytes)], bytes.len() as u64).unwrap();
    // The new front is longer: every section moves by as much.
    let mut moved: Vec<Vec<u8>> = Vec::new();
    for section in &front.sections {
        moved
            .push(bytes[section.offset as usize..(section.offset + section.len) as usize].to_vec());
    }
    moved.push(content.to_vec());
    front.sections.push(SectionEntry {
        kind: SectionKind::Unknown(999),
        field: 0,
        encoding: 3,
        ordinal: 5,
        offset: 0,
        len: content.len() as u64,
        block_crcs: content.chunks(BLOCK_BYTES as usize).map(crc32c::crc32c).collect(),
    });
    let lens: Vec<u64> = front.sections.iter().map(|section| section.len).collect();
    let mut end = nearfield_segment::format::front_len(&lens);
    for section in &mut front.sections {
        section.offset = align64(end);
        end = section.offset + section.len;
    }
    front.file_len = end;
    let mut file = front.encode();
    for (section, bytes) in front.sections.iter().zip(moved) {
        file.resize(section.offset as usize, 0);
        file.extend_from_slice(&bytes);
    }
    file
}

fn front_len(bytes: &[u8]) -> usize {
    Front::len_from_prefix("f", bytes, bytes.len() as u64).unwrap() as usize
}

/// Changes two bytes of an entry of the front, whose checksum then fits again.
fn change_entry(bytes: &mut [u8], entry: usize, at: usize, value: u16) {
    let place = 64 + 64 * entry + at;
    bytes[place..place + 2].copy_from_slice(&value.to_le_bytes());
    bytes[12..16].fill(0);
    let crc = crc32c::crc32c(&bytes[..front_len(bytes)]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
}

fn open(bytes: &[u8]) -> nearfield_segment::Result<Segment> {
    open_as(bytes, Residence::InPlace)
}

fn open_as(bytes: &[u8], residence: Residence) -> nearfield_segment::Result<Segment> {
    Segment::open("f", blob(bytes), residence)
}

fn blob(bytes: &[u8]) -> Arc<dyn Blob> {
    Arc::new(BytesBlob::new("f", AlignedBuffer::copy_of(bytes).into()))
}

fn live(segment: Segment) -> LiveSegment {
    let dead = Arc::new(DeadRows::new(segment.rows()));
    LiveSegment { segment: Arc::new(segment), dead, file: None }
}

#[test]
fn an_unknown_section_is_kept_and_copied_into_exports() {
    let content = vec![0x5A; 70_000];
    let segment = open(&with_a_section(&segment_bytes(), &content)).unwrap();
    assert_eq!(segment.find(&PointId::U64(2)).unwrap().unwrap().0, 2);
    let view = Arc::new(View::of_segments(Lsn(1), schema(), vec![live(segment)]));
    let mut export = Vec::new();
    let collections = [("c".to_owned(), view)];
    stream_export(
        &mut export,
        "e",
        &collections,
        Kernel::detect(),
        &Pool::SERIAL,
        &never_cancelled,
    )
    .unwrap();
    let opened = Export::open("e", &blob(&export), Residence::InPlace).unwrap();
    let sections = opened.collections[0].1.segments[0].segment.sections();
    let unknown = sections.iter().find(|s| s.entry().kind == SectionKind::Unknown(999)).unwrap();
    let SectionEntry { encoding, ordinal, .. } = *unknown.entry();
    assert_eq!((encoding, ordinal), (3, 5));
    assert_eq!(&unknown.read_all(Residence::InPlace).unwrap()[..], &content[..]);
}

#[test]
fn an_unknown_section_that_is_required_is_refused_by_its_number() {
    let mut bytes = with_a_section(&segment_bytes(), b"later");
    let last = Front::decode("f", &bytes[..front_len(&bytes)], bytes.len() as u64).unwrap();
    change_entry(&mut bytes, last.sections.len() - 1, FLAGS_AT, 2);
    let error = open(&bytes).expect_err("required");
    assert_eq!(error.kind(), ErrorKind::Version);
    assert!(error.message().contains("section of kind 999"), "{error}");
}

#[test]
fn a_known_section_in_an_unknown_encoding_is_refused_or_done_without() {
    let good = segment_bytes();
    let front = Front::decode("f", &good[..front_len(&good)], good.len() as u64).unwrap();
    for (index, section) in front.sections.iter().enumerate() {
        let mut bytes = good.clone();
        change_entry(&mut bytes, index, ENCODING_AT, 77);
        let opened = open(&bytes);
        if section.kind.is_derived() {
            assert_eq!(opened.unwrap().degraded(), [section.kind]);
        } else {
            let error = opened.expect_err("required");
            assert_eq!(error.kind(), ErrorKind::Version, "{error}");
            let expected = format!("section {:?} in encoding 77", section.kind);
            assert!(error.message().contains(&expected), "{error}");
        }
    }
}

/// Ids of all kinds, and dates of a declared field in some rows.
fn rich_segment() -> (Schema, Vec<u8>) {
    let fields = FieldKinds::from_iter([("at".to_owned(), FieldKind::Datetime)]);
    let schema = Schema { fields, ..schema() };
    let rows = (0..40u32).map(|row| {
        let row = u64::from(row);
        let id = match row % 4 {
            0 => PointId::I64(-1 - row as i64),
            1 => PointId::U64(row << 40),
            2 => PointId::Uuid(u128::from(row) << 70),
            _ => PointId::from_text(&format!("é{row}")).unwrap(),
        };
        let metadata = match row % 3 {
            0 => format!(r#"{{"at":"20{row:02}-01-01T00:00:00.{row}+01:00"}}"#),
            1 => r#"{"at":["1969-01-01","2020-01-01"],"n":1}"#.to_owned(),
            _ => r#"{"at":null}"#.to_owned(),
        };
        (id, metadata)
    });
    let bytes = built(&schema, rows);
    (schema, bytes)
}

/// Reads everything that a query reads, of bytes in memory and of a map; the answers may be anything. True if the bytes
/// were opened.
fn use_segment(bytes: &[u8], schema: &Schema) -> bool {
    let opened = [Residence::InPlace, Residence::Mapped].map(|residence| open_as(bytes, residence));
    let is_open = opened.iter().any(Result::is_ok);
    opened.into_iter().flatten().for_each(|segment| read_as_queries(&segment, schema));
    is_open
}

fn read_as_queries(segment: &Segment, schema: &Schema) {
    if segment.rows() != 40 {
        return;
    }
    for row in (0..40).map(RowId) {
        let Ok(ids) = segment.ids() else { return };
        let id = ids.id(row);
        let _ = (segment.find(&id), segment.text(row));
    }
    let _ = (segment.find(&PointId::I64(-1)), segment.find(&PointId::U64(1 << 40)));
    for question in [
        r#"{"at":"2020-01-01"}"#,
        r#"{"at":{"lt":"2012-01-01"}}"#,
        r#"{"at":{"in":["1969-01-01",null]}}"#,
    ] {
        let filter = Filter::from_json_text(question).unwrap();
        let _ = segment.stats().map(|stats| stats.may_match(&filter, &schema.fields));
        let _ = segment.payload().and_then(|payload| eval(&filter, payload, &schema.fields));
    }
}

/// The same rounds each time; `NEARFIELD_FORGED_ROUNDS` says how many.
#[test]
fn forged_ids_and_dates_with_right_checksums_do_no_harm() {
    let rounds = std::env::var("NEARFIELD_FORGED_ROUNDS").ok().and_then(|text| text.parse().ok());
    let (schema, good) = rich_segment();
    let front = Front::decode("f", &good[..front_len(&good)], good.len() as u64).unwrap();
    let forged = [SectionKind::Ids, SectionKind::Columns, SectionKind::Stats, SectionKind::IdBloom];
    let sections: Vec<&SectionEntry> =
        front.sections.iter().filter(|section| forged.contains(&section.kind)).collect();
    let (mut rng, mut opened) = (Rng::new(58), 0);
    for _ in 0..rounds.unwrap_or(4_000) {
        let mut bytes = good.clone();
        let section = sections[rng.below(sections.len() as u64) as usize];
        let content = section.offset as usize..(section.offset + section.len) as usize;
        for _ in 0..1 + rng.below(3) {
            // Headers and directories say where everything else is.
            let bound = if rng.below(2) == 0 { section.len.min(64) } else { section.len };
            let at = content.start + rng.below(bound) as usize;
            bytes[at] = [0, 1, 0x7F, 0x80, 0xFF, rng.below(256) as u8][rng.below(6) as usize];
        }
        let mut forged = front.clone();
        let entry = forged.sections.iter_mut().find(|entry| entry.kind == section.kind).unwrap();
        entry.block_crcs =
            bytes[content].chunks(BLOCK_BYTES as usize).map(crc32c::crc32c).collect();
        let start = forged.encode();
        bytes[..start.len()].copy_from_slice(&start);
        opened += u64::from(use_segment(&bytes, &schema));
    }
    assert!(opened > 0, "no forged file was opened");
}

#[test]
fn a_file_that_is_cut_at_a_section_is_refused() {
    let (schema, good) = rich_segment();
    assert!(use_segment(&good, &schema));
    let front = Front::decode("f", &good[..front_len(&good)], good.len() as u64).unwrap();
    for section in &front.sections {
        for end in [section.offset, section.offset + section.len] {
            let cut = &good[..end as usize];
            let is_whole = cut.len() == good.len();
            assert_eq!(open(cut).is_ok(), is_whole, "{:?} at {end}", section.kind);
        }
    }
}
