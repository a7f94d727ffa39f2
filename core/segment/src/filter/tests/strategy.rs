//! Random metadata and random filters over the same few fields, so that they often meet.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::filter::{Filter, Operand};
use crate::payload::{Comparison, FieldPath, Number};

const KEYS: [&str; 5] = ["a", "b", "c.d", "and", ""];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[abc]{0,2}",
        1 => prop::sample::select(vec!["é", "Z", "z"]).prop_map(str::to_owned),
        // Around the longest string a column takes.
        1 => (254usize..260, "[abc]").prop_map(|(len, end)| "a".repeat(len) + &end),
    ]
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => (-3i64..4).prop_map(Value::from),
        2 => (-6i32..7).prop_map(|half| Value::from(f64::from(half) / 2.0)),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        2 => prop::sample::select(vec![
            json!(9_007_199_254_740_993_i64), json!(9_007_199_254_740_992.0), json!(i64::MAX),
            json!(i64::MIN), json!(u64::MAX), json!(9.223372036854775e18), json!(-0.0), json!(1e300),
            json!(1_i64 << 32), json!(9_223_372_036_854_775_808_u64), json!(300), json!(70_000),
        ]),
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        4 => number(),
        3 => text().prop_map(Value::from),
    ]
}

pub(crate) fn document() -> impl Strategy<Value = Value> {
    let value = scalar().prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(prop::sample::select(KEYS.to_vec()), inner, 0..4)
                .prop_map(|map| map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    });
    let tags = prop_oneof![
        text().prop_map(Value::from),
        Just(Value::Null),
        prop::collection::vec("[ aAbB]{0,3}", 0..4).prop_map(Value::from),
    ];
    let fields = prop::collection::btree_map(prop::sample::select(KEYS.to_vec()), value, 0..5);
    (fields, prop::option::of(tags), prop::option::of(any::<u64>())).prop_map(
        |(fields, tags, entity)| {
            let fields = fields.into_iter().map(|(key, value)| (key.to_owned(), value));
            let tags = tags.map(|tags| ("tags".to_owned(), short(tags)));
            let entity = entity.map(|entity| ("entity_id".to_owned(), entity.into()));
            fields.chain(tags).chain(entity).collect()
        },
    )
}

/// Tags of more than 256 bytes are refused, not compared.
fn short(tags: Value) -> Value {
    let is_long = tags.as_str().is_some_and(|tag| tag.len() > 256);
    if is_long { Value::Null } else { tags }
}

fn path() -> impl Strategy<Value = FieldPath> {
    let keys = prop::collection::vec(prop::sample::select(KEYS.to_vec()), 1..4);
    prop_oneof![
        6 => keys.prop_map(FieldPath::from_keys),
        1 => Just(FieldPath::from_keys(["tags"])),
        1 => Just(FieldPath::from_keys(["entity_id"])),
        1 => Just(FieldPath::from_keys(["unknown"])),
    ]
}

fn operand() -> impl Strategy<Value = Operand> {
    scalar().prop_map(|value| match value {
        Value::Null => Operand::Null,
        Value::Bool(value) => Operand::Bool(value),
        Value::Number(number) => Operand::Number(Number::from_json(&number).expect("finite")),
        Value::String(text) => Operand::Text(text),
        Value::Array(_) | Value::Object(_) => unreachable!("scalars only"),
    })
}

pub(crate) fn filter() -> impl Strategy<Value = Filter> {
    let ordered = prop::sample::select(vec![
        Comparison::Lt,
        Comparison::Lte,
        Comparison::Gt,
        Comparison::Gte,
    ]);
    let is_ordered = |operand: &Operand| matches!(operand, Operand::Number(_) | Operand::Text(_));
    let leaf = prop_oneof![
        1 => Just(Filter::MatchAll),
        4 => (path(), operand()).prop_map(|(path, x)| Filter::Compare(path, Comparison::Eq, x)),
        4 => (path(), ordered, operand().prop_filter("ordered", is_ordered))
            .prop_map(|(path, comparison, x)| Filter::Compare(path, comparison, x)),
        3 => (path(), prop::collection::vec(operand(), 0..9))
            .prop_map(|(path, list)| Filter::In(path, list)),
        2 => path().prop_map(Filter::Exists),
        1 => path().prop_map(Filter::IsEmpty),
        1 => prop::collection::vec("[ aAbB]{0,3}", 0..3).prop_map(Filter::tags_any),
        1 => prop::collection::vec("[ aAbB]{0,3}", 0..3).prop_map(Filter::tags_all),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..4);
        prop_oneof![
            list.clone().prop_map(Filter::And),
            list.prop_map(Filter::Or),
            inner.prop_map(Filter::negated),
        ]
    })
}
