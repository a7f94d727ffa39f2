//! Filters: which rows of a segment a search may return, by their metadata. One tree ([`Filter`]). Entries:
//! `Filter::from_json_text` (or `from_json`), called by the server, the command line, Python and `wasm`;
//! [`eval_within`] (a segment's metadata and candidate rows → `RowSet`), called by `search::prepare` and `View`.
//! [`eval`] is the same over all rows. Every answer is exact: what reading each row's JSON would give.
//!
//! Files: `json` and `strict` parse (`strict` bounds the memory), `write` prints, `eval` uses columns,
//! `probe` reads the JSON texts of values without a column (slow), `near` suggests names.
//!
//! | native JSON | keeps rows with |
//! |---|---|
//! | `{}` | anything: every row |
//! | `{"and":[…]}` `{"or":[…]}` `{"not":…}` | all, any, the complement of the rows of the filters inside |
//! | `{"a":x}`, `{"a":{"eq":x}}` | a value equal to `x`; `null`: an explicit null; `[]`: an empty list |
//! | `{"a":{"ne":x}}` | *not* `eq`: also rows without the field |
//! | `{"a":{"in":[…]}}`, `nin` | a value equal to one of these; *not* `in` |
//! | `{"a":{"lt":x}}`, `lte` `gt` `gte` | a value less (…) than a number or string `x` |
//! | `{"a":{"contains":x}}` | `x` in the list: the same as `eq` (a value is a list of one; no substrings) |
//! | `{"a":{"exists":true}}` | anything at the path: also null, an empty list, an object |
//! | `{"tags_any":[…]}` `{"tags_all":[…]}` | at least one, every one of the tags |
//! | several fields or operators | each of them (`and`) |
//!
//! * A path is `a.b` (see [`FieldPath`](crate::payload::FieldPath)), or its keys: `{"field":["a","b"],"lt":1}`.
//!   The latter is how a field is named that is called `and`, `or`, `not`, `field`, `tags_any` or `tags_all`.
//! * Of several values at a path *any* may match, each operator by itself: `{"gte":2,"lt":3}` keeps `[1, 9]`.
//! * Types never mix: a string equals no number, and `lt` of a number keeps no string. Integers and floats
//!   are both numbers and compare exactly.
//! * Strings compare by their bytes; those of `tags`, on both sides, trimmed and in lower case. In a field declared
//!   `datetime` dates compare as moments, in whatever form both sides write them.
//!
//! A field no row has is no error here: the caller decides ([`Filter::check_fields`]). Not here: which
//! segments can be skipped (`stats`).

mod ast;
mod eval;
mod json;
mod near;
mod probe;
mod strict;
#[cfg(test)]
mod tests;
mod wanted;
mod write;

pub use ast::{
    FILTER_DEPTH_MAX, FILTER_NODES_MAX, FILTER_TEXT_BYTES_MAX, FILTER_VALUES_MAX, Filter,
    IN_VALUES_MAX, Operand,
};
pub use eval::{eval, eval_within, reads_texts};
pub use near::near_names;
pub use strict::reading_bytes_max;

#[cfg(test)]
pub(crate) use tests::strategy;
pub(crate) use wanted::Wanted;
