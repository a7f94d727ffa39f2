//! A simulator of the merge policy: the engine's own planner, and a model of merges that take time.
//!
//! 100,000 checkpoints of each pattern of writes, in seconds, because a file is a few numbers here. At every
//! checkpoint the pattern adds and deletes rows, the planner is asked for work until it has none or all hosts are
//! busy, and running merges advance by the rows that a host can merge meanwhile. At the end the collection rests:
//! the planner is asked for what is worthwhile until nothing is left.
//!
//! `cargo test -p nearfield-tests --test merge_policy -- --nocapture` prints, for each pattern: files at most and on
//! average while merging, files at the end of the writes and at rest, how often a row was written to a file, how
//! often it was linked into a graph, and the processor time of all linking against one full compaction.

#![expect(clippy::print_stdout, reason = "figures for people")]

use std::collections::BTreeMap;

use nearfield_engine::Options;
use nearfield_engine::task::{MergeScope, SegmentFacts, Situation, Work, plan};
use nearfield_segment::Rng;

const CHECKPOINTS: u64 = 100_000;
const HOSTS: usize = 4;
const FILES_WHILE_MERGING: usize = 12;
const FILES_AT_REST: usize = 8;
/// Rows are deleted by age in steps of so many checkpoints.
const AGE_STEP: u64 = 64;

/// What is written between two checkpoints.
#[derive(Clone, Copy)]
struct Pattern {
    name: &'static str,
    /// Rows there before the first checkpoint, in one file.
    before: u64,
    /// Rows written.
    rows: u64,
    /// Rows deleted at random places.
    deleted: u64,
    /// Only as many of the newest rows stay; 0 for all.
    window: u64,
    /// Rows that one host links between two checkpoints.
    speed: f64,
    /// Merges at once.
    hosts: usize,
}

const TRICKLE: Pattern = Pattern {
    name: "trickle, 100 rows",
    before: 0,
    rows: 100,
    deleted: 0,
    window: 0,
    speed: 100_000.0,
    hosts: HOSTS,
};

#[derive(Clone, Default)]
struct File {
    level: u8,
    rows: u64,
    /// Live rows by age.
    live: BTreeMap<u64, u64>,
    merge: Option<u64>,
}

impl File {
    fn live_rows(&self) -> u64 {
        self.live.values().sum()
    }
}

struct Merge {
    number: u64,
    level: u8,
    left: f64,
}

struct Model {
    pattern: Pattern,
    options: Options,
    files: Vec<File>,
    merges: Vec<Merge>,
    next: u64,
    rng: Rng,
    written: u64,
    rewritten: u64,
    linked: u64,
    linking_cost: f64,
}

/// What linking `rows` rows costs: measured times a row grow with the logarithm of the number.
fn cost(rows: u64) -> f64 {
    rows as f64 * (rows.max(2) as f64).log2()
}

impl Model {
    fn new(pattern: Pattern) -> Model {
        let options = Options { memtable_bytes_max: u64::MAX, ..Options::default() };
        let mut files = Vec::new();
        if pattern.before > 0 {
            let live = BTreeMap::from([(0, pattern.before)]);
            files.push(File { level: 1, rows: pattern.before, live, merge: None });
        }
        Model {
            pattern,
            options,
            files,
            merges: Vec::new(),
            next: 1,
            rng: Rng::new(7),
            written: pattern.before,
            rewritten: pattern.before,
            linked: 0,
            linking_cost: 0.0,
        }
    }

    fn situation(&self, fresh: u64) -> Situation {
        let mut segments: Vec<SegmentFacts> = self
            .files
            .iter()
            .map(|file| {
                let (rows, live) = (file.rows as u32, file.live_rows() as u32);
                SegmentFacts {
                    level: file.level,
                    rows,
                    live,
                    dead_at_checkpoint: rows - live,
                    busy: file.merge.is_some(),
                    ..SegmentFacts::default()
                }
            })
            .collect();
        if fresh > 0 {
            let rows = fresh as u32;
            segments.push(SegmentFacts { in_memory: true, rows, live: rows, ..Default::default() });
        }
        Situation { segments, pending: fresh > 0, ..Situation::default() }
    }

