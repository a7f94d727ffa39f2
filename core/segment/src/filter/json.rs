//! Reads the native JSON of filters (the table in the module page) into a `Filter`. Entry: `from_json_text`
//! for a text, `from_json` for a parsed value; called by the request parsers of the server, the command line,
//! Python and `wasm`. The limits while reading are in `strict`.
//!
//! Errors say where (`and[1].price.lt`), what was expected, what was found and what was probably meant. Reading a
//! text also refuses a key that is there twice: of two conditions on one field neither may be lost silently.

use serde_json::{Map, Value};

use super::ast::{FILTER_DEPTH_MAX, Filter, IN_VALUES_MAX, Operand};
use super::near::near_names;
use super::strict;
use crate::error::{Error, Fault, Result, shown};
use crate::payload::{Comparison, FieldPath, Number};

/// Keys that are not names of fields.
pub(super) const RESERVED: [&str; 6] = ["and", "or", "not", "field", "tags_any", "tags_all"];

const OPERATORS: [&str; 10] =
    ["eq", "ne", "in", "nin", "lt", "lte", "gt", "gte", "contains", "exists"];

/// How other systems spell our operators.
const SYNONYMS: [(&str, &str); 16] = [
    ("=", "eq"),
    ("==", "eq"),
    ("is", "eq"),
    ("match", "eq"),
    ("!=", "ne"),
    ("<>", "ne"),
    ("neq", "ne"),
    ("<", "lt"),
    ("<=", "lte"),
    ("le", "lte"),
    (">", "gt"),
    (">=", "gte"),
    ("ge", "gte"),
    ("any", "in"),
    ("isin", "in"),
    ("not_in", "nin"),
];

impl Filter {
    /// Reads the native JSON from text.
    ///
    /// # Errors
    /// `InvalidInput(Filter)` as [`from_json`](Filter::from_json); also if the text is no JSON, is longer than
    /// [`FILTER_TEXT_BYTES_MAX`](super::FILTER_TEXT_BYTES_MAX) or has a key twice in one object. A text above a
    /// limit is refused where the limit is passed; what follows is not read.
    pub fn from_json_text(text: &str) -> Result<Self> {
        Filter::from_json(&strict::parse(text)?)
    }

    /// Reads the native JSON. O(size).
    ///
    /// # Errors
    /// `InvalidInput(Filter)` with `position`, `expected`, `got` and, where there is one, `near`.
    pub fn from_json(json: &Value) -> Result<Self> {
        let filter = Reader { position: Vec::new() }.filter(json, 1)?;
        filter.check_limits()?;
        Ok(filter)
    }
}

/// Where in the JSON the reader is: keys and list positions from the outside in.
struct Reader {
    position: Vec<Step>,
}

enum Step {
    Key(String),
    Item(usize),
}

impl Reader {
    fn filter(&mut self, json: &Value, depth: usize) -> Result<Filter> {
        if depth > FILTER_DEPTH_MAX {
            return Err(self.refuse("at most 64 filters inside each other", "more"));
        }
        let Value::Object(map) = json else {
            return Err(self.refuse("an object like {\"price\": {\"lt\": 10}}", &kind(json)));
        };
        if let Some(Value::Array(keys)) = map.get("field") {
            return self.explicit_field(map, keys);
        }
        let mut filters = Vec::with_capacity(map.len());
        for (key, value) in map {
            self.within(Step::Key(key.clone()), |reader| {
                reader.entry(key, value, depth, &mut filters)
            })?;
        }
        Ok(joined(filters))
    }

    /// One key of a filter object; `filters` gets what it says.
    fn entry(
        &mut self,
        key: &str,
        value: &Value,
        depth: usize,
        filters: &mut Vec<Filter>,
    ) -> Result<()> {
        match key {
            "and" => filters.push(Filter::And(self.filters(value, key, depth)?)),
            "or" => filters.push(Filter::Or(self.filters(value, key, depth)?)),
            "not" => filters.push(self.filter(value, depth + 1)?.negated()),
            "tags_any" => filters.push(Filter::tags_any(self.tags(value)?)),
            "tags_all" => filters.push(Filter::tags_all(self.tags(value)?)),
            _ => {
                let path = FieldPath::parse(key).map_err(|error| self.placed(error))?;
                self.field(&path, value, filters)?;
            }
        }
        Ok(())
    }

