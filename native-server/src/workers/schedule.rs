//! `MaintenanceSchedule`: decides which maintenance a collection needs next (recovery, checkpoint or merge, removal of
//! old files), and when. A pure decision from `Facts`, tested as a table; used by `upkeep`.
//!
//! Steps run beside each other: a checkpoint waits for no merge, and several merges have different inputs.
//!
//! After an error the next attempt waits, twice as long each time: a full disk is not hammered.

use std::time::Duration;

use nearfield_engine::task::MergeScope;

/// Between two attempts at most.
const BACK_OFF_MAX: Duration = Duration::from_secs(60);
/// Before trying again what could not be done because another thread was at work.
const PAUSE: Duration = Duration::from_secs(1);

/// Between two looks at what time alone makes superfluous: the end of history, old files in quarantine.
const TIDY_EVERY: Duration = Duration::from_secs(600);

/// How often what is not urgent is done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Intervals {
    /// Rows in memory become a file.
    pub(super) checkpoint: Duration,
    /// Files are merged although they are few.
    pub(super) merge: Duration,
}

/// What is known of a collection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Facts {
    /// Its writer has to be recovered.
    pub(super) refuses: bool,
    /// Something is in the log and in no file.
    pub(super) pending: bool,
    /// The memory budget is tight, and this collection has a good part of it or a merge has claimed memory.
    pub(super) tight: bool,
    /// Its rows in memory are enough for a file.
    pub(super) full: bool,
    /// The writer is being recovered.
    pub(super) recovering: bool,
    /// A checkpoint is being made. Merges never keep one waiting.
    pub(super) checkpointing: bool,
    /// Enough merges are under way.
    pub(super) merging: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Recover,
    Merge(MergeScope),
    /// Remove files that nothing needs any more.
    Tidy,
    Wait(Duration),
}

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Did,
    /// There was nothing to do, or another thread was at work.
    Nothing,
    Failed,
}

/// What is remembered of a collection. Several steps may be under way at a time; a step that begins moves its own
/// time on, so that no other thread takes it too.
#[derive(Debug)]
pub(super) struct MaintenanceSchedule {
    checkpoint_at: Duration,
    merge_at: Duration,
    tidy_at: Duration,
    not_before: Duration,
    /// For checkpoints, after one found nothing to do.
    no_checkpoint_before: Duration,
    failures: u32,
    /// Something may be due by size.
    look: bool,
}

impl MaintenanceSchedule {
    /// A collection that was opened `now`.
    pub(super) fn new(now: Duration, intervals: Intervals) -> MaintenanceSchedule {
        let (checkpoint_at, merge_at) = (now + intervals.checkpoint, now + intervals.merge);
        let (tidy_at, not_before) = (now, Duration::ZERO);
        MaintenanceSchedule {
            checkpoint_at,
            merge_at,
            tidy_at,
            not_before,
            no_checkpoint_before: Duration::ZERO,
            failures: 0,
            look: true,
        }
    }

    /// Something may be due by size.
    pub(super) fn look(&mut self) {
        self.look = true;
    }

    /// The most urgent step.
    pub(super) fn next(&self, facts: Facts, now: Duration) -> Step {
        if facts.recovering {
            return Step::Wait(Duration::MAX);
        }
        if now < self.not_before {
            return Step::Wait(self.not_before);
        }
        if facts.refuses {
            return Step::Recover;
        }
        let checkpoint_at = self.checkpoint_at(facts);
        if now >= checkpoint_at {
            return Step::Merge(MergeScope::Checkpoint);
        }
        let merge_at = if facts.merging { Duration::MAX } else { self.merge_at };
        if self.look && !facts.merging {
            return Step::Merge(MergeScope::Due);
        }
        if now >= merge_at {
            return Step::Merge(MergeScope::Worthwhile);
        }
        if now >= self.tidy_at {
            return Step::Tidy;
        }
        Step::Wait(merge_at.min(checkpoint_at).min(self.tidy_at))
    }