    /// The pattern's writes, and the checkpoint behind them.
    fn checkpoint(&mut self, number: u64) {
        let Pattern { rows, deleted, window, .. } = self.pattern;
        self.delete_at_random(deleted);
        self.written += rows;
        if rows > 0 {
            let work = plan(MergeScope::Checkpoint, &self.situation(rows), &self.options);
            let mut work = work.expect("something is in memory");
            let memory = work.inputs.pop().expect("memory goes in");
            assert_eq!(memory, self.files.len(), "memory is the newest");
            let age = number / AGE_STEP;
            let mut file = File { rows, live: BTreeMap::from([(age, rows)]), ..File::default() };
            for &index in work.inputs.iter().rev() {
                join(&mut file, self.files.remove(index));
            }
            self.rewritten += file.rows;
            self.files.push(file);
        }
        if window > 0 {
            self.delete_oldest(window);
        }
    }

    fn delete_at_random(&mut self, count: u64) {
        let sizes: Vec<u64> = self.files.iter().map(File::live_rows).collect();
        let all: u64 = sizes.iter().sum();
        for _ in 0..count.min(all) {
            let mut place = self.rng.below(all.max(1));
            for (file, size) in self.files.iter_mut().zip(&sizes) {
                if place < *size {
                    if let Some(mut entry) = file.live.first_entry() {
                        *entry.get_mut() -= 1;
                        if *entry.get() == 0 {
                            entry.remove();
                        }
                    }
                    break;
                }
                place -= size;
            }
        }
    }

    fn delete_oldest(&mut self, window: u64) {
        let mut surplus = self.live_rows().saturating_sub(window);
        while surplus > 0 {
            let ages = self.files.iter().filter_map(|file| file.live.keys().next());
            let Some(&oldest) = ages.min() else { return };
            for file in &mut self.files {
                let Some(rows) = file.live.get_mut(&oldest) else { continue };
                let gone = surplus.min(*rows);
                (*rows, surplus) = (*rows - gone, surplus - gone);
                if *rows == 0 {
                    file.live.remove(&oldest);
                }
            }
        }
    }

    fn live_rows(&self) -> u64 {
        self.files.iter().map(File::live_rows).sum()
    }

    /// Starts what is to be done. False if there is nothing, or all hosts are busy.
    fn start(&mut self, scope: MergeScope) -> bool {
        if self.merges.len() >= self.pattern.hosts {
            return false;
        }
        let Some(Work { inputs, level, base }) = plan(scope, &self.situation(0), &self.options)
        else {
            return false;
        };
        assert!(!inputs.is_empty());
        let number = self.next;
        self.next += 1;
        let inherited = base.map_or(0, |index| self.files[index].live_rows());
        let mut rows = 0;
        for &index in &inputs {
            let file = &mut self.files[index];
            assert_eq!(file.merge, None, "inputs are disjoint");
            file.merge = Some(number);
            file.rows = file.live_rows();
            rows += file.rows;
        }
        self.rewritten += rows;
        // Copying a row takes a twentieth of linking it, and keeping its links as much again.
        let mut left = rows as f64 / 20.0;
        if level > 0 && rows >= u64::from(self.options.segment.graph_rows_min) {
            let linked = rows - inherited;
            let cost = linked as f64 * (rows as f64).log2() + inherited as f64;
            left += cost / 20.0;
            self.linked += linked;
            self.linking_cost += cost;
        }
        self.merges.push(Merge { number, level, left });
        true
    }

    /// What happens until the next checkpoint: merges end, and others begin in their places.
    fn pass(&mut self, mut time: f64) -> usize {
        let mut most = self.files.len();
        loop {
            while self.start(MergeScope::Due) {}
            let next = self.merges.iter().map(|merge| merge.left).fold(time, f64::min);
            self.advance(next);
            time -= next;
            most = most.max(self.files.len());
            if time <= 0.0 {
                return most;
            }
        }
    }

    /// Lets running merges advance.
    fn advance(&mut self, by: f64) {
        self.merges.iter_mut().for_each(|merge| merge.left -= by);
        let (ended, running) = std::mem::take(&mut self.merges)
            .into_iter()
            .partition::<Vec<_>, _>(|merge| merge.left <= 0.0);
        self.merges = running;
        for Merge { number, level, .. } in ended {
            let inputs: Vec<File> =
                self.files.extract_if(.., |f| f.merge == Some(number)).collect();
            let mut output = File { level, ..File::default() };
            // Rows that died meanwhile are in the output, dead.
            output.rows = inputs.iter().map(|file| file.rows).sum();
            for mut file in inputs {
                file.rows = 0;
                join(&mut output, file);
            }
            if output.rows > 0 {
                self.files.push(output);
            }
        }
    }

