//! The two sections: what goes in comes out, hostile bytes are refused, the rules of a row hold.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::error::{ErrorKind, Fault};
use crate::rng::Rng;
use crate::storage::AlignedBuffer;

fn built(rows: &[Option<&str>]) -> PayloadBytes {
    let mut builder = PayloadBuilder::new(&FieldKinds::NONE);
    for row in rows {
        builder.push(*row).expect("legal metadata");
    }
    let PayloadBytes { columns, raw } = builder.finish().expect("within limits");
    PayloadBytes { columns, raw: vec![raw.concat()] }
}

fn opened(bytes: &PayloadBytes, rows: u32) -> Result<Payload> {
    let columns = AlignedBuffer::copy_of(&bytes.columns).into();
    Payload::open(columns, AlignedBuffer::copy_of(&bytes.raw[0]).into(), rows)
}

/// Rows with every kind of value, dense and listed, and every state of a path.
fn varied_rows(count: usize, seed: u64) -> Vec<Option<String>> {
    let mut rng = Rng::new(seed);
    (0..count)
        .map(|row| {
            let number = rng.below(1000) as i64 - 500;
            let text = format!("s{}", rng.below(20));
            let value = json!({
                "dense": row, "negative": number, "big": u64::MAX - rng.below(9), "wide": rng.next_u64() >> 1,
                "float": number as f64 / 7.0, "flag": number > 0, "word": text, "tags": [text, "All "],
                "mixed": [number, number as f64 + 0.5, text, null, []], "objects": [{"x": row}, {"y": {}}],
                "entity_id": row, "long": "x".repeat(200 + row % 100),
            });
            let mut value = value;
            if let (Some(map), 0) = (value.as_object_mut(), rng.below(9)) {
                map.clear();
                map.insert("rare".to_owned(), json!({"n": number}));
            }
            (rng.below(10) > 0).then(|| value.to_string())
        })
        .collect()
}

fn as_given(rows: &[Option<String>]) -> Vec<Option<&str>> {
    rows.iter().map(Option::as_deref).collect()
}

/// Reads everything a filter could touch.
fn read_all(payload: &Payload) -> Result<()> {
    for row in 0..payload.rows() {
        payload.json(RowId(row))?;
    }
    let paths: Vec<FieldPath> = payload.paths().map(|(path, _)| path.clone()).collect();
    for path in &paths {
        let field = payload.field(path).expect("listed");
        let mut rows = field.exists()?;
        rows.or_with(&field.null()?);
        rows.or_with(&field.empty()?);
        rows.or_with(&field.long()?);
        for kind in ColumnKind::ALL {
            let Some(column) = field.column(kind)? else { continue };
            column.select_texts(Comparison::Gte, "", &mut rows);
            column.select_any_text(&["s1", "s2"], &mut rows);
            if kind != ColumnKind::Keyword && kind != ColumnKind::Bool {
                for comparison in [Comparison::Gt, Comparison::Lte] {
                    column.select_numbers(comparison, Number::Int(3), &mut rows);
                }
                let many: Vec<Number> = (0..20).map(Number::Int).collect();
                column.select_any_number(&many, &mut rows);
                column.bounds();
            }
            assert!(column.texts().count() <= payload.rows() as usize * 4);
        }
        assert!(rows.count() <= payload.rows());
    }
    Ok(())
}

