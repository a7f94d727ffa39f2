//! Documentation that hangs together: every relative link arrives, every page can be reached.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, SourceFile, Tree};

/// Where a reader starts.
const ENTRANCES: [&str; 2] = ["README.md", "docs/architecture.md"];

/// A link of a page: its line (from 1) and what stands between the parentheses.
#[derive(Debug, PartialEq, Eq)]
struct Link {
    line: usize,
    target: String,
}

fn pages(tree: &Tree) -> impl Iterator<Item = &SourceFile> {
    tree.files.iter().filter(|file| file.path.ends_with(".md"))
}

/// Relative links to files, directories or headings that do not exist.
pub fn dead(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for page in pages(tree) {
        for Link { line, target } in links(&page.text) {
            if let Err(message) = arrive(tree, page, &target) {
                found.push(Finding::new(&page.path, line, format!("({target}): {message}")));
            }
        }
    }
    found
}

/// Files below `docs/` that no chain of links from an entrance reaches.
pub fn unreachable(tree: &Tree) -> Vec<Finding> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&SourceFile> = ENTRANCES.iter().filter_map(|path| tree.get(path)).collect();
    while let Some(page) = open.pop() {
        if !reached.insert(page.path.as_str()) {
            continue;
        }
        let links = links(&page.text).into_iter();
        open.extend(links.filter_map(|link| arrive(tree, page, &link.target).ok().flatten()));
    }
    let docs = tree.files.iter().filter(|file| file.path.starts_with("docs/"));
    docs.filter(|file| !reached.contains(file.path.as_str()))
        .map(|file| Finding::new(&file.path, 0, format!("no link from {}", ENTRANCES.join(" or "))))
        .collect()
}

/// The file a link leads to; none for addresses on the web and for plain directories.
fn arrive<'a>(
    tree: &'a Tree,
    page: &'a SourceFile,
    target: &str,
) -> Result<Option<&'a SourceFile>, String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return Ok(None);
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let full = if path.is_empty() { page.path.clone() } else { resolve(&page.path, path)? };
    let directory = format!("{full}/");
    let file = tree.get(&full).or_else(|| tree.get(&format!("{directory}README.md")));
    let is_directory = tree.files.iter().any(|file| file.path.starts_with(&directory));
    match file {
        None if is_directory || full.is_empty() => Ok(None),
        None => Err(format!("there is no `{full}`")),
        Some(file) if anchor.is_empty() || anchors(&file.text).contains(anchor) => Ok(Some(file)),
        Some(file) => Err(format!("no heading `#{anchor}` in {}", file.path)),
    }
}

/// `link` as seen from `page`, as a path from the root.
fn resolve(page: &str, link: &str) -> Result<String, String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop().ok_or("leads out of the project")?),
            name => parts.push(name),
        }
    }
    Ok(parts.join("/"))
}

/// Lines of a page outside fenced code, with the text between backquotes removed.
fn prose(text: &str) -> Vec<(usize, String)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push((index + 1, line.split('`').step_by(2).collect::<Vec<_>>().join("`")));
        }
    }
    lines
}

/// The `[text](target)` of a page.
fn links(text: &str) -> Vec<Link> {
    let mut links = Vec::new();
    for (line, prose) in prose(text) {
        for (_, rest) in
            prose.match_indices("](").map(|(at, found)| (at, &prose[at + found.len()..]))
        {
            let target = rest.split([')', ' ']).next().unwrap_or("");
            let target = target.trim_start_matches('<').trim_end_matches('>');
            links.push(Link { line, target: target.to_owned() });
        }
    }
    links
}

/// The names under which the headings of a page can be linked to.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut anchors = BTreeSet::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        let title = line.trim_start_matches('#');
        if fenced || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let slug = slug(title.trim());
        let count = counts.entry(slug.clone()).or_default();
        anchors.insert(if *count == 0 { slug } else { format!("{slug}-{count}") });
        *count += 1;
    }
    anchors
}

/// A heading as hosting sites turn it into an anchor: lower case, hyphens for spaces, no punctuation.
fn slug(title: &str) -> String {
    let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARCHITECTURE: &str = "# Map\n## Where is `X`?\n## Twice\n## Twice\n";

    fn dead_in_docs(text: &str) -> usize {
        let files =
            [("docs/a.md", text), ("docs/architecture.md", ARCHITECTURE), ("README.md", "# R\n")];
        dead(&Tree::of(&files)).len()
    }

    #[test]
    fn links_to_nothing_are_found() {
        for bad in [
            "[x](missing.md)",
            "[x](../docs/missing.md) and [y](architecture.md)",
            "[x](architecture.md#nowhere)",
            "[x](#nowhere)",
            "[x](../../elsewhere.md)",
            "![picture](picture.png)",
        ] {
            assert_eq!(dead_in_docs(bad), 1, "{bad}");
        }
    }

    #[test]
    fn links_that_arrive_are_not_found() {
        for fine in [
            "[x](../README.md)",
            "[x](architecture.md#where-is-x) [y](architecture.md#twice-1)",
            "# Here\n[x](#here)",
            "[web](https://example.org/missing.md)",
            "`[code](missing.md)`",
            "```\n[code](missing.md)\n```",
            "[directory](../docs/)",
        ] {
            assert_eq!(dead_in_docs(fine), 0, "{fine}");
        }
    }

    #[test]
    fn a_page_nobody_links_to_is_found() {
        let tree = Tree::of(&[
            ("README.md", "[a](docs/a.md) [d](docs/decisions/)\n"),
            ("docs/a.md", "[b](b.yaml)\n"),
            ("docs/b.yaml", ""),
            ("docs/decisions/README.md", "[1](0001.md)\n"),
            ("docs/decisions/0001.md", ""),
            ("docs/decisions/0002.md", ""),
        ]);
        let found = unreachable(&tree);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].path, "docs/decisions/0002.md");
    }
}
