//! Holds answers against the OpenAPI document: the part of JSON Schema that the document uses.

use serde_json::Value;

/// The document.
pub(crate) struct Document(Value);

impl Document {
    pub(crate) fn new() -> Document {
        Document(serde_json::from_str(nearfield_server::api::document()).unwrap())
    }

    /// Fails unless the document says that this operation may answer so.
    #[track_caller]
    pub(crate) fn check(&self, method: &str, path: &str, status: u16, answer: &Value) {
        let responses = &self.0["paths"][path][method.to_ascii_lowercase()]["responses"];
        let named = responses.get(status.to_string());
        let response = named.unwrap_or_else(|| &self.0["components"]["responses"]["failed"]);
        assert!(
            named.is_some() || status >= 400,
            "{method} {path}: {status} is not in the document: {answer}"
        );
        let schema = &response["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{method} {path}: no schema");
        if let Err(problem) = self.fits(schema, answer) {
            panic!("{method} {path}: {problem} in {answer}");
        }
    }

    fn fits(&self, schema: &Value, value: &Value) -> Result<(), String> {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.strip_prefix("#/components/schemas/").unwrap();
            let schema = &self.0["components"]["schemas"][name];
            assert!(schema.is_object(), "there is no shape {name}");
            return self.fits(schema, value).map_err(|problem| format!("{name}: {problem}"));
        }
        for (word, exactly) in [("oneOf", true), ("anyOf", false)] {
            if let Some(ways) = schema[word].as_array() {
                let found = ways.iter().filter(|way| self.fits(way, value).is_ok()).count();
                // An empty list fits a list of anything.
                let ambiguous = value.as_array().is_some_and(Vec::is_empty);
                if found == 0 || (exactly && found > 1 && !ambiguous) {
                    return Err(format!("{found} of {word} fit {value}"));
                }
            }
        }
        if !allowed(&schema["type"], value) {
            return Err(format!("expected {}, got {value}", schema["type"]));
        }
        if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
            values.iter().try_for_each(|value| self.fits(items, value))?;
        }
        let Some(object) = value.as_object() else { return Ok(()) };
        for name in schema["required"].as_array().into_iter().flatten() {
            if !object.contains_key(name.as_str().unwrap()) {
                return Err(format!("{name} is missing"));
            }
        }
        let Some(known) = schema["properties"].as_object() else { return Ok(()) };
        for (name, value) in object {
            match known.get(name) {
                Some(schema) => {
                    self.fits(schema, value).map_err(|problem| format!("{name}: {problem}"))?;
                }
                // The one shape that says it may grow.
                None if schema["description"]
                    .as_str()
                    .unwrap_or_default()
                    .contains("more fields") => {}
                None => return Err(format!("{name} is not in the document")),
            }
        }
        Ok(())
    }
}

fn allowed(kinds: &Value, value: &Value) -> bool {
    let one = |kind: &Value| match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("a type {other} in the document"),
    };
    match kinds.as_array() {
        Some(kinds) => kinds.iter().any(one),
        None => kinds.is_null() || one(kinds),
    }
}
