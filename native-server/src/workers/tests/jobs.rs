//! Jobs: what they report, and how they are stopped.

use super::super::budget::{Holder, Purpose, merges_bytes_max};
use super::*;

#[test]
fn jobs_say_what_they_did_and_are_remembered() {
    let store = Place::in_memory().open("");
    let served = store.collection(None).expect("the default collection");
    write(&served, 0..3, true).expect("written");
    let run = |kind| wait(store.run_job(kind, None, true)).expect("runs");
    let checkpoint = run(JobKind::Checkpoint);
    assert_eq!(checkpoint.state, JobState::Completed);
    assert_eq!(checkpoint.details["collections"], serde_json::json!(["default"]));
    let idle = run(JobKind::Checkpoint);
    assert_eq!((idle.state, &idle.details["reason"]), (JobState::Idle, &"no_pending_wal".into()));
    assert_eq!(run(JobKind::Compaction).state, JobState::Completed);
    assert_eq!(run(JobKind::Compaction).state, JobState::Idle);
    let snapshot = run(JobKind::Snapshot);
    assert!(snapshot.details["snapshot_dir"].as_str().is_some_and(|dir| dir.contains("snap")));
    assert_eq!(run(JobKind::Verify).details["findings"], serde_json::json!([]));
    assert_eq!(store.jobs().job(idle.id).expect("readable"), Some(idle));
    assert_eq!(JobId::parse("job_0"), None);
    assert_eq!(store.jobs().newest(100).expect("readable").len(), 6);
    let unknown = wait(store.run_job(JobKind::Compaction, Some("none"), true));
    assert_eq!(kind(&unknown.expect_err("unknown")), Some(ErrorKind::NotFound));
    store.close();
}

/// A job that cannot get on, because the writer of `served` is taken; `meanwhile` hears its id.
fn with_job_held(store: &Store, served: &CollectionService, meanwhile: impl FnOnce(JobId)) -> Job {
    let id = with_writer_taken(served, || {
        let begun = wait(store.run_job(JobKind::Snapshot, None, false)).expect("begins");
        meanwhile(begun.id);
        begun.id
    });
    let job = || store.jobs().job(id).expect("readable").expect("remembered");
    until("the job ends", || job().state != JobState::Running);
    job()
}

#[test]
fn a_job_that_is_told_to_stop_ends_cancelled() {
    let store = Place::in_memory().open("");
    let served = store.collection(None).expect("the default collection");
    write(&served, 0..3, true).expect("written");
    let job = with_job_held(&store, &served, |id| {
        let cancelled = store.jobs().cancel(id).expect("readable").expect("recorded");
        assert_eq!(cancelled.state, JobState::Running, "it has not noticed yet");
    });
    assert_eq!(job.state, JobState::Cancelled, "{:?}", job.details);
    // A job is noted as ended a moment before the next of its kind may begin.
    let mut again = None;
    until("the next one runs", || {
        again = wait(store.run_job(JobKind::Snapshot, None, true)).ok();
        again.is_some()
    });
    let state = again.map(|job| job.state);
    assert_eq!(state, Some(JobState::Completed), "only that one was stopped");
    store.close();
}

#[test]
fn a_merge_that_waits_for_memory_reports_no_rows() {
    let store = Place::in_memory().open("--memory-budget-bytes 16777216");
    let served = store.collection(None).expect("the default collection");
    write(&served, 0..3, true).expect("written");
    wait(store.run_job(JobKind::Checkpoint, None, true)).expect("a file");
    let budget = &store.context.budget;
    let share = merges_bytes_max(budget.limit_bytes());
    let held = budget.reserve(share, Purpose::Merge, Holder::Server).expect("all of the share");
    let begun = wait(store.run_job(JobKind::Compaction, None, false)).expect("begins");
    let job = || store.jobs().job(begun.id).expect("readable").expect("remembered");
    until("the job has come to the collection", || job().details["collection"] == "default");
    // The merge looks for memory every tenth of a second.
    let watch = Stopwatch::start();
    while watch.seconds() < 0.3 {
        assert_eq!(job().details.get("rows"), None, "{:?}", job().details);
    }
    drop(held);
    until("the job ends", || job().state != JobState::Running);
    assert_eq!(job().state, JobState::Completed);
    store.close();
}

#[test]
fn a_server_that_is_about_to_close_stops_jobs_and_starts_none() {
    let store = Place::in_memory().open("");
    let served = store.collection(None).expect("the default collection");
    write(&served, 0..3, true).expect("written");
    let job = with_job_held(&store, &served, |_| {
        store.jobs().cancel_all();
        let refused = wait(store.run_job(JobKind::Verify, None, true)).expect_err("closing");
        assert!(matches!(refused, StoreError::ShuttingDown));
    });
    assert_eq!(job.state, JobState::Cancelled, "{:?}", job.details);
    write(&served, 3..6, true).expect("requests under way go on");
    store.close();
}