    fn filters(&mut self, json: &Value, key: &str, depth: usize) -> Result<Vec<Filter>> {
        let Value::Array(items) = json else {
            let hint = format!(
                "a list of filters (a field named {key:?} is written {{\"field\":[{key:?}],…}})"
            );
            return Err(self.refuse(&hint, &kind(json)));
        };
        let items = items.iter().enumerate();
        items
            .map(|(index, item)| {
                self.within(Step::Item(index), |reader| reader.filter(item, depth + 1))
            })
            .collect()
    }

    fn tags(&mut self, json: &Value) -> Result<Vec<String>> {
        let Value::Array(items) = json else {
            return Err(self.refuse("a list of strings", &kind(json)));
        };
        let tag = |(index, item): (usize, &Value)| match item.as_str() {
            Some(tag) => Ok(tag.to_owned()),
            None => {
                self.within(Step::Item(index), |reader| Err(reader.refuse("a string", &kind(item))))
            }
        };
        items.iter().enumerate().map(tag).collect()
    }

    /// `{"field":["a","b"],"lt":1}`.
    fn explicit_field(&mut self, map: &Map<String, Value>, keys: &[Value]) -> Result<Filter> {
        let names: Option<Vec<&str>> = keys.iter().map(Value::as_str).collect();
        let Some(names) = names.filter(|names| !names.is_empty()) else {
            return self.within(Step::Key("field".to_owned()), |reader| {
                Err(reader.refuse("the keys of a path, like [\"a\", \"b\"]", "something else"))
            });
        };
        let path = FieldPath::from_keys(names);
        let tests = map.iter().filter(|(key, _)| *key != "field");
        let mut filters = Vec::new();
        for (operator, operand) in tests {
            filters.push(self.operator(&path, operator, operand)?);
        }
        if filters.is_empty() {
            return Err(self.refuse("an operator beside \"field\", like \"eq\"", "none"));
        }
        Ok(joined(filters))
    }

    /// What stands behind the name of a field.
    fn field(&mut self, path: &FieldPath, json: &Value, filters: &mut Vec<Filter>) -> Result<()> {
        match json {
            Value::Object(map) if map.is_empty() => {
                Err(self.refuse("an operator, like {\"eq\": 1}", "an empty object"))
            }
            Value::Object(map) => {
                for (operator, operand) in map {
                    filters.push(self.operator(path, operator, operand)?);
                }
                Ok(())
            }
            Value::Array(items) if !items.is_empty() => {
                Err(self.refuse("a value or an operator (for a list: {\"in\": […]})", "a list"))
            }
            Value::Array(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_) => {
                filters.push(self.equal(path, json)?);
                Ok(())
            }
        }
    }

    fn operator(&mut self, path: &FieldPath, operator: &str, json: &Value) -> Result<Filter> {
        self.within(Step::Key(operator.to_owned()), |reader| match operator {
            "eq" => reader.equal(path, json),
            "ne" => Ok(reader.equal(path, json)?.negated()),
            "contains" => reader.contains(path, json),
            "in" => reader.one_of(path, json),
            "nin" => Ok(reader.one_of(path, json)?.negated()),
            "lt" => reader.ordered(path, Comparison::Lt, json),
            "lte" => reader.ordered(path, Comparison::Lte, json),
            "gt" => reader.ordered(path, Comparison::Gt, json),
            "gte" => reader.ordered(path, Comparison::Gte, json),
            "exists" => match json.as_bool() {
                Some(true) => Ok(Filter::Exists(path.clone())),
                Some(false) => Ok(Filter::Exists(path.clone()).negated()),
                None => Err(reader.refuse("true or false", &kind(json))),
            },
            _ => Err(reader.unknown_operator(path, operator)),
        })
    }

    fn equal(&self, path: &FieldPath, json: &Value) -> Result<Filter> {
        if json.as_array().is_some_and(Vec::is_empty) {
            return Ok(Filter::IsEmpty(path.clone()));
        }
        self.contains(path, json)
    }

