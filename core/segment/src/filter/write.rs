//! `Filter::to_json`: a filter as native JSON; reading it back gives the same filter. Called by tests, which
//! print filters.

use serde_json::{Value, json};

use super::ast::{Filter, Operand};
use super::json::RESERVED;
use crate::payload::{Comparison, FieldPath};

impl Filter {
    /// The canonical native JSON. [`Filter::from_json`] of it is equal to the filter.
    pub fn to_json(&self) -> Value {
        match self {
            Filter::MatchAll => json!({}),
            Filter::And(filters) => json!({"and": list(filters)}),
            Filter::Or(filters) => json!({"or": list(filters)}),
            Filter::Not(filter) => json!({"not": filter.to_json()}),
            Filter::Compare(path, comparison, operand) => {
                test(path, comparison.name(), operand.to_json())
            }
            Filter::In(path, operands) => {
                test(path, "in", operands.iter().map(Operand::to_json).collect())
            }
            Filter::Exists(path) => test(path, "exists", true.into()),
            Filter::IsEmpty(path) => test(path, "eq", json!([])),
        }
    }
}

impl Operand {
    /// As a JSON value.
    pub fn to_json(&self) -> Value {
        match self {
            Operand::Null => Value::Null,
            Operand::Bool(value) => (*value).into(),
            Operand::Number(number) => number.to_json(),
            Operand::Text(text) => text.as_str().into(),
        }
    }
}

fn list(filters: &[Filter]) -> Value {
    filters.iter().map(Filter::to_json).collect()
}

fn test(path: &FieldPath, operator: &str, operand: Value) -> Value {
    if RESERVED.contains(&path.as_str()) {
        json!({"field": path.keys(), operator: operand})
    } else {
        json!({path.as_str(): {operator: operand}})
    }
}

impl Comparison {
    /// The operator of the native JSON.
    pub fn name(self) -> &'static str {
        match self {
            Comparison::Eq => "eq",
            Comparison::Lt => "lt",
            Comparison::Lte => "lte",
            Comparison::Gt => "gt",
            Comparison::Gte => "gte",
        }
    }
}
