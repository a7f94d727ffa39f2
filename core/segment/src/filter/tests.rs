//! `eval` against an oracle that walks each row's `serde_json` tree; the JSON form; what is refused.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::cancel::never_cancelled;
use crate::error::{ErrorKind, Fault};
use crate::ids::RowId;
use crate::kinds::FieldKinds;
use crate::payload::{Comparison, FieldPath, Number, Payload, PayloadBuilder};
use crate::rowset::RowSet;
use crate::storage::AlignedBuffer;
use strategy::{document, filter};

pub(crate) mod strategy;

fn payload(rows: &[Option<String>]) -> Payload {
    let mut builder = PayloadBuilder::new(&FieldKinds::NONE);
    for row in rows {
        builder.push(row.as_deref()).expect("legal metadata");
    }
    let bytes = builder.finish().expect("within limits");
    let columns = AlignedBuffer::copy_of(&bytes.columns).into();
    let raw = AlignedBuffer::copy_of(&bytes.raw.concat()).into();
    Payload::open(columns, raw, rows.len() as u32).expect("own bytes")
}

fn kept(filter: &Value, rows: &[Value]) -> Vec<u32> {
    let texts: Vec<Option<String>> = rows.iter().map(|row| Some(row.to_string())).collect();
    let filter = Filter::from_json(filter).expect("legal filter");
    let rows = eval(&filter, &payload(&texts), &FieldKinds::NONE).expect("evaluates");
    rows.iter().map(|row| row.0).collect()
}

/// The oracle: everything found at `keys`, lists unfolded; an empty list stands for itself.
fn found<'a>(json: &'a Value, keys: &[String], out: &mut Vec<&'a Value>) {
    match (json, keys) {
        (Value::Array(items), _) => {
            if items.is_empty() && keys.is_empty() {
                out.push(json);
            }
            items.iter().for_each(|item| found(item, keys, out));
        }
        (Value::Object(map), [key, rest @ ..]) => {
            if let Some(inner) = map.get(key) {
                found(inner, rest, out);
            }
        }
        (_, []) => out.push(json),
        (_, _) => {}
    }
}

fn exists(json: &Value, keys: &[String]) -> bool {
    match (json, keys) {
        (_, []) => true,
        (Value::Array(items), _) => items.iter().any(|item| exists(item, keys)),
        (Value::Object(map), [key, rest @ ..]) => {
            map.get(key).is_some_and(|inner| exists(inner, rest))
        }
        (_, _) => false,
    }
}

fn passes(value: &Value, comparison: Comparison, operand: &Operand, is_tag: bool) -> bool {
    let normal = |text: &str| if is_tag { text.trim().to_lowercase() } else { text.to_owned() };
    match (value, operand) {
        (Value::Number(value), Operand::Number(operand)) => {
            let value = Number::from_json(value).expect("finite");
            comparison.accepts(value.cmp(operand))
        }
        (Value::String(value), Operand::Text(operand)) => {
            let (value, operand) = (normal(value), normal(operand));
            !(is_tag && value.is_empty()) && comparison.accepts(value.cmp(&operand))
        }
        (Value::Bool(value), Operand::Bool(operand)) => {
            comparison == Comparison::Eq && value == operand
        }
        (Value::Null, Operand::Null) => comparison == Comparison::Eq,
        (_, _) => false,
    }
}

