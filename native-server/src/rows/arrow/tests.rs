//! Streams written by the arrow crates: in pieces, cut, damaged byte by byte, and lying about sizes.

use std::sync::Arc;

use arrow_array::types::{Date32Type, Int32Type, UInt8Type};
use arrow_array::{
    BooleanArray, Date32Array, Date64Array, DictionaryArray, DurationSecondArray,
    FixedSizeListArray, Float32Array, Float64Array, Int64Array, LargeStringArray, ListArray,
    StringArray, StructArray, Time64MicrosecondArray, TimestampMicrosecondArray,
    TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_schema::{DataType, Field};
use nearfield_segment::{Encoding, FieldKind, FieldKinds, Metric, PointId, Rng};
use serde_json::{Value, json};

use super::super::row_file::{IdKind, Rows};
use super::*;

const BYTES_MAX: usize = 1 << 20;

fn column(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    RecordBatch::try_from_iter(columns.iter().cloned()).expect("columns of one length")
}

fn vectors(elements: &[f32], dim: i32) -> ArrayRef {
    let field = Arc::new(Field::new("item", DataType::Float32, true));
    let elements = Arc::new(Float32Array::from(elements.to_vec()));
    Arc::new(FixedSizeListArray::try_new(field, dim, elements, None).expect("whole rows"))
}

fn stream(batches: &[RecordBatch]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &batches[0].schema()).expect("in memory");
    batches.iter().for_each(|batch| writer.write(batch).expect("in memory"));
    writer.finish().expect("in memory");
    bytes
}

/// All rows, fed in pieces of `piece` bytes.
fn read_in(bytes: &[u8], piece: usize, schema: Option<Schema>) -> Result<Vec<TableRows>> {
    let mut decoder = ArrowRows::new(ColumnNames::default(), schema, BYTES_MAX);
    let mut all = Vec::new();
    for mut piece in bytes.chunks(piece) {
        while let Some(rows) = decoder.next(&mut piece, &mut |_| Ok(()))? {
            all.push(rows);
        }
    }
    decoder.finish().map(|()| all)
}

fn read(bytes: &[u8]) -> Result<Vec<TableRows>> {
    read_in(bytes, bytes.len(), None)
}

fn refusal(batch: RecordBatch) -> String {
    read(&stream(&[batch])).expect_err("must be refused").message().to_owned()
}

/// Every kind of column at once.
fn rich() -> RecordBatch {
    let tags = ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some(vec![Some(1), None]),
        None,
        Some(Vec::new()),
    ]);
    let point = StructArray::from(vec![(
        Arc::new(Field::new("x", DataType::Int64, true)),
        Arc::new(Int64Array::from(vec![Some(5), None, Some(6)])) as ArrayRef,
    )]);
    let colour: DictionaryArray<UInt8Type> = [Some("red"), None, Some("red")].into_iter().collect();
    column(&[
        ("id", Arc::new(LargeStringArray::from(vec!["a", "7", "b\"\n"]))),
        ("embedding", vectors(&[1.0, 2.0, 3.0, 4.0, 5.0, f32::MIN_POSITIVE], 2)),
        ("ok", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("n", Arc::new(UInt64Array::from(vec![u64::MAX, 0, 1]))),
        ("f", Arc::new(Float32Array::from(vec![0.1, f32::NAN, -2.0]))),
        ("colour", Arc::new(colour)),
        ("tags", Arc::new(tags)),
        ("point", Arc::new(point)),
    ])
}

