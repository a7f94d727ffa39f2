//! Checks the metadata of a row: legal, and of the declared kinds. `validate` (JSON text, kinds → error) is called by
//! `Batch::new`; `misfit` (→ the first value of another kind) by `Payload::first_misfit`.

use super::instant::parse_instant;
use super::path::FieldPath;
use super::scalar::Scalar;
use super::walk::{ROOT, Refusal, Sink, walk};
use crate::error::Result;
use crate::kinds::{FieldKind, FieldKinds};

/// Checks the metadata of one row; `row` is for the message only.
///
/// # Errors
/// `InvalidInput(Metadata)` with `expected`, `got` and `row`: for what no row may have, and for a value of a declared
/// field that is not of its kind.
pub fn validate(json: &str, row: usize, kinds: &FieldKinds) -> Result<()> {
    misfit(json, row, kinds)?.map_or(Ok(()), |refusal| Err(refusal.into_error(row)))
}

/// The first value of a declared field that is not of its kind.
///
/// # Errors
/// As [`validate`], for what no row may have.
pub(super) fn misfit(json: &str, row: usize, kinds: &FieldKinds) -> Result<Option<Refusal>> {
    let mut checker = Checker { kinds, nodes: Vec::new(), refusal: None };
    walk(json, row, &mut checker)?;
    Ok(checker.refusal)
}

/// Looks at the values of declared fields. Node `n` of the walk is `nodes[n − 1]`.
struct Checker<'a> {
    kinds: &'a FieldKinds,
    nodes: Vec<(FieldPath, Option<FieldKind>)>,
    /// The first.
    refusal: Option<Refusal>,
}

impl Checker<'_> {
    /// True if a declared path is, or continues, this one.
    fn leads_to_a_field(&self, path: &FieldPath) -> bool {
        self.kinds.paths().any(|name| {
            let rest = name.strip_prefix(path.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }

    fn refuse(&mut self, path: FieldPath, kind: FieldKind, got: String) {
        let expected = match kind {
            FieldKind::Datetime => DATE_EXPECTED,
        };
        self.refusal.get_or_insert_with(|| Refusal::new(path.as_str(), expected, got));
    }
}

impl Sink for Checker<'_> {
    fn child(&mut self, parent: u32, key: &str) -> Option<u32> {
        if self.kinds.is_empty() {
            return None;
        }
        if let Some((path, Some(kind))) = self.nodes.get((parent as usize).wrapping_sub(1)) {
            self.refuse(path.clone(), *kind, "an object".to_owned());
            return None;
        }
        let path = match parent {
            ROOT => FieldPath::from_keys([key]),
            _ => self.nodes[parent as usize - 1].0.child(key),
        };
        if !self.leads_to_a_field(&path) {
            return None;
        }
        let kind = self.kinds.get(path.as_str());
        self.nodes.push((path, kind));
        Some(self.nodes.len() as u32)
    }

    fn exists(&mut self, _: u32) {}

    fn null(&mut self, _: u32) {}

    fn empty(&mut self, _: u32) {}

    fn value(&mut self, node: u32, value: Scalar<'_>) {
        // The row itself has no values.
        let Some((path, Some(kind))) = self.nodes.get(node as usize - 1) else { return };
        let is_date = matches!(value, Scalar::Text(text) if parse_instant(text).is_some());
        if !is_date {
            self.refuse(path.clone(), *kind, value.shown());
        }
    }
}

/// What a field declared `datetime` takes, for messages.
pub(crate) const DATE_EXPECTED: &str = "a date like \"2020-01-31T12:00:00+01:00\" or null";
