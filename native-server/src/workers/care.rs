//! What a collection needs next, and when: a pure decision, tested as a table.
//!
//! After an error the next attempt waits, twice as long each time: a full disk is not hammered.

use std::time::Duration;

use nearfield_engine::task::Effort;

/// Between two attempts at most.
const BACK_OFF_MAX: Duration = Duration::from_secs(60);
/// Before asking again for what could not be done because somebody else was at work.
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
    /// The memory budget is tight, and this collection has a good part of it.
    pub(super) tight: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Recover,
    Merge(Effort),
    /// Remove files that nothing needs any more.
    Tidy,
    Wait(Duration),
}

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Did,
    /// There was nothing to do, or somebody else was at work.
    Nothing,
    Failed,
}

/// What is remembered of a collection.
#[derive(Debug)]
pub(super) struct Care {
    checkpoint_at: Duration,
    merge_at: Duration,
    tidy_at: Duration,
    not_before: Duration,
    failures: u32,
    /// Something may be due by size.
    look: bool,
}

impl Care {
    /// A collection that was opened `now`.
    pub(super) fn new(now: Duration, intervals: Intervals) -> Care {
        let (checkpoint_at, merge_at) = (now + intervals.checkpoint, now + intervals.merge);
        let (tidy_at, not_before) = (now, Duration::ZERO);
        Care { checkpoint_at, merge_at, tidy_at, not_before, failures: 0, look: true }
    }

    /// Something may be due by size.
    pub(super) fn look(&mut self) {
        self.look = true;
    }

    /// The most urgent step.
    pub(super) fn next(&self, facts: Facts, now: Duration) -> Step {
        if now < self.not_before {
            return Step::Wait(self.not_before);
        }
        if facts.refuses {
            return Step::Recover;
        }
        if facts.tight && facts.pending {
            return Step::Merge(Effort::Checkpoint);
        }
        if self.look {
            return Step::Merge(Effort::Due);
        }
        if now >= self.checkpoint_at && facts.pending {
            return Step::Merge(Effort::Checkpoint);
        }
        if now >= self.merge_at {
            return Step::Merge(Effort::Worthwhile);
        }
        if now >= self.tidy_at {
            return Step::Tidy;
        }
        let checkpoint_at = if facts.pending { self.checkpoint_at } else { Duration::MAX };
        Step::Wait(self.merge_at.min(checkpoint_at).min(self.tidy_at))
    }

