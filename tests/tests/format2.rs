//! Format 2: sections of later builds are refused or kept, as their flags say.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::sync::Arc;

use nearfield_engine::{LiveSegment, View, open_export, stream_export};
use nearfield_segment::cancel::always;
use nearfield_segment::format::{
    BLOCK_BYTES, Front, Residence, SectionEntry, SectionKind, align64,
};
use nearfield_segment::segment::{Segment, SegmentBuilder, SegmentOptions};
use nearfield_segment::storage::{AlignedBuffer, Blob, BytesBlob};
use nearfield_segment::vector::graph::GraphParams;
use nearfield_segment::{
    DeadRows, Encoding, ErrorKind, FileId, Kernel, Lsn, Metric, PointId, Pool, Schema,
};

const FLAGS_AT: usize = 2;
const ENCODING_AT: usize = 6;

fn schema() -> Schema {
    Schema::dense(2, Metric::L2, Encoding::F32).unwrap()
}

fn segment_bytes() -> Vec<u8> {
    let mut builder = SegmentBuilder::new(FileId(7), &schema(), 3);
    for row in 0..3 {
        builder.push(PointId::U64(row), [&[row as f32, 1.0][..]], Some(r#"{"a":1}"#)).unwrap();
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
    Segment::open("f", blob(bytes), Residence::InPlace)
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
    assert_eq!(segment.find(&PointId::U64(2)).unwrap().0, 2);
    let view = Arc::new(View::of_segments(Lsn(1), schema(), vec![live(segment)]));
    let mut export = Vec::new();
    let collections = [("c".to_owned(), view)];
    stream_export(&mut export, "e", &collections, Kernel::detect(), &Pool::SERIAL, &always)
        .unwrap();
    let opened = open_export("e", &blob(&export), Residence::InPlace).unwrap();
    let sections = opened[0].1.segments[0].segment.sections();
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
