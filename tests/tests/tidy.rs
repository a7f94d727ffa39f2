//! The rules of the house, checked over this checkout: one test a rule, each finding with its place.
//!
//! The rules, and for each a bad example that it must find, are in `tests/src/tidy/`.

use std::path::Path;

use nearfield_tests::tidy::{
    Rule, Tree, ambient, floors, headers, hygiene, links, pages, sizes, unsafety, words,
};

fn checkout() -> Tree {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ stands in the checkout");
    Tree::read(root).expect("the checkout is readable")
}

fn check(rule: Rule) {
    let mut findings = rule(&checkout());
    findings.sort();
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{} findings:\n{}", lines.len(), lines.join("\n"));
}

macro_rules! rules {
    ($($name:ident: $rule:path,)*) => { $(#[test] fn $name() { check($rule); })* };
}

rules! {
    files_have_at_most_600_lines: sizes::long_files,
    functions_have_at_most_70_lines: sizes::long_functions,
    no_work_is_left_marked_for_later: words::unfinished,
    no_macro_stands_for_missing_code: words::placeholders,
    unwrap_stays_in_tests: words::unwraps,
    words_name_their_subject: words::vague,
    unsafe_stays_in_its_places: unsafety::misplaced,
    unsafe_is_argued_for: unsafety::unargued,
    every_module_opens_with_its_page: headers::missing_pages,
    file_names_say_what_is_inside: headers::empty_names,
    the_core_takes_nothing_from_its_surroundings: ambient::taken,
    imports_go_down_the_floors: floors::upward_imports,
    no_modules_import_each_other_in_a_circle: floors::module_cycles,
    no_files_import_each_other_in_a_circle: floors::file_cycles,
    crates_know_only_those_below: floors::wrong_dependencies,
    relative_links_arrive: links::dead,
    every_page_below_docs_is_reachable: links::unreachable,
    prose_wraps_at_120: pages::long_lines,
    lines_end_as_they_should: hygiene::spaces,
    no_file_is_larger_than_a_mebibyte: hygiene::large_files,
    tests_are_switched_off_with_a_reason: hygiene::silent_skips,
}

/// Shows the sizes (`cargo test --test tidy -- --nocapture sizes`), and that the checkout was found.
#[test]
fn sizes_are_reported() {
    let tree = checkout();
    let report = sizes::report(&tree);
    println!("tidy: {report}\n{}", floors::report(&tree));
    assert!(tree.get("core/segment/src/lib.rs").is_some(), "the checkout holds the core");
}