    /// Remembers how a step went. How long the next attempt waits, if this one failed.
    pub(super) fn done(
        &mut self,
        step: Step,
        outcome: Outcome,
        now: Duration,
        intervals: Intervals,
    ) -> Option<Duration> {
        if outcome == Outcome::Failed {
            let wait = Duration::from_secs(1 << self.failures.min(6)).min(BACK_OFF_MAX);
            self.failures += 1;
            self.not_before = now + wait;
            return Some(wait);
        }
        let did = outcome == Outcome::Did;
        self.failures = if did { 0 } else { self.failures };
        match step {
            Step::Recover => self.look = true,
            Step::Merge(Effort::Due) => self.look = did,
            Step::Merge(Effort::Checkpoint) => {
                self.checkpoint_at = now + intervals.checkpoint;
                self.look |= did;
                self.not_before = if did { self.not_before } else { now + PAUSE };
            }
            Step::Merge(Effort::Worthwhile | Effort::Everything) if did => {}
            Step::Merge(Effort::Worthwhile | Effort::Everything) => {
                self.merge_at = now + intervals.merge;
            }
            Step::Tidy => self.tidy_at = now + TIDY_EVERY,
            Step::Wait(_) => {}
        }
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
    const IDLE: Facts = Facts { refuses: false, pending: false, tight: false };
    const PENDING: Facts = Facts { pending: true, ..IDLE };

    /// At second 0, after its first look found nothing and everything is tidy.
    fn settled() -> Care {
        let mut care = Care::new(Duration::ZERO, INTERVALS);
        assert_eq!(care.next(IDLE, Duration::ZERO), Step::Merge(Effort::Due));
        care.done(Step::Merge(Effort::Due), Outcome::Nothing, Duration::ZERO, INTERVALS);
        assert_eq!(care.next(IDLE, Duration::ZERO), Step::Tidy);
        care.done(Step::Tidy, Outcome::Did, Duration::ZERO, INTERVALS);
        care
    }

    #[test]
    fn the_table_of_steps() {
        let cases = [
            ("nothing pending", IDLE, 0, Step::Wait(180 * SECOND)),
            ("rows in memory wait for the interval", PENDING, 29, Step::Wait(30 * SECOND)),
            ("and become a file", PENDING, 30, Step::Merge(Effort::Checkpoint)),
            ("few files are merged now and then", IDLE, 180, Step::Merge(Effort::Worthwhile)),
            (
                "memory is tight",
                Facts { tight: true, ..PENDING },
                1,
                Step::Merge(Effort::Checkpoint),
            ),
            (
                "tight, but not by this one",
                Facts { tight: true, ..IDLE },
                0,
                Step::Wait(180 * SECOND),
            ),
            ("a writer that refuses", Facts { refuses: true, ..PENDING }, 30, Step::Recover),
        ];
        for (name, facts, second, expected) in cases {
            assert_eq!(settled().next(facts, second * SECOND), expected, "{name}");
        }
    }

    #[test]
    fn what_time_makes_superfluous_is_looked_for_now_and_then() {
        let mut care = settled();
        let merge = Step::Merge(Effort::Worthwhile);
        care.done(merge, Outcome::Nothing, 599 * SECOND, INTERVALS);
        assert_eq!(care.next(IDLE, 599 * SECOND), Step::Wait(600 * SECOND));
        assert_eq!(care.next(IDLE, 600 * SECOND), Step::Tidy);
        care.done(Step::Tidy, Outcome::Nothing, 600 * SECOND, INTERVALS);
        assert_eq!(care.next(IDLE, 600 * SECOND), Step::Wait(779 * SECOND));
    }

    #[test]
    fn due_work_is_done_until_there_is_none() {
        let mut care = settled();
        care.look();
        let due = Step::Merge(Effort::Due);
        for outcome in [Outcome::Did, Outcome::Did, Outcome::Nothing] {
            assert_eq!(care.next(IDLE, SECOND), due);
            care.done(due, outcome, SECOND, INTERVALS);
        }
        assert_eq!(care.next(IDLE, SECOND), Step::Wait(180 * SECOND));
    }

    #[test]
    fn after_errors_each_attempt_waits_longer_until_one_succeeds() {
        let mut care = settled();
        let (step, facts) = (Step::Recover, Facts { refuses: true, ..IDLE });
        let mut now = SECOND;
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(care.next(facts, now), step);
            let wait = care.done(step, Outcome::Failed, now, INTERVALS);
            assert_eq!(wait, Some(expected * SECOND));
            let until = now + expected * SECOND;
            assert_eq!(care.next(facts, until - SECOND / 2), Step::Wait(until));
            now = until;
        }
        assert_eq!(care.done(step, Outcome::Did, now, INTERVALS), None);
        assert!(!care.is_failing());
        assert_eq!(care.next(IDLE, now), Step::Merge(Effort::Due), "it looks what was left");
    }

    #[test]
    fn who_finds_somebody_else_at_work_does_not_spin() {
        let mut care = settled();
        let tight = Facts { tight: true, ..PENDING };
        let step = Step::Merge(Effort::Checkpoint);
        assert_eq!(care.next(tight, SECOND), step);
        care.done(step, Outcome::Nothing, SECOND, INTERVALS);
        assert_eq!(care.next(tight, SECOND), Step::Wait(2 * SECOND));
    }
}
