//! The table of decisions, and that work comes to an end.

use super::*;

fn file(level: u8, rows: u32, live: u32) -> SegmentFacts {
    let dead_at_checkpoint = rows - live;
    SegmentFacts { level, rows, live, dead_at_checkpoint, ..SegmentFacts::default() }
}

fn flat(rows: u32) -> SegmentFacts {
    file(0, rows, rows)
}

fn graph(rows: u32) -> SegmentFacts {
    file(1, rows, rows)
}

fn busy(facts: SegmentFacts) -> SegmentFacts {
    SegmentFacts { busy: true, ..facts }
}

fn memory(rows: u32) -> SegmentFacts {
    SegmentFacts { in_memory: true, ..flat(rows) }
}

#[expect(clippy::unnecessary_wraps, reason = "an expectation of the tables, beside `None`")]
fn work(inputs: &[usize], level: u8) -> Option<Chosen> {
    Some((inputs.to_vec(), level))
}

fn options() -> Options {
    let mut options =
        Options { memtable_bytes_max: 100, level0_rows_max: 16_000, ..Options::default() };
    options.segment.graph_rows_min = 4_000;
    options
}

fn ask(scope: MergeScope, segments: Vec<SegmentFacts>) -> Option<Chosen> {
    pair(plan(scope, &Situation { segments, ..Situation::default() }, &options()))
}

/// Inputs and level of a piece of work.
type Chosen = (Vec<usize>, u8);

fn pair(work: Option<Work>) -> Option<Chosen> {
    work.map(|work| (work.inputs, work.level))
}

#[test]
fn what_is_due() {
    let cases: Vec<(&str, Vec<SegmentFacts>, Option<Chosen>)> = vec![
        ("nothing there", vec![], None),
        ("an empty file", vec![graph(0)], None),
        ("three flat files", vec![flat(100); 3], None),
        ("four flat files", vec![flat(100); 4], work(&[0, 1, 2, 3], 0)),
        ("enough rows for a graph are worth one only with more", vec![flat(15_999)], None),
        ("flat rows are linked", vec![flat(16_000)], work(&[0], 1)),
        (
            "a graph up to half of the fresh rows is drawn in",
            vec![graph(8_000), graph(9_000), flat(16_000)],
            work(&[0, 1, 2], 1),
        ),
        (
            "up to half of the sum, not of the fresh rows",
            vec![graph(8_000), graph(12_000), graph(19_000), flat(16_000)],
            work(&[0, 1, 3], 1),
        ),
        ("a larger graph stays", vec![graph(1_000_000), flat(16_000)], work(&[1], 1)),
        (
            "a sixth graph is one too many: the cheapest merge for its size",
            vec![
                graph(900_000),
                graph(200_000),
                graph(40_000),
                graph(38_000),
                graph(36_000),
                flat(16_000),
            ],
            work(&[2, 3, 4, 5], 1),
        ),
        ("graphs alike, as deletes leave them", vec![graph(9_000); 3], work(&[0, 1, 2], 1)),
        ("a fifth dead", vec![file(1, 100, 81), file(1, 100, 80)], work(&[1], 1)),
        (
            "smaller files go with a worn one",
            vec![file(1, 9_000, 7_000), graph(5_000), flat(10), graph(8_000)],
            work(&[0, 1, 2], 1),
        ),
        ("all dead", vec![file(1, 100, 0)], work(&[0], 1)),
        ("a damaged graph", vec![SegmentFacts { degraded: true, ..graph(9) }], work(&[0], 1)),
    ];
    for (name, segments, expected) in cases {
        assert_eq!(ask(MergeScope::Due, segments), expected, "{name}");
    }
}