    fn contains(&self, path: &FieldPath, json: &Value) -> Result<Filter> {
        Ok(Filter::Compare(path.clone(), Comparison::Eq, self.operand(json)?))
    }

    fn one_of(&mut self, path: &FieldPath, json: &Value) -> Result<Filter> {
        let Value::Array(items) = json else {
            return Err(self.refuse("a list of values", &kind(json)));
        };
        if items.len() > IN_VALUES_MAX {
            return Err(self.refuse("at most 65536 values", &items.len().to_string()));
        }
        let mut operands = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            operands.push(self.within(Step::Item(index), |reader| reader.operand(item))?);
        }
        Ok(Filter::In(path.clone(), operands))
    }

    fn ordered(&self, path: &FieldPath, comparison: Comparison, json: &Value) -> Result<Filter> {
        let operand = self.operand(json)?;
        match operand {
            Operand::Number(_) | Operand::Text(_) => {
                Ok(Filter::Compare(path.clone(), comparison, operand))
            }
            Operand::Null | Operand::Bool(_) => {
                Err(self.refuse("a number or a string", &kind(json)))
            }
        }
    }

    fn operand(&self, json: &Value) -> Result<Operand> {
        match json {
            Value::Null => Ok(Operand::Null),
            Value::Bool(value) => Ok(Operand::Bool(*value)),
            Value::String(text) => Ok(Operand::Text(text.clone())),
            Value::Number(number) => Number::from_json(number)
                .map(Operand::Number)
                .ok_or_else(|| self.refuse("a finite number", &kind(json))),
            Value::Array(_) | Value::Object(_) => {
                Err(self.refuse("a string, number, boolean or null", &kind(json)))
            }
        }
    }

    fn unknown_operator(&self, path: &FieldPath, operator: &str) -> Error {
        let bare = shown(operator).trim_start_matches('$').to_lowercase();
        let synonym = SYNONYMS.iter().find(|(other, _)| *other == bare);
        let near = match synonym {
            Some((_, ours)) => vec![(*ours).to_owned()],
            None if OPERATORS.contains(&bare.as_str()) => vec![bare],
            None => near_names(&bare, OPERATORS),
        };
        let expected = format!("one of {}", OPERATORS.join(", "));
        let hint = match near.first() {
            Some(near) => format!("did you mean {near:?}?"),
            None => {
                let written = path.child(&shown(operator));
                let (path, written) = (shown(path.as_str()), shown(written.as_str()));
                format!("a key inside {path} is written \"{written}\"")
            }
        };
        let error = self.refuse_with(&expected, &format!("{:?}", shown(operator)), &hint);
        if near.is_empty() { error } else { error.with("near", near) }
    }

    /// Does `work` one step further in.
    fn within<T>(&mut self, step: Step, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.position.push(step);
        let outcome = work(self);
        self.position.pop();
        outcome
    }

    fn refuse(&self, expected: &str, got: &str) -> Error {
        self.refuse_with(expected, got, "")
    }

    fn refuse_with(&self, expected: &str, got: &str, hint: &str) -> Error {
        let hint = if hint.is_empty() { String::new() } else { format!("; {hint}") };
        let message = format!("expected {expected}, got {got}{hint}");
        self.placed(
            Error::invalid(Fault::Filter, message).with("expected", expected).with("got", got),
        )
    }

    /// The error with the position in front of it and among its details.
    fn placed(&self, error: Error) -> Error {
        let mut position = String::new();
        for step in &self.position {
            match step {
                Step::Item(index) => position.push_str(&format!("[{index}]")),
                Step::Key(key) if position.is_empty() => position.push_str(&shown(key)),
                Step::Key(key) => position.push_str(&format!(".{}", shown(key))),
            }
        }
        let place =
            if position.is_empty() { "filter".to_owned() } else { format!("filter at {position}") };
        error.context(place).with("position", position)
    }
}

/// One filter as it is, several joined by `and`; none keeps every row.
fn joined(mut filters: Vec<Filter>) -> Filter {
    match filters.len() {
        0 => Filter::MatchAll,
        1 => filters.remove(0),
        _ => Filter::And(filters),
    }
}

fn kind(json: &Value) -> String {
    match json {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("{:?}", shown(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}