#[test]
fn every_column_becomes_what_the_table_says_in_pieces_of_any_size() {
    let bytes = stream(&[rich(), rich()]);
    for piece in [1, 7, 64, 1000, bytes.len()] {
        let all = read_in(&bytes, piece, None).expect("whole");
        assert_eq!(all.len(), 2, "{piece}");
        let rows = &all[1];
        assert_eq!(rows.vectors[""], [1.0, 2.0, 3.0, 4.0, 5.0, f32::MIN_POSITIVE]);
        let ids = ["a", "7", "b\"\n"].map(|text| PointId::from_text(text).expect("short"));
        assert_eq!(rows.ids.as_deref(), Some(&ids[..]));
        let text = |row: usize| rows.metadata[row].as_deref().expect("has some");
        let first = r#"{"ok":true,"n":18446744073709551615,"f":0.1,"colour":"red","tags":[1,null],"point":{"x":5}}"#;
        assert_eq!(text(0), first);
        assert_eq!(text(1), r#"{"n":0,"point":{}}"#);
        assert_eq!(
            text(2),
            r#"{"ok":false,"n":1,"f":-2.0,"colour":"red","tags":[],"point":{"x":6}}"#
        );
    }
}

#[test]
fn dates_are_texts_that_declare_their_field() {
    let micros = || TimestampMicrosecondArray::from(vec![Some(1_500), None]);
    let text = |text: &str| json!(text);
    let inner = |column: ArrayRef| Arc::new(Field::new("inner", column.data_type().clone(), true));
    let nested =
        StructArray::from(vec![(inner(Arc::new(micros())), Arc::new(micros()) as ArrayRef)]);
    let days = [Some(vec![Some(18_262), None]), None];
    let nanos = TimestampNanosecondArray::from(vec![Some(-1), None]);
    let columns: [(ArrayRef, Value, &str); 7] = [
        (Arc::new(micros()), text("1970-01-01T00:00:00.001500"), "at"),
        (Arc::new(micros().with_timezone("+01:00")), text("1970-01-01T00:00:00.001500Z"), "at"),
        (Arc::new(nanos), text("1969-12-31T23:59:59.999999999"), "at"),
        (Arc::new(Date32Array::from(vec![Some(18_262), None])), text("2020-01-01"), "at"),
        (
            Arc::new(Date64Array::from(vec![Some(86_400_000), None])),
            text("1970-01-02T00:00:00"),
            "at",
        ),
        (Arc::new(nested), json!({ "inner": "1970-01-01T00:00:00.001500" }), "at.inner"),
        (
            Arc::new(ListArray::from_iter_primitive::<Date32Type, _, _>(days)),
            json!(["2020-01-01", null]),
            "at",
        ),
    ];
    for (dates, first, path) in columns {
        let kind = dates.data_type().to_string();
        let all = read(&stream(&[column(&[("vector", vectors(&[1.0, 2.0], 1)), ("at", dates)])]));
        let rows = &all.expect("dates are metadata")[0];
        let object: Value =
            serde_json::from_str(rows.metadata[0].as_deref().expect("has a date")).expect("JSON");
        assert_eq!(object, json!({ "at": first }), "{kind}");
        assert_eq!(rows.fields.paths().collect::<Vec<_>>(), [path], "{kind}");
    }
    let far = TimestampSecondArray::from(vec![Some(i64::MAX), None]);
    let batch = column(&[("vector", vectors(&[1.0, 2.0], 1)), ("at", Arc::new(far))]);
    assert!(refusal(batch).contains("row 0: at: expected a date of the years"));
}

#[test]
fn times_of_day_and_durations_are_refused_with_what_to_store_instead() {
    let times: [ArrayRef; 2] = [
        Arc::new(DurationSecondArray::from(vec![1, 2])),
        Arc::new(Time64MicrosecondArray::from(vec![1, 2])),
    ];
    for column_of_times in times {
        let batch = column(&[("vector", vectors(&[1.0, 2.0], 1)), ("at", column_of_times)]);
        let message = refusal(batch);
        for word in ["\"at\"", "an integer such as microseconds"] {
            assert!(message.contains(word), "{message}");
        }
    }
}

#[test]
fn the_declared_fields_of_a_table_of_ours_come_back() {
    let fields = FieldKinds::from_iter([("at".to_owned(), FieldKind::Datetime)]);
    let rows = || Rows {
        count: 1,
        vectors: vec![1.0],
        ids: vec![PointId::U64(1)],
        metadata: vec![Some("{\"at\":\"2020-01-01\"}".to_owned())],
    };
    for declared in [fields, FieldKinds::NONE] {
        let layout = Layout::new(IdKind::Numbers, Some(1), &declared);
        let mut writer = TableWriter::stream(layout, Vec::new()).expect("in memory");
        writer.write(rows()).expect("in memory");
        writer.finish().expect("in memory");
        let all = read(writer.get_mut()).expect("whole");
        assert_eq!((&all[0].fields, &all[0].metadata), (&declared, &rows().metadata));
    }
}

#[test]
fn whole_documents_and_keys_are_taken_as_they_are() {
    let batch = column(&[
        ("vector", vectors(&[1.0, 2.0], 1)),
        ("metadata", Arc::new(StringArray::from(vec![Some("{\"a\": 1.10}"), None]))),
        ("idempotency_key", Arc::new(StringArray::from(vec![None, Some("k")]))),
    ]);
    let all = read(&stream(&[batch])).expect("whole");
    assert_eq!(all[0].metadata, [Some("{\"a\": 1.10}".to_owned()), None]);
    assert_eq!(all[0].keys, [None, Some("k".to_owned())]);
    assert!(all[0].ids.is_none());
}

#[test]
fn columns_that_cannot_be_used_are_refused_by_name() {
    let two = || vectors(&[1.0, 2.0], 1);
    let one: ArrayRef = Arc::new(Int64Array::from(vec![1, -2]));
    let null = Int64Array::from(vec![Some(1), None]);
    let text: ArrayRef = Arc::new(StringArray::from(vec!["{}", "{}"]));
    let lists = ListArray::from_iter_primitive::<arrow_array::types::Float64Type, _, _>([
        Some(vec![Some(1.0)]),
        Some(vec![Some(1.0), Some(2.0)]),
    ]);
    let holes = ListArray::from_iter_primitive::<arrow_array::types::Float32Type, _, _>([
        Some(vec![Some(1.0)]),
        Some(vec![None]),
    ]);
    let bytes: ArrayRef = Arc::new(arrow_array::BinaryArray::from(vec![&b"x"[..], b"y"]));
    let inf: ArrayRef = Arc::new(Float64Array::from(vec![0.0, f64::INFINITY]));
    let cases: [(RecordBatch, &str); 9] = [
        (column(&[("a", one.clone())]), "expected a column \"vector\""),
        (column(&[("a", two()), ("b", two())]), "found [\"a\", \"b\"]"),
        (column(&[("vector", one.clone())]), "\"vector\": expected a list of floats"),
        (
            column(&[("vector", two()), ("id", Arc::new(null))]),
            "row 1, column \"id\": id: expected -2^63",
        ),
        (
            column(&[("vector", Arc::new(lists))]),
            "row 1, column \"vector\": expected 1 elements, got 2",
        ),
        (
            column(&[("vector", Arc::new(holes))]),
            "row 1, column \"vector\": expected a vector without",
        ),
        (column(&[("vector", two()), ("b", bytes)]), "column \"b\": expected bools"),
        (column(&[("vector", two()), ("metadata", text), ("x", one)]), "found both (\"x\")"),
        (column(&[("vector", two()), ("f", inf)]), "row 1: f: expected a finite number"),
    ];
    for (batch, part) in cases {
        let message = refusal(batch);
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_collections_schema_decides_fields_and_dimensions() {
    let mut schema = Schema::dense(1, Metric::L2, Encoding::F32).expect("good");
    let spec = schema.vectors[""].clone();
    schema.vectors.insert("image".to_owned(), spec);
    let batch = column(&[("vector", vectors(&[1.0], 1)), ("image", vectors(&[2.0], 1))]);
    let all = read_in(&stream(&[batch]), 9, Some(schema.clone())).expect("whole");
    assert_eq!((&all[0].vectors[""][..], &all[0].vectors["image"][..]), (&[1.0][..], &[2.0][..]));
    let batch = column(&[("vector", vectors(&[1.0, 2.0], 2)), ("image", vectors(&[2.0], 1))]);
    let error = read_in(&stream(&[batch]), 9, Some(schema)).expect_err("another dimension");
    assert!(error.message().contains("expected 1 elements, got 2"), "{error}");
}

#[test]
fn a_stream_that_is_cut_off_anywhere_is_refused() {
    let bytes = stream(&[rich()]);
    for len in (0..bytes.len() - 8).step_by(3) {
        assert!(read_in(&bytes[..len.max(1)], 50, None).is_err(), "{len} bytes");
    }
}

#[test]
fn damaged_bytes_never_panic() {
    let bytes = stream(&[rich(), rich()]);
    let mut rng = Rng::new(11);
    let mut refused = 0;
    for _ in 0..4_000 {
        let mut damaged = bytes.clone();
        for _ in 0..=rng.below(3) {
            let at = rng.below(bytes.len() as u64) as usize;
            damaged[at] = match rng.below(3) {
                0 => rng.below(256) as u8,
                1 => 0xFF,
                _ => damaged[at].wrapping_add(1),
            };
        }
        refused += u32::from(read(&damaged).is_err());
    }
    assert!(refused > 500, "{refused} of 4000 damaged streams were refused");
}

#[test]
fn sizes_that_are_announced_take_no_memory() {
    let mut decoder = ArrowRows::new(ColumnNames::default(), None, BYTES_MAX);
    let mut endless: &[u8] = &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F];
    let error = decoder.next(&mut endless, &mut |_| Ok(())).expect_err("2 GiB of description");
    assert!(error.message().contains("at most 16777216 bytes"), "{error}");
    let batch = column(&[("vector", vectors(&vec![1.0; 1 << 19], 1 << 10))]);
    let bytes = stream(&[batch]);
    let error = read(&bytes[..2_000]).expect_err("a body of 2 MiB");
    assert!(error.message().contains("a message of at most 1048576 bytes"), "{error}");
    let mut text: &[u8] = b"{\"vector\": [1, 2]}";
    let error =
        ArrowRows::new(ColumnNames::default(), None, BYTES_MAX).next(&mut text, &mut |_| Ok(()));
    assert!(error.expect_err("no stream").message().contains("FF FF FF FF"));
}

#[test]
fn what_a_compressed_batch_becomes_is_asked_for_before_it_is_decoded() {
    let batch = column(&[("vector", vectors(&vec![1.0; 1 << 16], 1 << 10))]);
    for codec in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
        let how = IpcWriteOptions::default().try_with_compression(Some(codec)).expect("known");
        let mut bytes = Vec::new();
        let mut writer = StreamWriter::try_new_with_options(&mut bytes, &batch.schema(), how);
        let writer = writer.as_mut().expect("in memory");
        writer.write(&batch).and_then(|()| writer.finish()).expect("in memory");
        assert!(bytes.len() < 1 << 14, "{} bytes", bytes.len());
        let decoder = || ArrowRows::new(ColumnNames::default(), None, BYTES_MAX);
        let mut asked = 0;
        let rows = decoder().next(&mut &bytes[..], &mut |bytes| {
            asked = asked.max(bytes);
            Ok(())
        });
        assert_eq!(rows.expect("whole").expect("a batch").count, 1 << 6);
        assert!((3 << 18..7 << 17).contains(&asked), "{asked} bytes for 256 KiB of vectors");
        let no = |bytes| if bytes < 1 << 18 { Ok(()) } else { Err(refused("too much")) };
        let error = decoder().next(&mut &bytes[..], &mut { no }).expect_err("no room");
        assert!(error.message().contains("too much"), "{error}");
    }
}

#[test]
fn a_text_that_every_row_repeats_is_reserved_row_by_row() {
    let document = format!("{{\"a\":\"{}\"}}", "x".repeat(4 << 10));
    let coded: DictionaryArray<UInt8Type> =
        vec![Some(document.as_str()); 100].into_iter().collect();
    let one = ("vector", vectors(&[1.0; 100], 1));
    let bytes = stream(&[column(&[one, ("metadata", Arc::new(coded))])]);
    let decoder = || ArrowRows::new(ColumnNames::default(), None, BYTES_MAX);
    let mut asked = 0;
    let rows = decoder().next(&mut &bytes[..], &mut |bytes| {
        asked = asked.max(bytes);
        Ok(())
    });
    assert_eq!(rows.expect("whole").expect("a batch").metadata.len(), 100);
    assert!((400 << 10..800 << 10).contains(&asked), "{asked} bytes for 100 texts of 4 KiB");
    let mut asked = 0;
    let error = decoder().next(&mut &bytes[..], &mut |bytes| {
        asked = asked.max(bytes);
        if bytes > 100 << 10 { Err(refused("no room")) } else { Ok(()) }
    });
    assert!(error.expect_err("no room").message().contains("no room"));
    assert!(asked < 200 << 10, "{asked} bytes were asked for before it stopped");
}

#[test]
fn rows_and_keys_above_their_limits_are_refused_before_they_are_copied() {
    let one = || ("vector", vectors(&[1.0], 1));
    let text = |len: usize| -> ArrayRef { Arc::new(StringArray::from(vec!["\n".repeat(len)])) };
    let message = refusal(column(&[one(), ("idempotency_key", text(257))]));
    assert!(message.contains("a key of at most 256 bytes, got 257"), "{message}");
    // A line feed is two bytes of JSON.
    let large = 300 << 10;
    let message = refusal(column(&[one(), ("a", text(large)), ("b", text(large))]));
    assert!(message.contains("at most 1048576 bytes of JSON in a row"), "{message}");
    let nulls: ArrayRef = Arc::new(arrow_array::NullArray::new(2 << 20));
    let item = Arc::new(Field::new("item", DataType::Null, true));
    let offsets = arrow_buffer::OffsetBuffer::from_lengths([2 << 20]);
    let lists: ArrayRef = Arc::new(ListArray::new(item, offsets, nulls, None));
    let message = refusal(column(&[one(), ("n", lists)]));
    assert!(message.contains("at most 1048576 bytes of JSON in a row"), "{message}");
}