    fn checkpoint_at(&self, facts: Facts) -> Duration {
        match facts {
            Facts { pending: false, .. } | Facts { checkpointing: true, .. } => Duration::MAX,
            Facts { tight: true, .. } | Facts { full: true, .. } => self.no_checkpoint_before,
            Facts { .. } => self.checkpoint_at.max(self.no_checkpoint_before),
        }
    }

    /// Remembers that a step has begun.
    pub(super) fn begin(&mut self, step: Step, now: Duration, intervals: Intervals) {
        match step {
            Step::Merge(MergeScope::Due) => self.look = false,
            Step::Merge(MergeScope::Checkpoint) => self.checkpoint_at = now + intervals.checkpoint,
            Step::Merge(MergeScope::Worthwhile | MergeScope::Outdated | MergeScope::Everything) => {
                self.merge_at = now + intervals.merge;
            }
            Step::Tidy => self.tidy_at = now + TIDY_EVERY,
            Step::Recover | Step::Wait(_) => {}
        }
    }

    /// Remembers how a step went. How long the next attempt waits, if this one failed.
    pub(super) fn done(&mut self, step: Step, outcome: Outcome, now: Duration) -> Option<Duration> {
        let (did, failed) = (outcome == Outcome::Did, outcome == Outcome::Failed);
        match step {
            Step::Recover => self.look |= did,
            Step::Merge(MergeScope::Due) => self.look |= did || failed,
            Step::Merge(MergeScope::Checkpoint) => {
                self.look |= did;
                self.checkpoint_at = if failed { now } else { self.checkpoint_at };
                self.no_checkpoint_before = if did { now } else { now + PAUSE };
            }
            Step::Merge(MergeScope::Worthwhile | MergeScope::Outdated | MergeScope::Everything) => {
                self.merge_at = if did || failed { now } else { self.merge_at };
            }
            Step::Tidy => self.tidy_at = if failed { now } else { self.tidy_at },
            Step::Wait(_) => {}
        }
        if failed {
            let wait = Duration::from_secs(1 << self.failures.min(6)).min(BACK_OFF_MAX);
            self.failures += 1;
            self.not_before = now + wait;
            return Some(wait);
        }
        self.failures = if did { 0 } else { self.failures };
        None
    }

    /// True after failures that no success has followed.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const INTERVALS: Intervals =
        Intervals { checkpoint: Duration::from_secs(30), merge: Duration::from_secs(180) };
    const IDLE: Facts = Facts {
        refuses: false,
        pending: false,
        tight: false,
        full: false,
        recovering: false,
        checkpointing: false,
        merging: false,
    };
    const PENDING: Facts = Facts { pending: true, ..IDLE };
    const CHECKPOINT: Step = Step::Merge(MergeScope::Checkpoint);

    /// Takes a step from beginning to end.
    fn takes(
        schedule: &mut MaintenanceSchedule,
        step: Step,
        outcome: Outcome,
        now: Duration,
    ) -> Option<Duration> {
        schedule.begin(step, now, INTERVALS);
        schedule.done(step, outcome, now)
    }

    /// At second 0, after its first look found nothing and everything is tidy.
    fn settled() -> MaintenanceSchedule {
        let mut schedule = MaintenanceSchedule::new(Duration::ZERO, INTERVALS);
        assert_eq!(schedule.next(IDLE, Duration::ZERO), Step::Merge(MergeScope::Due));
        takes(&mut schedule, Step::Merge(MergeScope::Due), Outcome::Nothing, Duration::ZERO);
        assert_eq!(schedule.next(IDLE, Duration::ZERO), Step::Tidy);
        takes(&mut schedule, Step::Tidy, Outcome::Did, Duration::ZERO);
        schedule
    }

