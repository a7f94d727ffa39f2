//! Small arguments of Python calls: counts, choices by name, filters (`count`, `choice`, `filter`, `pool`).
//! Each refusal names what is accepted. Called by `collection` and `database`.

use nearfield_engine::Fault;
use nearfield_segment::filter::Filter;
use nearfield_segment::payload::FieldPath;
use nearfield_segment::{Error, FieldKinds, Kernel, Pool, shown};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyString};

use crate::error::{Failure, Result, expected_got};
use crate::json::{self, Places};

/// Most threads a call may ask for.
const THREADS_MAX: usize = 1_024;

const FILTER_EXPECTED: &str = "a dict like {\"price\": {\"lt\": 10}} or its JSON text";

/// Environment variable that forces the instructions to compute with.
const KERNEL_VARIABLE: &str = "NEARFIELD_KERNEL";

/// A whole number of at least `min`.
pub(crate) fn count(name: &str, value: &Bound<'_, PyAny>, min: usize) -> Result<usize> {
    let number = if value.is_instance_of::<PyBool>() { None } else { value.extract::<i64>().ok() };
    let count = number.and_then(|number| usize::try_from(number).ok());
    count.filter(|&count| count >= min).ok_or_else(|| {
        let expected = format!("a whole number of at least {min}");
        Failure::parameter(name, &expected, &json::describe(value))
    })
}

/// The number of threads asked for; without one, all cores.
pub(crate) fn pool(threads: Option<&Bound<'_, PyAny>>) -> Result<Pool> {
    let Some(threads) = threads else {
        return Ok(Pool::new(std::thread::available_parallelism().map_or(1, usize::from)));
    };
    let asked = count("threads", threads, 1)?;
    if asked > THREADS_MAX {
        let expected = format!("1 to {THREADS_MAX}");
        return Err(Failure::parameter("threads", &expected, &asked.to_string()));
    }
    Ok(Pool::new(asked))
}

/// One of `choices` by its name.
pub(crate) fn choice<T: Copy>(name: &str, given: &str, choices: &[(&str, T)]) -> Result<T> {
    let found = choices.iter().find(|(choice, _)| *choice == given);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<String> = choices.iter().map(|(choice, _)| format!("{choice:?}")).collect();
        Failure::parameter(name, &names.join(" or "), &format!("{given:?}"))
    })
}

/// A filter from a dict or from its JSON text. Of a dict, dates are compared with fields that `kinds` declares only:
/// others would compare them as texts.
pub(crate) fn filter(
    value: Option<&Bound<'_, PyAny>>,
    kinds: &FieldKinds,
) -> Result<Option<Filter>> {
    let Some(value) = value else { return Ok(None) };
    if let Ok(text) = value.cast::<PyString>() {
        let text = text.to_string_lossy();
        if !text.trim_start().starts_with('{') {
            let got = json::describe(value);
            return Err(Failure::fault(Fault::Filter, "where", FILTER_EXPECTED, &got));
        }
        return Ok(Some(Filter::from_json_text(&text)?));
    }
    if !value.is_instance_of::<PyDict>() {
        let got = json::describe(value);
        return Err(Failure::fault(Fault::Filter, "where", FILTER_EXPECTED, &got));
    }
    let mut text = String::with_capacity(64);
    let dates = json::write(value, &mut text)
        .map_err(|error| expected_got(Fault::Filter, "where", &error.expected, &error.got))?;
    let filter = Filter::from_json_text(&text)?;
    check_dates(&filter, dates, kinds)?;
    Ok(Some(filter))
}

/// Refuses dates at these places of a filter, unless they are compared with declared fields.
fn check_dates(filter: &Filter, mut dates: Places, kinds: &FieldKinds) -> Result<()> {
    let fields = filter.fields();
    dates.dedup();
    for place in dates {
        let outermost =
            place.iter().rev().find(|key| !["and", "or", "not"].contains(&key.as_str()));
        let is_named = |field: &FieldPath| outermost.is_some_and(|key| key == field.as_str());
        // Of a field that is not the key of its condition (`{"field": ["a"], "lt": …}`) it could be any.
        let is_any = !fields.iter().any(|field| is_named(field));
        let mut meant = fields.iter().filter(|field| is_any || is_named(field));
        if let Some(field) = meant.find(|field| kinds.get(field.as_str()).is_none()) {
            let place = format!("where: {:?}", shown(field.as_str()));
            let expected = "a field that is declared datetime (`fields` of create, or dates in it)";
            return Err(expected_got(Fault::Filter, &place, expected, "a date for another").into());
        }
    }
    Ok(())
}

/// The instructions to compute with: what the environment forces, else the fastest there are.
pub(crate) fn kernel() -> Result<Kernel> {
    let Some(forced) = std::env::var_os(KERNEL_VARIABLE) else { return Ok(Kernel::detect()) };
    forced.to_string_lossy().parse().map_err(|error: Error| error.context(KERNEL_VARIABLE).into())
}