    /// Carries out all work of a scope, merges in progress included.
    fn rest(&mut self, scope: MergeScope) {
        for _ in 0..10_000 {
            let started = self.start(scope);
            if !started && self.merges.is_empty() {
                return;
            }
            if !started {
                let soonest = self.merges.iter().map(|merge| merge.left);
                self.advance(soonest.fold(f64::INFINITY, f64::min));
            }
        }
        panic!("{}: {scope:?} does not come to an end", self.pattern.name);
    }

    /// Live rows in the two largest files with graphs, of all live rows.
    fn share_of_two(&self) -> f64 {
        let graphs = self.files.iter().filter(|file| file.level > 0);
        let mut sizes: Vec<u64> = graphs.map(File::live_rows).collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        let two: u64 = sizes.iter().take(2).sum();
        two as f64 / self.live_rows().max(1) as f64
    }
}

/// Live rows of `other` go to `file`.
fn join(file: &mut File, other: File) {
    for (age, rows) in other.live {
        *file.live.entry(age).or_default() += rows;
        file.rows += if other.rows > 0 { rows } else { 0 };
    }
}

fn simulate(pattern: Pattern) {
    let mut model = Model::new(pattern);
    let (mut most, mut sum) = (0, 0);
    for number in 0..CHECKPOINTS {
        model.checkpoint(number);
        most = most.max(model.pass(pattern.speed));
        sum += model.files.len();
    }
    let at_end = model.files.len();
    model.rest(MergeScope::Due);
    let due = model.files.len();
    model.rest(MergeScope::Worthwhile);
    let (rest, live) = (model.files.len(), model.live_rows());
    let written = model.written as f64;
    println!(
        "{:<40} {:>10} rows live | files while merging: {most:>2} most, {:>4.1} mean, {at_end:>2} last; {due:>2} when done, \
         {rest} at rest ({:>5.1} % in two) | a row written {:>4.1} x, linked {:>4.1} x; linking {:>4.1} x that of one graph",
        pattern.name,
        live,
        sum as f64 / CHECKPOINTS as f64,
        100.0 * model.share_of_two(),
        model.rewritten as f64 / written,
        model.linked as f64 / written,
        model.linking_cost / cost(model.written),
    );
    let failing = format!("{}: {most} while merging, {rest} at rest", pattern.name);
    assert!(most <= FILES_WHILE_MERGING && rest <= FILES_AT_REST, "{failing}");
    assert!(live < 10_000 || model.share_of_two() >= 0.95, "{failing}");
}

#[test]
fn trickle() {
    simulate(TRICKLE);
    simulate(Pattern { name: "trickle, 1 row", rows: 1, ..TRICKLE });
    simulate(Pattern { name: "trickle, 1,000 rows", rows: 1_000, ..TRICKLE });
    simulate(Pattern {
        name: "trickle, 100 rows, one slow host",
        hosts: 1,
        speed: 2_000.0,
        ..TRICKLE
    });
}

#[test]
fn bulk() {
    simulate(Pattern { name: "bulk, 5,000 rows", rows: 5_000, ..TRICKLE });
    simulate(Pattern { name: "bulk, 2,000 rows", rows: 2_000, ..TRICKLE });
}

#[test]
fn churn() {
    let churn = Pattern { before: 1_000_000, rows: 100, deleted: 100, ..TRICKLE };
    simulate(Pattern { name: "churn, 100 of 1,000,000 rows replaced", ..churn });
    simulate(Pattern { name: "churn, 1,000 of 1,000,000", rows: 1_000, deleted: 1_000, ..churn });
}

#[test]
fn drifting_window() {
    let window = Pattern { window: 200_000, ..TRICKLE };
    simulate(Pattern { name: "window of 200,000, 100 rows", ..window });
    simulate(Pattern {
        name: "window of 3,000,000, 1,000 rows",
        rows: 1_000,
        window: 3_000_000,
        ..window
    });
}

#[test]
fn deletes_only() {
    let deletes = Pattern { before: 10_000_000, rows: 0, deleted: 99, ..TRICKLE };
    simulate(Pattern { name: "deletes only", ..deletes });
}