fn oracle(filter: &Filter, row: &Value) -> bool {
    let any = |path: &FieldPath, test: &dyn Fn(&Value) -> bool| {
        let mut values = Vec::new();
        found(row, &path.keys(), &mut values);
        values.into_iter().any(test)
    };
    match filter {
        Filter::MatchAll => true,
        Filter::And(filters) => filters.iter().all(|filter| oracle(filter, row)),
        Filter::Or(filters) => filters.iter().any(|filter| oracle(filter, row)),
        Filter::Not(filter) => !oracle(filter, row),
        Filter::Compare(path, comparison, operand) => {
            let is_tag = path.as_str() == "tags";
            any(path, &|value| passes(value, *comparison, operand, is_tag))
        }
        Filter::In(path, operands) => {
            let is_tag = path.as_str() == "tags";
            let is_one = |value: &Value| {
                operands.iter().any(|operand| passes(value, Comparison::Eq, operand, is_tag))
            };
            any(path, &is_one)
        }
        Filter::Exists(path) => row.is_object() && exists(row, &path.keys()),
        Filter::IsEmpty(path) if path.as_str() == "tags" => match &row["tags"] {
            Value::String(tag) => tag.trim().is_empty(),
            Value::Array(tags) => {
                tags.iter().all(|tag| tag.as_str().is_some_and(|tag| tag.trim().is_empty()))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
        },
        Filter::IsEmpty(path) => any(path, &|value| matches!(value, Value::Array(_))),
    }
}

fn assert_agrees(filter: &Filter, rows: &[Option<Value>], payload: &Payload) {
    let result = eval(filter, payload, &FieldKinds::NONE).expect("evaluates");
    for (index, row) in rows.iter().enumerate() {
        let expected = oracle(filter, row.as_ref().unwrap_or(&Value::Null));
        let got = result.contains(RowId(index as u32));
        assert_eq!(got, expected, "row {index} {row:?} by {}", filter.to_json());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn columns_answer_as_reading_every_row_would(
        rows in prop::collection::vec(prop::option::weighted(0.9, document()), 0..90),
        filters in prop::collection::vec(filter(), 1..8),
        repeat in prop::sample::select(vec![1usize, 1, 3]),
    ) {
        let rows: Vec<Option<Value>> = rows.iter().cycle().take(rows.len() * repeat).cloned().collect();
        let texts: Vec<Option<String>> =
            rows.iter().map(|row| row.as_ref().map(Value::to_string)).collect();
        let payload = payload(&texts);
        for filter in &filters {
            assert_agrees(filter, &rows, &payload);
        }
    }

    #[test]
    fn the_json_form_reads_back_as_the_same_filter(filter in filter()) {
        let json = filter.to_json();
        prop_assert_eq!(&Filter::from_json(&json).expect("own JSON"), &filter, "{}", json);
        let text = json.to_string();
        prop_assert_eq!(&Filter::from_json_text(&text).expect("own JSON"), &filter, "{}", text);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in r#"[\[\]{}":,a-e0-9.\\ntrue]{0,60}"#) {
        let _ = Filter::from_json_text(&text);
    }

    #[test]
    fn evaluating_within_candidates_gives_those_of_them_that_pass(
        rows in prop::collection::vec(document(), 1..70),
        filter in filter(),
        bits in any::<u64>(),
    ) {
        let texts: Vec<Option<String>> = rows.iter().map(|row| Some(row.to_string())).collect();
        let payload = payload(&texts);
        let mut candidates = RowSet::empty(rows.len() as u32);
        for row in (0..rows.len() as u32).filter(|row| bits >> (row % 64) & 1 == 1) {
            candidates.insert(RowId(row));
        }
        let mut expected = eval(&filter, &payload, &FieldKinds::NONE).expect("evaluates");
        expected.and_with(&candidates);
        let kept = eval_within(&filter, &payload, &FieldKinds::NONE, &candidates, &never_cancelled);
        prop_assert_eq!(kept.expect("evaluates"), expected);
    }
}

#[test]
fn paths_beyond_the_limit_are_read_from_the_texts() {
    let rows: Vec<Option<Value>> = (0..70)
        .map(|row| {
            let fields = (0..20).map(|n| (format!("f{}", row * 20 + n), json!({"x": [row, n]})));
            let mut fields: serde_json::Map<String, Value> = fields.collect();
            fields.insert("tags".to_owned(), json!([format!("T{row}")]));
            Some(fields.into())
        })
        .collect();
    let texts: Vec<_> = rows.iter().map(|row| row.as_ref().map(Value::to_string)).collect();
    let payload = payload(&texts);
    assert!(!payload.is_complete());
    assert!(payload.paths().count() <= crate::payload::PATHS_MAX + 3);
    for filter in [
        json!({"f3.x": 3}),
        json!({"f1390.x": {"gte": 69, "lt": 70}}),
        json!({"and": [{"f1399.x": {"in": [19, "a"]}}, {"tags": "t69"}]}),
        json!({"not": {"f1399": {"exists": true}}}),
        json!({"nowhere": 1}),
    ] {
        assert_agrees(&Filter::from_json(&filter).expect("legal"), &rows, &payload);
    }
}

#[test]
fn missing_null_and_empty_are_three_states() {
    let rows = [
        json!({}),
        json!({"a": null}),
        json!({"a": []}),
        json!({"a": [1, null]}),
        json!({"a": {}}),
    ];
    assert_eq!(kept(&json!({"a": {"exists": false}}), &rows), [0]);
    assert_eq!(kept(&json!({"a": null}), &rows), [1, 3]);
    assert_eq!(kept(&json!({"a": []}), &rows), [2]);
    assert_eq!(kept(&json!({"a": {"ne": 1}}), &rows), [0, 1, 2, 4]);
    assert_eq!(kept(&json!({"a": {"exists": true}}), &rows), [1, 2, 3, 4]);
}

#[test]
fn each_operator_may_be_met_by_another_value_of_a_list() {
    let rows = [json!({"a": [1, 9]}), json!({"a": 2}), json!({"a": [{"b": 2.5}, {"b": "x"}]})];
    assert_eq!(kept(&json!({"a": {"gte": 2, "lt": 3}}), &rows), [0, 1]);
    assert_eq!(kept(&json!({"a.b": {"gt": 2, "lt": 3}}), &rows), [2]);
    assert_eq!(kept(&json!({"a.b": {"contains": "x"}}), &rows), [2]);
}

#[test]
fn tags_are_compared_trimmed_and_in_lower_case_on_both_sides() {
    let rows = [json!({"tags": [" Rock", "POP "]}), json!({"tags": "rock"}), json!({"tags": []})];
    assert_eq!(kept(&json!({"tags_any": ["ROCK"]}), &rows), [0, 1]);
    assert_eq!(kept(&json!({"tags_all": ["pop", " rock "]}), &rows), [0]);
    assert_eq!(kept(&json!({"tags": {"in": ["Pop"]}}), &rows), [0]);
    assert_eq!(kept(&json!({"tags_all": []}), &rows), [0, 1, 2]);
    assert_eq!(kept(&json!({"tags_any": []}), &rows), [] as [u32; 0]);
}

#[test]
fn a_field_named_like_an_operator_or_with_a_dot_is_named_by_its_keys() {
    let rows = [json!({"and": 1}), json!({"a.b": 1}), json!({"a": {"b": 1}}), json!({"field": 1})];
    assert_eq!(kept(&json!({"field": ["and"], "eq": 1}), &rows), [0]);
    assert_eq!(kept(&json!({"field": ["a.b"], "gte": 1, "lt": 2}), &rows), [1]);
    assert_eq!(kept(&json!({r"a\.b": 1}), &rows), [1]);
    assert_eq!(kept(&json!({"a.b": 1}), &rows), [2]);
    assert_eq!(kept(&json!({"field": 1}), &rows), [3]);
}

#[test]
fn refusals_say_where_what_was_expected_and_what_was_meant() {
    for (filter, position, near) in [
        (json!([]), "", ""),
        (json!({"and": [{}, {"price": {"le": 3}}]}), "and[1].price.le", "lte"),
        (json!({"price": {"$gt": 3}}), "price.$gt", "gt"),
        (json!({"price": {"eqq": 3}}), "price.eqq", "eq"),
        (json!({"price": {"<": 3}}), "price.<", "lt"),
        (json!({"a": {"nested": 3}}), "a.nested", ""),
        (json!({"price": {}}), "price", ""),
        (json!({"price": [1, 2]}), "price", ""),
        (json!({"price": {"lt": true}}), "price.lt", ""),
        (json!({"price": {"in": 3}}), "price.in", ""),
        (json!({"price": {"in": [1, {}]}}), "price.in[1]", ""),
        (json!({"price": {"exists": 1}}), "price.exists", ""),
        (json!({"price": {"contains": []}}), "price.contains", ""),
        (json!({"and": {"eq": 1}}), "and", ""),
        (json!({"not": [{}]}), "not", ""),
        (json!({"tags_any": "a"}), "tags_any", ""),
        (json!({"tags_all": ["a", 1]}), "tags_all[1]", ""),
        (json!({"field": ["a"]}), "", ""),
        (json!({"field": [1], "eq": 1}), "field", ""),
        (json!({"field": ["a"], "eq": 1, "b": 2}), "b", ""),
        (json!({r"a\b": 1}), r"a\b", ""),
    ] {
        let error = Filter::from_json(&filter).expect_err("must be refused");
        assert_eq!(error.kind(), ErrorKind::InvalidInput(Fault::Filter), "{filter}");
        assert_eq!(error.detail("position"), Some(&position.into()), "{filter}: {error}");
        assert!(error.detail("expected").is_some() && error.detail("got").is_some(), "{error}");
        let first = error.detail("near").and_then(|near| near[0].as_str()).unwrap_or("");
        assert_eq!(first, near, "{filter}: {error}");
    }
}

#[test]
fn a_condition_that_is_there_twice_is_refused_not_lost() {
    let error = Filter::from_json_text(r#"{"price":{"lt":10},"price":{"gte":1}}"#)
        .expect_err("must be refused");
    assert!(error.message().contains("price"), "{error}");
}

#[test]
fn limits_hold_at_their_ends() {
    let nested = |depth: usize| (1..depth).fold(json!({}), |inner, _| json!({"not": inner}));
    assert!(Filter::from_json(&nested(FILTER_DEPTH_MAX)).is_ok());
    assert!(Filter::from_json(&nested(FILTER_DEPTH_MAX + 1)).is_err());
    let wide = |nodes: usize| json!({"or": vec![json!({}); nodes - 1]});
    assert!(Filter::from_json(&wide(FILTER_NODES_MAX)).is_ok());
    assert!(Filter::from_json(&wide(FILTER_NODES_MAX + 1)).is_err());
    let list = |count: usize| json!({"a": {"in": vec![1; count]}});
    assert!(Filter::from_json(&list(IN_VALUES_MAX)).is_ok());
    assert!(Filter::from_json(&list(IN_VALUES_MAX + 1)).is_err());
    assert!(Filter::from_json_text(&"[".repeat(100_000)).is_err());
}

#[test]
fn fields_are_those_whose_values_are_asked_for() {
    let filter = json!({"b": 1, "or": [{"a": {"in": []}}, {"x": {"exists": true}}, {"b": []}]});
    let filter = Filter::from_json(&filter).expect("legal");
    assert_eq!(filter.fields().iter().map(|path| path.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn a_field_no_row_has_is_refused_with_near_names() {
    let rows = [r#"{"price":1,"a":{"b":2}}"#, r#"{"colour":"red"}"#];
    let segments: Vec<Payload> =
        rows.iter().map(|row| payload(&[Some((*row).to_owned())])).collect();
    let check = |filter: Value, segments: &[Payload]| {
        let names = segments.iter().flat_map(Payload::paths).map(|(path, _)| path.as_str());
        let is_known = |path: &FieldPath| segments.iter().any(|payload| payload.may_have(path));
        Filter::from_json(&filter).expect("legal").check_fields(is_known, names)
    };
    for filter in [
        json!({"price": 1, "colour": "x", "a.b": 1, "a": null}),
        json!({"pirce": {"exists": true}}),
        json!({"tags_any": ["x"], "entity_id": 3}),
        json!({}),
    ] {
        check(filter, &segments).expect("known fields only");
    }
    let error = check(json!({"or": [{"price": 1}, {"pirce": {"ne": 1}}]}), &segments)
        .expect_err("must be refused");
    assert_eq!(error.detail("got"), Some(&"pirce".into()));
    assert_eq!(error.detail("near"), Some(&json!(["price"])));
    check(json!({"pirce": 1}), &[]).expect_err("nothing is known, so this is not");
}

#[test]
fn a_text_above_a_limit_is_refused_where_it_passes_it() {
    let many = |count: usize, item: &str| vec![item; count].join(",");
    let refusal = |text: &str| {
        let error = Filter::from_json_text(text).expect_err("above a limit");
        assert_eq!(error.kind(), ErrorKind::InvalidInput(Fault::Filter));
        error.message().to_owned()
    };
    let terms = |count| format!("{{\"or\":[{}]}}", many(count, "{\"n\":1}"));
    assert!(Filter::from_json_text(&terms(FILTER_NODES_MAX - 1)).is_ok());
    let most = "nodes of a filter: expected at most 10000, got 10001";
    assert_eq!(refusal(&terms(FILTER_NODES_MAX)), most);
    // What follows is not read, so that it may be anything.
    let unfinished = format!("{{\"or\":[{},!!!", many(FILTER_NODES_MAX + 1, "{\"n\":1}"));
    assert_eq!(refusal(&unfinished), most);
    assert_eq!(refusal(&format!("{{\"or\":[{}]}}", many(20_000, "{}"))), most);
    let explicit =
        |count| format!("{{\"or\":[{}]}}", many(count, "{\"field\":[\"a\"],\"in\":[1]}"));
    assert!(Filter::from_json_text(&explicit(FILTER_NODES_MAX - 1)).is_ok());
    assert_eq!(refusal(&explicit(FILTER_NODES_MAX)), most);
    for item in ["[]", "{\"field\":[]}", "{\"a\":{\"b\":{}}}"] {
        let text = format!("{{\"or\":[{}]}}", many(60_000, item));
        assert!(refusal(&text).contains("at most"), "{item}");
    }
    let listed = |lists: usize| {
        let list = format!("{{\"n\":{{\"in\":[{}]}}}}", many(IN_VALUES_MAX, "1"));
        format!("{{\"or\":[{}]}}", many(lists, &list))
    };
    assert!(Filter::from_json_text(&listed(FILTER_VALUES_MAX / IN_VALUES_MAX)).is_ok());
    assert!(refusal(&listed(FILTER_VALUES_MAX / IN_VALUES_MAX + 1)).contains("values of all"));
    let long = format!("{{\"n\":\"{}\"}}", "x".repeat(FILTER_TEXT_BYTES_MAX));
    assert!(refusal(&long).contains("bytes of the text"));
    assert_eq!(reading_bytes_max(&long), 0, "it is not read");
    assert!(reading_bytes_max(&terms(100_000)) < 64 << 20);
}

#[test]
fn an_evaluation_that_is_cancelled_ends_between_two_tests_and_within_a_long_one() {
    let long = "x".repeat(300);
    let texts: Vec<Option<String>> =
        (0..5_000).map(|_| Some(json!({ "n": 1, "text": long }).to_string())).collect();
    let payload = payload(&texts);
    let all = RowSet::full(5_000);
    for (filter, checks) in
        [(json!({"or": [{"n": 2}, {"n": 3}, {"n": 4}]}), 3), (json!({"text": {"lt": "a"}}), 6)]
    {
        let filter = Filter::from_json(&filter).expect("a good filter");
        for allowed in 0..=checks {
            let asked = std::sync::atomic::AtomicU32::new(0);
            let go_on = || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < allowed;
            let found = eval_within(&filter, &payload, &FieldKinds::NONE, &all, &go_on);
            match found {
                Ok(_) => assert_eq!(allowed, checks),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Cancelled);
                    assert!(allowed < checks);
                }
            }
        }
    }
}
