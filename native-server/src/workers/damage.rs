//! `Damage`: records damage in files that is found while the server runs. Called by the verify job, the
//! scrub, merges and requests; logs each piece once.
//!
//! A piece is shown in the health registry until it is mended: a verification or a round no longer finds it,
//! the file is no longer part of the collection, or the collection is dropped. What is rebuilt by a
//! compaction or hurts the past alone is a warning; anything else is a blocker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use nearfield_engine::Finding;

use super::health::{HealthRegistry, Topic};
use crate::host::lock;

/// Damage by collection ("" for the database itself), then by file.
#[derive(Debug, Default)]
pub(super) struct Damage {
    found: Mutex<BTreeMap<String, Files>>,
}

type Files = BTreeMap<String, Found>;

/// Damage that a request or a merge met.
#[derive(Debug, Clone, Copy)]
pub struct Met<'a> {
    /// The damaged file.
    pub file: &'a str,
    /// With file and offset.
    pub message: &'a str,
    /// The data can be made again from others.
    pub derived: bool,
}

/// The first damage in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    /// With file and offset.
    message: String,
    /// Data of the present are hurt.
    blocks: bool,
    /// The file belongs to earlier moments alone.
    past: bool,
}

impl Damage {
    /// A request or a merge met damage, in data that are `derived` from others or not.
    pub(super) fn met(&self, health: &HealthRegistry, collection: &str, met: Met<'_>) {
        let Met { file, message, derived } = met;
        let found = Found { message: message.to_owned(), blocks: !derived, past: false };
        let mut all = lock(&self.found);
        let files = all.entry(collection.to_owned()).or_default();
        // What blocks counts more, as in a report.
        if files.get(file).is_none_or(|there| found.blocks && !there.blocks) {
            log(collection, &found);
            files.insert(file.to_owned(), found);
        }
        show(health, collection, all.get(collection));
    }

    /// A verification read all of a collection, and found this.
    pub(super) fn verified(&self, health: &HealthRegistry, collection: &str, findings: &[Finding]) {
        replace(&mut lock(&self.found), health, collection, by_file(findings));
    }

    /// Damaged files of a collection that are known now.
    pub(super) fn known(&self, collection: &str) -> BTreeSet<String> {
        lock(&self.found)
            .get(collection)
            .map(|files| files.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// A round in the background has read the present of a collection: `findings` replace what was known of it when the
    /// round began, the files `known_before`. Those of a collection that was dropped meanwhile are ignored:
    /// [`Damage::forget`] is called after the drop.
    pub(super) fn scrubbed(
        &self,
        health: &HealthRegistry,
        name: &str,
        is_dropped: impl Fn() -> bool,
        findings: &[Finding],
        known_before: &BTreeSet<String>,
    ) {
        let mut all = lock(&self.found);
        if is_dropped() {
            return;
        }
        let mut files = by_file(findings);
        let stays = |(file, found): &(&String, &Found)| found.past || !known_before.contains(*file);
        let known = all.get(name).into_iter().flatten().filter(stays);
        known.for_each(|(file, found)| {
            files.entry(file.clone()).or_insert_with(|| found.clone());
        });
        replace(&mut all, health, name, files);
    }

    /// The segment files of a collection are those that `is_live` says: damage in others is mended.
    pub(super) fn keep(
        &self,
        health: &HealthRegistry,
        collection: &str,
        is_live: impl Fn(&str) -> bool,
    ) {
        let mut all = lock(&self.found);
        let Some(files) = all.get_mut(collection) else { return };
        let before = files.len();
        files.retain(|file, found| found.past || !file.ends_with(".seg") || is_live(file));
        if files.len() == before {
            return;
        }
        if files.is_empty() {
            all.remove(collection);
            tracing::info!(collection, "the damage is mended");
        }
        show(health, collection, all.get(collection));
    }

    /// A collection of this name is no more.
    pub(super) fn forget(&self, collection: &str) {
        lock(&self.found).remove(collection);
    }

    /// Damaged files of collections that are named by `of`.
    pub(super) fn files(&self, of: impl Fn(&str) -> bool) -> u64 {
        let found = lock(&self.found);
        found.iter().filter(|(name, _)| of(name)).map(|(_, files)| files.len() as u64).sum()
    }

    /// What blocks a snapshot of `collection`: the first damage of its present.
    pub(super) fn first(&self, collection: &str) -> Option<String> {
        let found = lock(&self.found);
        let mut files = found.get(collection)?.values();
        files.find(|found| found.blocks).map(|found| found.message.clone())
    }
}

/// The first damage in each file; one that blocks counts more.
fn by_file(findings: &[Finding]) -> Files {
    let mut files = Files::new();
    for finding in findings {
        let blocks = !finding.derived && !finding.past;
        let (message, past) = (finding.message.clone(), finding.past);
        let found = Found { message, blocks, past };
        let there = files.entry(finding.file.clone()).or_insert_with(|| found.clone());
        if blocks && !there.blocks {
            *there = found;
        }
    }
    files
}

/// Puts `files` in the place of what is known of a collection. What is new goes to the log.
fn replace(
    all: &mut BTreeMap<String, Files>,
    health: &HealthRegistry,
    collection: &str,
    files: Files,
) {
    let known = all.remove(collection).unwrap_or_default();
    let new = files.iter().filter(|(file, found)| known.get(*file) != Some(found));
    new.for_each(|(_, found)| log(collection, found));
    if files.is_empty() && !known.is_empty() {
        tracing::info!(collection, "the damage is mended");
    }
    show(health, collection, Some(&files));
    if !files.is_empty() {
        all.insert(collection.to_owned(), files);
    }
}

fn log(collection: &str, found: &Found) {
    let Found { message, blocks, .. } = found;
    if *blocks {
        tracing::error!(collection, %message, "damage found");
    } else {
        tracing::warn!(collection, %message, "damage found; answers are not affected");
    }
}

/// Puts what is known of a collection on the health.
fn show(health: &HealthRegistry, collection: &str, files: Option<&Files>) {
    for (topic, blocks) in [(Topic::Damage, true), (Topic::Worn, false)] {
        let those = files.into_iter().flat_map(BTreeMap::values).filter(|f| f.blocks == blocks);
        let messages: Vec<&str> = those.map(|found| found.message.as_str()).collect();
        match messages.as_slice() {
            [] => health.clear(topic, collection),
            [first, rest @ ..] => {
                let more = match rest.len() {
                    0 => String::new(),
                    count => format!(" (and {count} more files)"),
                };
                let name = if collection.is_empty() { "the database" } else { collection };
                health.note(topic, collection, format!("{name}: damage found: {first}{more}"));
            }
        }
    }
}