#[test]
fn checkpoints() {
    let situation = |segments, memory_bytes, pending| Situation {
        segments,
        memory_bytes,
        pending,
        ..Situation::default()
    };
    let due = |situation: &Situation| pair(plan(MergeScope::Due, situation, &options()));
    let checkpoint =
        |situation: &Situation| pair(plan(MergeScope::Checkpoint, situation, &options()));
    let below = situation(vec![flat(1_000), memory(10)], 99, true);
    assert_eq!(due(&below), None);
    assert_eq!(checkpoint(&below), work(&[1], 0), "the flat file is too large to be written again");
    let full = situation(vec![flat(15), flat(10), graph(5), memory(4), memory(6)], 100, true);
    assert_eq!(due(&full), work(&[0, 1, 3, 4], 0), "flat files up to the sum drawn in before");
    let full = Situation { checkpointing: true, ..full };
    assert_eq!((due(&full), checkpoint(&full)), (None, None), "one after the other");
    let taken = situation(vec![busy(flat(10)), memory(10)], 100, true);
    assert_eq!(due(&taken), work(&[1], 0), "beside a merge");
    let large = situation(vec![flat(9_000), memory(9_000)], 100, true);
    assert_eq!(due(&large), work(&[1], 0), "no more than level0_rows_max");
    let deletes = situation(vec![flat(10)], 0, true);
    assert_eq!((due(&deletes), checkpoint(&deletes)), (None, work(&[], 0)));
    assert_eq!(checkpoint(&situation(vec![flat(10)], 0, false)), None);
    let log_bytes = 4 * options().log_file_bytes_max;
    let long = Situation { log_bytes, ..situation(vec![flat(100), memory(10)], 0, true) };
    assert_eq!(due(&long), work(&[1], 0), "a long log");
    let late = SegmentFacts { dead_at_checkpoint: 19, ..file(1, 100, 80) };
    let worn = situation(vec![late, memory(10)], 0, true);
    assert_eq!(due(&worn), work(&[1], 0), "a fifth dead, but only after the cut");
}

#[test]
fn what_is_worthwhile() {
    let cases: Vec<(&str, Vec<SegmentFacts>, Option<Chosen>)> = vec![
        ("one short file", vec![flat(9)], None),
        ("two short files", vec![flat(9), flat(9)], work(&[0, 1], 0)),
        ("long enough for a graph", vec![flat(4_000)], work(&[0], 1)),
        (
            "up to ten times the rest",
            vec![graph(100_000), graph(9_000), flat(1_000)],
            work(&[0, 1, 2], 1),
        ),
        ("a larger file stays", vec![graph(200_000), graph(9_000), flat(1_000)], work(&[1, 2], 1)),
        ("at rest", vec![graph(2_000_000), graph(100_000), flat(3_000)], None),
    ];
    for (name, segments, expected) in cases {
        assert_eq!(ask(MergeScope::Worthwhile, segments), expected, "{name}");
    }
}

#[test]
fn rows_are_added_to_the_largest_graph_that_is_not_worn() {
    let base = |scope, segments| {
        plan(scope, &Situation { segments, ..Situation::default() }, &options())
            .expect("there is work")
            .base
    };
    let worn = file(1, 100_000, 80_000);
    let damaged = SegmentFacts { degraded: true, ..graph(100_000) };
    let due = |segments| base(MergeScope::Due, segments);
    assert_eq!(due(vec![graph(9_000), flat(16_000), graph(7_000)]), Some(0));
    assert_eq!(due(vec![flat(16_000)]), None, "no graph yet");
    assert_eq!(due(vec![worn, flat(10)]), None, "a fifth dead");
    assert_eq!(due(vec![worn, flat(10), graph(5_000)]), Some(2));
    assert_eq!(due(vec![damaged]), None);
    assert_eq!(due(vec![flat(100); 4]), None, "flat files stay flat");
    let everything = vec![graph(9_000), flat(10)];
    assert_eq!(base(MergeScope::Everything, everything), None, "every row is linked anew");
}

#[test]
fn everything_is_all_files_that_are_free() {
    let everything = |segments| ask(MergeScope::Everything, segments);
    assert_eq!(everything(vec![outdated(graph(9))]), work(&[0], 1), "it gets the newest format");
    assert_eq!(everything(vec![graph(9), flat(9), memory(9)]), work(&[0, 1], 1));
    assert_eq!(everything(vec![graph(9), busy(flat(9)), flat(3)]), work(&[0, 2], 1));
    assert_eq!(everything(vec![graph(9), memory(9)]), None, "its final form");
    assert_eq!(everything(vec![flat(9)]), work(&[0], 1));
    assert_eq!(everything(vec![file(1, 9, 8)]), work(&[0], 1));
    assert_eq!(everything(vec![memory(9), memory(9)]), work(&[0, 1], 1), "written once");
    assert_eq!(everything(vec![busy(flat(9)), memory(9)]), None);
}

#[test]
fn merges_beside_others_leave_room_for_fresh_files() {
    let running = |others: usize, free: &[SegmentFacts]| {
        let mut segments = vec![busy(graph(1_000_000)); others];
        segments.extend(free);
        ask(MergeScope::Due, segments)
    };
    assert_eq!(running(3, &[flat(16_000)]), work(&[3], 1));
    assert_eq!(running(8, &[flat(16_000)]), None, "it waits");
    assert_eq!(running(8, &[flat(16_000); 3]), work(&[8, 9, 10], 0), "too many are joined, flat");
    let graphs = [graph(50_000), graph(300_000), flat(16_000)];
    assert_eq!(running(7, &graphs), None, "two graphs are enough beside seven busy files");
}