#[test]
fn texts_come_back_byte_for_byte_and_missing_rows_stay_missing() {
    let rows =
        [Some("{}"), None, Some(" {\"b\" : 1,\n\"a\":\"\\u00e9\"} "), Some(r#"{"tags":" X "}"#)];
    let payload = opened(&built(&rows), 4).expect("own bytes");
    for (index, row) in rows.iter().enumerate() {
        assert_eq!(payload.json(RowId(index as u32)).expect("own bytes").as_deref(), *row);
    }
}

#[test]
fn paths_list_every_kind_seen() {
    let rows = [Some(r#"{"a":{"b":[1,2.5,"x"]},"c.d":null,"tags":"T"}"#), Some(r#"{"a":true}"#)];
    let payload = opened(&built(&rows), 2).expect("own bytes");
    let paths: Vec<(&str, Vec<ColumnKind>)> =
        payload.paths().map(|(path, kinds)| (path.as_str(), kinds)).collect();
    use ColumnKind::{Bool, Float, Int, Keyword};
    let expected = [
        ("a", vec![Bool]),
        ("a.b", vec![Int, Float, Keyword]),
        (r"c\.d", vec![]),
        ("tags", vec![Keyword]),
    ];
    assert_eq!(paths, expected);
    assert!(payload.is_complete());
}

#[test]
fn the_same_rows_give_the_same_bytes() {
    let rows = varied_rows(300, 5);
    assert_eq!(built(&as_given(&rows)), built(&as_given(&rows)));
}

#[test]
fn no_rows_and_rows_without_metadata_are_legal() {
    for rows in [vec![], vec![None; 65]] {
        let payload = opened(&built(&rows), rows.len() as u32).expect("own bytes");
        assert_eq!(payload.paths().count(), 0);
        read_all(&payload).expect("own bytes");
    }
}

#[test]
fn columns_alone_answer_filters_but_give_no_texts() {
    let bytes = built(&[Some(r#"{"a":1}"#)]);
    let columns = AlignedBuffer::copy_of(&bytes.columns).into();
    let payload = Payload::open_columns(columns, 1).expect("own bytes");
    assert!(payload.field(&FieldPath::from_keys(["a"])).is_some());
    assert_eq!(payload.json(RowId(0)).expect_err("no texts").kind(), ErrorKind::NotFound);
}

#[test]
fn bounds_are_the_smallest_and_greatest_number_that_is_there() {
    let rows = [Some(r#"{"a":-5,"f":[2.5,-1e9]}"#), None, Some(r#"{"a":70000}"#), Some("{}")];
    let payload = opened(&built(&rows), 4).expect("own bytes");
    for (name, kind, low, high) in [
        ("a", ColumnKind::Int, Number::Int(-5), Number::Int(70_000)),
        ("f", ColumnKind::Float, Number::Float(-1e9), Number::Float(2.5)),
    ] {
        let field = payload.field(&FieldPath::from_keys([name])).expect("seen");
        let column = field.column(kind).expect("own bytes").expect("seen");
        assert_eq!(column.bounds(), Some((low, high)), "{name}");
    }
}

#[test]
fn rows_that_break_a_rule_are_refused_with_expected_got_and_row() {
    let deep =
        |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    let key = |len: usize| format!("{{{:?}:1}}", "k".repeat(len));
    for legal in [
        deep(DEPTH_MAX),
        key(KEY_BYTES_MAX),
        r#"{"tags":null,"entity_id":null}"#.to_owned(),
        r#"{"x":{"tags":1,"entity_id":"free below the top"}}"#.to_owned(),
        format!("{{\"entity_id\":{}}}", u64::MAX),
    ] {
        validate(&legal, 0, &FieldKinds::NONE).expect("legal");
    }
    for (text, expected) in [
        ("[]".to_owned(), "a JSON object"),
        ("null".to_owned(), "a JSON object"),
        ("".to_owned(), "valid JSON"),
        ("{\"a\":1} x".to_owned(), "valid JSON"),
        ("{\"a\":1e999}".to_owned(), "valid JSON"),
        ("{\"a\":\"\\ud800\"}".to_owned(), "valid JSON"),
        (r#"{"a":1,"b":2,"a":3}"#.to_owned(), "each key once in an object"),
        (r#"{"z":[{"a":1,"\u0061":3}]}"#.to_owned(), "each key once in an object"),
        (r#"{"tags":7}"#.to_owned(), "a string or a list of strings"),
        (r#"{"tags":{}}"#.to_owned(), "a string or a list of strings"),
        (r#"{"tags":["a",null]}"#.to_owned(), "a string"),
        (r#"{"tags":[["a"]]}"#.to_owned(), "a string"),
        (format!("{{\"tags\":{:?}}}", "t".repeat(257)), "at most 256 bytes a tag"),
        (r#"{"entity_id":-1}"#.to_owned(), "an integer from 0 to 2^64 − 1"),
        (r#"{"entity_id":"1"}"#.to_owned(), "an integer from 0 to 2^64 − 1"),
        (r#"{"sequence_ts":1.0}"#.to_owned(), "an integer from 0 to 2^64 − 1"),
        (r#"{"sequence_ts":[1]}"#.to_owned(), "an integer from 0 to 2^64 − 1"),
        (deep(DEPTH_MAX + 1), "at most 32 levels of nesting"),
        (key(KEY_BYTES_MAX + 1), "a key of at most 256 bytes"),
        (format!("{{\"a\":{:?}}}", "x".repeat(ROW_JSON_BYTES_MAX)), "at most 1 MiB of JSON"),
        ("[".repeat(100_000), "a JSON object"),
    ] {
        let start: String = text.chars().take(40).collect();
        let error = validate(&text, 7, &FieldKinds::NONE).expect_err(&start);
        assert_eq!(error.kind(), ErrorKind::InvalidInput(Fault::Metadata), "{start}");
        assert_eq!(error.detail("expected"), Some(&expected.into()), "{start}: {error}");
        assert_eq!(error.detail("row"), Some(&7.into()), "{start}");
        assert!(error.detail("got").is_some(), "{start}");
        assert!(PayloadBuilder::new(&FieldKinds::NONE).push(Some(&text)).is_err(), "{start}");
    }
}

#[test]
fn sections_of_other_rows_or_cut_short_are_refused() {
    let rows = varied_rows(100, 3);
    let bytes = built(&as_given(&rows));
    for count in [0, 99, 101] {
        let error = opened(&bytes, count).expect_err("of other rows");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{count}");
    }
    for len in (0..bytes.columns.len()).step_by(7) {
        let cut = PayloadBytes { columns: bytes.columns[..len].to_vec(), raw: bytes.raw.clone() };
        assert!(opened(&cut, 100).and_then(|payload| read_all(&payload)).is_err(), "cut at {len}");
    }
    for len in (0..bytes.raw[0].len()).step_by(97) {
        let cut = PayloadBytes {
            columns: bytes.columns.clone(),
            raw: vec![bytes.raw[0][..len].to_vec()],
        };
        assert!(opened(&cut, 100).and_then(|payload| read_all(&payload)).is_err(), "cut at {len}");
    }
}

#[test]
fn texts_of_several_pieces_follow_one_another() {
    let text = |row: usize| format!("{{\"t\":\"{}\"}}", row.to_string().repeat(900_000));
    let mut builder = PayloadBuilder::new(&FieldKinds::NONE);
    for row in 0..9 {
        builder.push((row != 4).then(|| text(row)).as_deref()).expect("legal metadata");
    }
    let PayloadBytes { columns, raw } = builder.finish().expect("within limits");
    assert_eq!(raw.len(), 3, "the table, then pieces of at most 4 MiB");
    let payload = opened(&PayloadBytes { columns, raw: vec![raw.concat()] }, 9).expect("whole");
    for row in 0..9 {
        let expected = (row != 4).then(|| text(row));
        assert_eq!(payload.json(RowId(row as u32)).expect("whole").as_deref(), expected.as_deref());
    }
}

/// Where a part of the only path of a columns section is.
fn part_of(columns: &[u8], part: Part, kind: u8) -> std::ops::Range<usize> {
    let header: layout::Header = bytemuck::pod_read_unaligned(&columns[..32]);
    let blocks =
        &columns[32 + 16 * header.path_count as usize..][..32 * header.block_count as usize];
    let mut records = blocks.chunks(32).map(bytemuck::pod_read_unaligned::<layout::BlockRecord>);
    let found = records.find(|record| record.part == part as u8 && record.kind == kind);
    let record = found.expect("the section has such a block");
    record.offset as usize..(record.offset + record.len_bytes) as usize
}

#[test]
fn each_rule_of_the_bytes_of_a_column_is_checked() {
    let (int, uint) = (ColumnKind::Int as u8, ColumnKind::Uint as u8);
    let (float, bool, keyword) =
        (ColumnKind::Float as u8, ColumnKind::Bool as u8, ColumnKind::Keyword as u8);
    let huge = format!("[{},{}]", i64::MAX - 1, i64::MAX);
    let huge_uint = format!("[{},{}]", u64::MAX - 1, u64::MAX);
    for (value, part, kind, at, byte, found) in [
        ("[1,2]", Part::Rows, int, 0, 9, "rows out of order"),
        ("[1,2]", Part::Rows, int, 4, 9, "beyond 2 rows"),
        (huge.as_str(), Part::Values, int, 1, 2, "above i64::MAX"),
        (huge_uint.as_str(), Part::Values, uint, 1, 2, "above u64::MAX"),
        ("0.5", Part::Values, float, 7, 0x7F, ""),
        ("true", Part::Values, bool, 0, 2, "neither true nor false"),
        (r#"["a","b"]"#, Part::Values, keyword, 1, 2, "code 2 of 2 strings"),
        (r#"["a","b"]"#, Part::DictionaryOffsets, keyword, 4, 3, "offsets out of order"),
        (r#"["a","b"]"#, Part::DictionaryOffsets, keyword, 8, 1, "beyond its bytes"),
        (r#"["a","b"]"#, Part::DictionaryBytes, keyword, 0, b'b', "not in order"),
        (r#"["a","b"]"#, Part::DictionaryBytes, keyword, 1, 0xFF, "not UTF-8"),
    ] {
        let row = format!("{{\"x\":{value}}}");
        let mut bytes = built(&[Some(&row), Some(&row)]);
        let block = part_of(&bytes.columns, part, kind);
        bytes.columns[block][at] = byte;
        if kind == float {
            // Both bytes of the exponent: infinity.
            let block = part_of(&bytes.columns, part, kind);
            bytes.columns[block][6] = 0xF0;
        }
        let error = opened(&bytes, 2).and_then(|payload| read_all(&payload)).expect_err(found);
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.message().contains(found), "{error} (expected: {found})");
    }
}

#[test]
fn each_rule_of_the_bytes_of_a_set_of_rows_is_checked() {
    let of = |members: std::ops::Range<usize>| -> Vec<Option<&str>> {
        (0..100).map(|row| members.contains(&row).then_some("{\"x\":1}")).collect()
    };
    // Few rows are listed, many are bits.
    for (members, at, byte) in [(4..6, 0, 200), (4..6, 0, 5), (4..60, 15, 0x80)] {
        let mut bytes = built(&of(members.clone()));
        let block = part_of(&bytes.columns, Part::Exists, 0);
        bytes.columns[block][at] = byte;
        let error = opened(&bytes, 100).and_then(|payload| read_all(&payload)).expect_err("hurt");
        assert!(error.message().contains("presence of x"), "{members:?}: {error}");
    }
}

#[test]
fn tags_are_reported_trimmed_lower_case_sorted_and_once() {
    #[derive(Default)]
    struct Record(Vec<String>);
    impl Sink for Record {
        fn child(&mut self, _: u32, key: &str) -> Option<u32> {
            (key == "tags").then_some(1)
        }
        fn exists(&mut self, _: u32) {}
        fn null(&mut self, _: u32) {}
        fn empty(&mut self, _: u32) {}
        fn value(&mut self, _: u32, value: Scalar<'_>) {
            if let Scalar::Text(text) = value {
                self.0.push(text.to_owned());
            }
        }
    }
    let mut record = Record::default();
    walk(r#"{"tags":["b "," A","B","","a"],"other":"z"}"#, 0, &mut record).expect("legal");
    assert_eq!(record.0, ["a", "b"]);
}

/// Changed bytes may give other answers (checksums lie below this), but never a panic.
#[test]
fn changed_bytes_never_panic() {
    let rows = varied_rows(70, 11);
    let bytes = built(&as_given(&rows));
    let mut refused = 0;
    for seed in 0..4000 {
        let mut rng = Rng::new(seed);
        let mut hurt = bytes.clone();
        for _ in 0..1 + rng.below(3) {
            let part = if rng.below(4) == 0 { &mut hurt.raw[0] } else { &mut hurt.columns };
            // The front, where offsets and lengths are, more often than the rest.
            let end = if rng.below(2) == 0 { part.len().min(1600) } else { part.len() };
            let at = rng.below(end as u64) as usize;
            part[at] = [0, 1, 0x7F, 0x80, 0xFF, rng.next_u64() as u8][rng.below(6) as usize];
        }
        match opened(&hurt, 70).and_then(|payload| read_all(&payload)) {
            Ok(()) => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "seed {seed}: {error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 1000, "only {refused} of 4000 were noticed");
}

/// Around the widths of stored values.
const SPREADS: [u64; 9] = [0, 1, 255, 256, 65_535, 65_536, u32::MAX as u64, 1 << 32, u64::MAX];
const COMPARISONS: [Comparison; 5] =
    [Comparison::Eq, Comparison::Lt, Comparison::Lte, Comparison::Gt, Comparison::Gte];

proptest! {
    #[test]
    fn no_text_makes_the_walk_panic(text in r#"\{?[\[\]{}":,a-e0-9.\\n]{0,40}\}?"#) {
        let _ = validate(&text, 0, &FieldKinds::NONE);
    }

    #[test]
    fn validation_and_building_accept_the_same_texts(
        text in r#"\{"(tags|entity_id|a)":[\[\]{}":,a1-]{1,9}\}"#,
    ) {
        let built = PayloadBuilder::new(&FieldKinds::NONE).push(Some(&text));
        prop_assert_eq!(validate(&text, 0, &FieldKinds::NONE).is_ok(), built.is_ok());
    }

    #[test]
    fn every_width_of_integers_is_searched_right(
        base in prop::sample::select(vec![i64::MIN, -70_000, -1, 0, 5, i64::MAX - 3]),
        spread in prop::sample::select(SPREADS.to_vec()),
        picks in prop::collection::vec(any::<(u8, u64)>(), 1..200),
        operand in any::<i64>(),
        comparison in prop::sample::select(COMPARISONS.to_vec()),
    ) {
        let spread = u128::from(spread).min((i128::from(i64::MAX) - i128::from(base)) as u128);
        let value = |pick: u64| (i128::from(base) + (u128::from(pick) % (spread + 1)) as i128) as i64;
        // A third of the rows have no value.
        let values: Vec<Option<i64>> =
            picks.iter().map(|(kind, pick)| (kind % 3 > 0).then(|| value(*pick))).collect();
        let rows: Vec<Option<String>> =
            values.iter().map(|value| value.map(|value| format!("{{\"a\":{value}}}"))).collect();
        let payload = opened(&built(&as_given(&rows)), rows.len() as u32).expect("own bytes");
        let Some(field) = payload.field(&FieldPath::from_keys(["a"])) else { return Ok(()) };
        let column = field.column(ColumnKind::Int).expect("own bytes").expect("there are values");
        for operand in values.iter().flatten().take(3).copied().chain([operand]) {
            let mut found = RowSet::empty(rows.len() as u32);
            column.select_numbers(comparison, Number::Int(operand), &mut found);
            for (row, value) in values.iter().enumerate() {
                let expected = value.is_some_and(|value| comparison.accepts(value.cmp(&operand)));
                prop_assert_eq!(found.contains(RowId(row as u32)), expected, "{:?} {}", value, operand);
            }
        }
    }
}
