//! What should be merged next: a pure function of a few numbers, tested as a table.

use crate::options::Options;

/// What the decision needs to know of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentFacts {
    /// In memory and log only.
    pub in_memory: bool,
    /// Level of a file: 0 from a checkpoint, 1 from a compaction.
    pub level: u8,
    /// Rows, dead ones included.
    pub rows: u32,
    /// Rows that count.
    pub live: u32,
    /// Rows that were dead at the manifest's cut: those that rewriting the file alone would drop.
    pub dead_at_cut: u32,
    /// A derived section of it is damaged.
    pub degraded: bool,
}

/// What the decision depends on.
#[derive(Debug, Clone)]
pub struct Situation {
    /// Segments, oldest first.
    pub segments: Vec<SegmentFacts>,
    /// Bytes of the segments in memory.
    pub memory_bytes: u64,
    /// Bytes of the log that a checkpoint could archive, at most; 0 if the files hold everything.
    pub log_bytes: u64,
}

/// A merge worth doing: positions in [`Situation::segments`], ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// Segments that go in.
    pub inputs: Vec<usize>,
    /// Level of the segment that comes out.
    pub level: u8,
}

/// How much a host asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// What is due by size or wear.
    Due,
    /// Also what is merely worthwhile: two files of level 0 become one, a file long enough for a graph gets
    /// its graph. For now and then: files of level 1 are drawn in as for due work, so that a row is
    /// rewritten a number of times logarithmic in the collection's size, not once for every call.
    Worthwhile,
    /// What is in memory goes to a file.
    Checkpoint,
    /// Everything becomes one segment.
    Everything,
}

/// The limits from which a merge is worth it even if it is not due.
pub(crate) fn worthwhile(options: &Options) -> Options {
    let level0_rows_max = u64::from(options.segment.graph_rows_min);
    Options { level0_segments_max: 2, level0_rows_max, ..options.clone() }
}

/// The most urgent work, if any is due: a checkpoint before a compaction before a rewrite of one segment.
///
/// Each piece of work removes its own reason, so that work comes to an end: a file whose dead rows lie
/// behind the cut would be as worn after a rewrite as before, so a checkpoint comes first.
pub fn plan(situation: &Situation, options: &Options) -> Option<Work> {
    let facts = &situation.segments;
    let positions = |pick: &dyn Fn(&SegmentFacts) -> bool| -> Vec<usize> {
        (0..facts.len()).filter(|&index| pick(&facts[index])).collect()
    };
    // Rows that replace each other over and over take room in the log only.
    let long_log = situation.log_bytes >= 4 * options.log_file_bytes_max;
    if situation.memory_bytes >= options.memtable_bytes_max || long_log {
        return Some(Work { inputs: positions(&|s| s.in_memory), level: 0 });
    }
    let level0 = positions(&|s| !s.in_memory && s.level == 0);
    let fresh: u64 = level0.iter().map(|&index| u64::from(facts[index].live)).sum();
    if level0.len() >= options.level0_segments_max || fresh >= options.level0_rows_max {
        let inputs = positions(&|s| {
            !s.in_memory && (s.level == 0 || u64::from(s.live) <= 2 * fresh || is_worn(s, options))
        });
        return Some(Work { inputs, level: 1 });
    }
    let worn = positions(&|s| !s.in_memory && is_worn(s, options));
    if let Some(&index) = worn.first() {
        return Some(Work { inputs: vec![index], level: facts[index].level });
    }
    let soon_worn = |s: &SegmentFacts| !s.in_memory && too_dead(s.rows - s.live, s, options);
    let due = facts.iter().any(soon_worn);
    due.then(|| Work { inputs: positions(&|s| s.in_memory), level: 0 })
}

/// Worth rewriting alone: too many dead rows, or a damaged derived section.
fn is_worn(facts: &SegmentFacts, options: &Options) -> bool {
    facts.degraded || too_dead(facts.dead_at_cut, facts, options)
}

fn too_dead(dead: u32, facts: &SegmentFacts, options: &Options) -> bool {
    dead > 0 && dead as f32 >= options.dead_share_max * facts.rows as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(level: u8, rows: u32, live: u32) -> SegmentFacts {
        SegmentFacts {
            in_memory: false,
            level,
            rows,
            live,
            dead_at_cut: rows - live,
            degraded: false,
        }
    }

    fn work(inputs: &[usize], level: u8) -> Work {
        Work { inputs: inputs.to_vec(), level }
    }

    #[test]
    fn two_fresh_files_or_one_long_one_are_worthwhile() {
        let options = worthwhile(&Options::default());
        let ask = |segments: Vec<SegmentFacts>| {
            plan(&Situation { segments, memory_bytes: 0, log_bytes: 0 }, &options)
        };
        assert_eq!(ask(vec![file(1, 9_000, 9_000), file(0, 9, 9)]), None);
        let two = vec![file(1, 9_000, 9_000), file(0, 9, 9), file(0, 9, 9)];
        assert_eq!(ask(two), Some(work(&[1, 2], 1)), "the large file stays");
        assert_eq!(
            ask(vec![file(0, 2_048, 2_048)]),
            Some(work(&[0], 1)),
            "long enough for a graph"
        );
    }

    #[test]
    fn the_table_of_decisions() {
        let memory = SegmentFacts { in_memory: true, ..file(0, 10, 10) };
        let options =
            Options { memtable_bytes_max: 100, level0_rows_max: 5_000, ..Options::default() };
        let fresh = file(0, 100, 100);
        let cases: Vec<(&str, Vec<SegmentFacts>, u64, Option<Work>)> = vec![
            ("nothing there", vec![], 0, None),
            ("memory below its limit", vec![fresh, memory], 99, None),
            ("memory at its limit", vec![fresh, memory, memory], 100, Some(work(&[1, 2], 0))),
            ("three fresh files", vec![fresh; 3], 0, None),
            ("one large fresh file", vec![file(0, 5_000, 5_000)], 0, Some(work(&[0], 1))),
            ("four fresh files", vec![fresh; 4], 0, Some(work(&[0, 1, 2, 3], 1))),
            (
                "a large old file stays, a small one goes in",
                vec![file(1, 10_000, 10_000), file(1, 500, 500), fresh, fresh, fresh, fresh],
                0,
                Some(work(&[1, 2, 3, 4, 5], 1)),
            ),
            ("a fifth dead", vec![file(1, 100, 81), file(1, 100, 80)], 0, Some(work(&[1], 1))),
            (
                "a fifth dead, but only after the cut: a checkpoint first",
                vec![SegmentFacts { dead_at_cut: 19, ..file(1, 100, 80) }, memory],
                0,
                Some(work(&[1], 0)),
            ),
            ("all dead", vec![file(1, 100, 0)], 0, Some(work(&[0], 1))),
            ("empty file", vec![file(1, 0, 0)], 0, None),
            (
                "a damaged graph",
                vec![SegmentFacts { degraded: true, ..file(1, 9, 9) }],
                0,
                Some(work(&[0], 1)),
            ),
        ];
        let log_bytes = 4 * options.log_file_bytes_max;
        let long = Situation { segments: vec![fresh, memory], memory_bytes: 0, log_bytes };
        assert_eq!(plan(&long, &options), Some(work(&[1], 0)), "a long log");
        for (name, segments, memory_bytes, expected) in cases {
            let situation = Situation { segments, memory_bytes, log_bytes: 0 };
            assert_eq!(plan(&situation, &options), expected, "{name}");
        }
    }
}