#[test]
fn a_merge_waits_for_memory_unless_it_is_small_or_alone() {
    let merge_bytes_max = 1_600;
    let options = Options { merge_bytes_max, ..options() };
    let ask = |bytes, merging_bytes| {
        let fresh = SegmentFacts { merge_bytes: bytes, ..flat(16_000) };
        let situation = Situation { segments: vec![fresh], merging_bytes, ..Situation::default() };
        plan(MergeScope::Due, &situation, &options).is_some()
    };
    assert!(ask(1_500, 0) && ask(9_999, 0), "alone, whatever it needs");
    assert!(ask(600, 1_000) && !ask(601, 1_000));
    assert!(ask(100, 9_999), "a small one is not starved by a large one");
    let old = SegmentFacts { merge_bytes: 1_000, ..graph(8_000) };
    let fresh = SegmentFacts { merge_bytes: 500, ..flat(16_000) };
    let segments = vec![old, fresh];
    let situation = Situation { segments, merging_bytes: 1_000, ..Situation::default() };
    assert_eq!(
        pair(plan(MergeScope::Due, &situation, &options)),
        work(&[1], 1),
        "the fresh rows alone"
    );
}

fn outdated(facts: SegmentFacts) -> SegmentFacts {
    SegmentFacts { outdated: true, ..facts }
}

#[test]
fn files_of_older_formats_are_rewritten_alone_and_keep_level_and_graph() {
    let ask = |segments: Vec<SegmentFacts>| {
        let work =
            plan(MergeScope::Outdated, &Situation { segments, ..Situation::default() }, &options());
        work.map(|work| (work.inputs, work.level, work.base))
    };
    assert_eq!(ask(vec![graph(9_000), flat(8), memory(3)]), None);
    let segments = vec![outdated(graph(9_000)), graph(7), outdated(flat(8)), memory(3)];
    assert_eq!(ask(segments), Some((vec![2], 0, None)), "the smallest first");
    let segments = vec![outdated(graph(9_000)), graph(7), busy(outdated(flat(8)))];
    assert_eq!(ask(segments), Some((vec![0], 1, Some(0))));
}

/// A file that takes so many bytes to merge.
fn heavy(facts: SegmentFacts, merge_bytes: u64) -> SegmentFacts {
    SegmentFacts { merge_bytes, ..facts }
}

#[test]
fn no_merge_takes_more_memory_than_one_may() {
    let options = Options { one_merge_bytes_max: 1_000, merge_bytes_max: 1_000, ..options() };
    let ask = |scope, segments: &[SegmentFacts]| {
        let situation = Situation { segments: segments.to_vec(), ..Situation::default() };
        pair(plan(scope, &situation, &options))
    };
    let due = |segments: &[SegmentFacts]| ask(MergeScope::Due, segments);
    let oversized = heavy(graph(20_000), 600);
    let fresh = heavy(flat(16_000), 500);
    assert_eq!(due(&[heavy(graph(8_000), 400), fresh]), work(&[0, 1], 1), "both fit");
    assert_eq!(
        due(&[heavy(graph(8_000), 501), fresh]),
        work(&[1], 1),
        "an oversized file stands apart"
    );
    assert_eq!(due(&[oversized; 9]), None, "oversized files are never too many");
    assert_eq!(due(&[oversized, heavy(file(1, 20_000, 15_000), 450)]), work(&[1], 1), "worn");
    let worn = heavy(file(1, 30_000, 20_000), 600);
    assert_eq!(due(&[oversized, worn]), work(&[1], 1), "an oversized file that is worn, alone");
    assert_eq!(due(&[heavy(worn, 1_001)]), None, "it fits no more");
    let huge = heavy(flat(50_000), 1_001);
    assert_eq!(
        due(&[huge, fresh]),
        work(&[1], 1),
        "a flat file that does not fit keeps no other one flat"
    );
    let huge = heavy(file(1, 50_000, 30_000), 1_001);
    assert_eq!(due(&[worn, huge]), work(&[0], 1), "nor a worn one");
    let in_memory = |bytes| due(&[heavy(memory(10), bytes)]);
    assert_eq!(
        (in_memory(500), in_memory(501)),
        (None, work(&[0], 0)),
        "before it is too much to link"
    );
    let few = heavy(flat(5_000), 400);
    assert_eq!(due(&[few; 3]), work(&[0, 1], 1), "enough rows for the memory of a merge");
    let long_rows = heavy(flat(3_000), 600);
    assert_eq!(due(&[long_rows; 6]), None, "alone they are too few for a graph");
    let all = |segments: &[SegmentFacts]| ask(MergeScope::Everything, segments);
    assert_eq!(all(&[oversized, few, few, few]), work(&[1, 2], 1), "as many as fit");
    assert_eq!(all(&[oversized, few]), work(&[1], 1));
    assert_eq!(all(&[oversized, oversized]), None, "nothing is gained");
    assert_eq!(all(&[oversized, heavy(file(1, 9, 8), 600)]), work(&[1], 1), "dead rows are");
    assert_eq!(ask(MergeScope::Worthwhile, &[heavy(graph(8_000), 400); 3]), work(&[0, 1], 1));
    let memory = heavy(memory(100), 5_000);
    let checkpoint = |bytes| ask(MergeScope::Checkpoint, &[heavy(flat(90), bytes), memory]);
    assert_eq!(checkpoint(250), work(&[0, 1], 0), "whatever the rows in memory take");
    assert_eq!(checkpoint(251), work(&[1], 0), "the file would take more than a quarter");
}