    #[test]
    fn the_table_of_steps() {
        let tight = Facts { tight: true, ..PENDING };
        let full = Facts { full: true, ..PENDING };
        let wait = Step::Wait(180 * SECOND);
        let cases = [
            ("nothing pending", IDLE, 0, wait),
            ("rows in memory wait for the interval", PENDING, 29, Step::Wait(30 * SECOND)),
            ("and become a file", PENDING, 30, CHECKPOINT),
            ("few files are merged now and then", IDLE, 180, Step::Merge(MergeScope::Worthwhile)),
            ("memory is tight", tight, 1, CHECKPOINT),
            ("enough for a file", full, 1, CHECKPOINT),
            ("beside merges", Facts { merging: true, ..full }, 1, CHECKPOINT),
            ("one is being made", Facts { checkpointing: true, ..tight }, 1, wait),
            ("tight, but not by this one", Facts { tight: true, ..IDLE }, 0, wait),
            ("enough merges", Facts { merging: true, ..IDLE }, 200, Step::Wait(600 * SECOND)),
            ("a writer that refuses", Facts { refuses: true, ..PENDING }, 30, Step::Recover),
            (
                "it is being recovered",
                Facts { refuses: true, recovering: true, ..PENDING },
                30,
                Step::Wait(Duration::MAX),
            ),
        ];
        for (name, facts, second, expected) in cases {
            assert_eq!(settled().next(facts, second * SECOND), expected, "{name}");
        }
    }

    #[test]
    fn what_time_makes_superfluous_is_looked_for_now_and_then() {
        let mut schedule = settled();
        let merge = Step::Merge(MergeScope::Worthwhile);
        takes(&mut schedule, merge, Outcome::Nothing, 599 * SECOND);
        assert_eq!(schedule.next(IDLE, 599 * SECOND), Step::Wait(600 * SECOND));
        assert_eq!(schedule.next(IDLE, 600 * SECOND), Step::Tidy);
        takes(&mut schedule, Step::Tidy, Outcome::Nothing, 600 * SECOND);
        assert_eq!(schedule.next(IDLE, 600 * SECOND), Step::Wait(779 * SECOND));
    }

    #[test]
    fn due_work_is_done_until_there_is_none() {
        let mut schedule = settled();
        schedule.look();
        let due = Step::Merge(MergeScope::Due);
        for outcome in [Outcome::Did, Outcome::Did, Outcome::Nothing] {
            assert_eq!(schedule.next(IDLE, SECOND), due);
            takes(&mut schedule, due, outcome, SECOND);
        }
        assert_eq!(schedule.next(IDLE, SECOND), Step::Wait(180 * SECOND));
    }

    #[test]
    fn a_step_that_has_begun_is_begun_once_and_one_that_failed_again() {
        let mut schedule = settled();
        let steps = [(PENDING, CHECKPOINT), (IDLE, Step::Merge(MergeScope::Worthwhile))];
        for (facts, step) in steps {
            assert_eq!(schedule.next(facts, 180 * SECOND), step);
            schedule.begin(step, 180 * SECOND, INTERVALS);
            assert_ne!(schedule.next(facts, 180 * SECOND), step, "another thread takes another");
        }
        schedule.done(CHECKPOINT, Outcome::Failed, 181 * SECOND);
        assert_eq!(schedule.next(PENDING, 182 * SECOND), CHECKPOINT);
    }

    #[test]
    fn after_errors_each_attempt_waits_longer_until_one_succeeds() {
        let mut schedule = settled();
        let (step, facts) = (Step::Recover, Facts { refuses: true, ..IDLE });
        let mut now = SECOND;
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(schedule.next(facts, now), step);
            let wait = takes(&mut schedule, step, Outcome::Failed, now);
            assert_eq!(wait, Some(expected * SECOND));
            let until = now + expected * SECOND;
            assert_eq!(schedule.next(facts, until - SECOND / 2), Step::Wait(until));
            now = until;
        }
        assert_eq!(takes(&mut schedule, step, Outcome::Did, now), None);
        assert!(!schedule.is_failing());
        assert_eq!(
            schedule.next(IDLE, now),
            Step::Merge(MergeScope::Due),
            "it looks what was left"
        );
    }

    #[test]
    fn a_checkpoint_that_finds_another_under_way_does_not_spin() {
        let mut schedule = settled();
        let tight = Facts { tight: true, ..PENDING };
        assert_eq!(schedule.next(tight, SECOND), CHECKPOINT);
        takes(&mut schedule, CHECKPOINT, Outcome::Nothing, SECOND);
        assert_eq!(schedule.next(tight, SECOND), Step::Wait(2 * SECOND));
    }
}