/// From many beginnings, each scope runs out of work, and leaves what it promises.
#[test]
fn work_comes_to_an_end() {
    let mut rng = nearfield_segment::Rng::new(3);
    for round in 0..300 {
        let count = rng.below(40);
        let mut segments: Vec<SegmentFacts> = (0..count)
            .map(|_| {
                let most = 1 << (1 + rng.below(20));
                let rows = 1 + rng.below(most) as u32;
                file(rng.below(2) as u8, rows, rows - rng.below(u64::from(rows)) as u32 / 2)
            })
            .collect();
        for scope in [MergeScope::Due, MergeScope::Worthwhile, MergeScope::Everything] {
            for step in 0.. {
                let Some((inputs, level)) = ask(scope, segments.clone()) else { break };
                assert!(step < 60, "round {round}: {scope:?} does not end: {segments:?}");
                let live: u32 = inputs.iter().map(|&index| segments[index].live).sum();
                let mut index = 0..segments.len();
                segments.retain(|_| !inputs.contains(&index.next().expect("as many")));
                segments.extend((live > 0).then(|| file(level, live, live)));
            }
            let most = if scope == MergeScope::Everything { 1 } else { 8 };
            assert!(segments.len() <= most, "round {round}: {scope:?} leaves {segments:?}");
        }
    }
}

/// The same with a bound on the memory of a merge, which here takes a byte a row.
#[test]
fn work_within_bounded_memory_comes_to_an_end() {
    const MOST: u64 = 100_000;
    let options = Options { one_merge_bytes_max: MOST, merge_bytes_max: MOST, ..options() };
    let weighed = |facts: SegmentFacts| heavy(facts, u64::from(facts.live));
    let mut rng = nearfield_segment::Rng::new(4);
    for round in 0..300 {
        let count = rng.below(60);
        let mut segments: Vec<SegmentFacts> = (0..count)
            .map(|_| {
                let most = 1 << (1 + rng.below(16));
                let rows = 1 + rng.below(most) as u32;
                weighed(if rng.below(2) == 0 { flat(rows) } else { graph(rows) })
            })
            .collect();
        for scope in [MergeScope::Due, MergeScope::Worthwhile] {
            for step in 0.. {
                let situation = Situation { segments: segments.clone(), ..Situation::default() };
                let Some(Work { inputs, level, .. }) = plan(scope, &situation, &options) else {
                    break;
                };
                assert!(step < 90, "round {round}: {scope:?} does not end: {segments:?}");
                let live: u32 = inputs.iter().map(|&index| segments[index].live).sum();
                assert!(u64::from(live) <= MOST, "round {round}: {inputs:?} of {segments:?}");
                let mut index = 0..segments.len();
                segments.retain(|_| !inputs.contains(&index.next().expect("as many")));
                segments.push(weighed(file(level, live, live)));
            }
            let is_small = |facts: &&SegmentFacts| facts.merge_bytes <= MOST / 2;
            let small = segments.iter().filter(is_small).count();
            assert!(small <= 8, "round {round}: {scope:?} leaves {segments:?}");
        }
    }
}
