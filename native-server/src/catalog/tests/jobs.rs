//! Jobs: rows that tell the truth after a crash, and never stand in the way.

use serde_json::json;

use super::*;

#[test]
fn a_job_is_running_until_it_is_finished() {
    let place = Place::new();
    let catalog = place.open();
    let id = catalog.begin_job(JobKind::Checkpoint, Some("points"));
    let begun = Job {
        id,
        kind: JobKind::Checkpoint,
        collection: Some("points".to_owned()),
        state: JobState::Running,
        started_ms: NOW_MS,
        finished_ms: None,
        details: json!({}),
    };
    assert_eq!(catalog.job(id).expect("read"), Some(begun.clone()));
    assert_eq!(place.open().job(id).expect("read by another"), Some(begun.clone()));

    place.clock.set(NOW_MS + 5);
    catalog.finish_job(id, JobState::Completed, json!({ "rows": 7 }));
    let (state, finished_ms, details) =
        (JobState::Completed, Some(NOW_MS + 5), json!({ "rows": 7 }));
    let ended = Job { state, finished_ms, details, ..begun };
    assert_eq!(catalog.job(id).expect("read"), Some(ended.clone()));
    assert_eq!(place.open().job(id).expect("read by another"), Some(ended));
}

#[test]
fn the_second_end_of_a_job_changes_nothing() {
    let place = Place::new();
    let catalog = place.open();
    let end_twice = || {
        let id = catalog.begin_job(JobKind::Verify, None);
        catalog.finish_job(id, JobState::Failed, json!({ "why": "first" }));
        catalog.finish_job(id, JobState::Completed, json!({}));
        let job = catalog.job(id).expect("read").expect("kept");
        assert_eq!((job.state, job.details), (JobState::Failed, json!({ "why": "first" })));
    };
    end_twice();
    // Also while the first end is not written yet.
    place.shell().execute("ALTER TABLE jobs RENAME TO hidden", []).expect("renamed");
    end_twice();
}

#[test]
fn jobs_are_listed_newest_first() {
    let place = Place::new();
    let catalog = place.open();
    let ids: Vec<JobId> = (0..3).map(|_| catalog.begin_job(JobKind::Compaction, None)).collect();
    catalog.finish_job(ids[0], JobState::Idle, json!({}));
    let listed: Vec<JobId> = catalog.jobs(2).expect("read").iter().map(|job| job.id).collect();
    assert_eq!(listed, [ids[2], ids[1]]);
    assert_eq!(JobId::parse(&ids[0].to_string()), Some(ids[0]));
    assert_eq!(JobId::parse("job_1"), None);
}

#[test]
fn jobs_of_a_dead_process_become_interrupted_and_only_when_asked() {
    let place = Place::new();
    let dead = place.open();
    let (left, done) =
        (dead.begin_job(JobKind::Snapshot, None), dead.begin_job(JobKind::Verify, None));
    dead.finish_job(done, JobState::Completed, json!({}));
    drop(dead);
    place.clock.set(NOW_MS + 9);
    let next = place.open();
    // The command line opens the catalog beside a server whose jobs are alive.
    assert_eq!(next.job(left).expect("read").expect("kept").state, JobState::Running);
    assert_eq!(next.interrupt_left_jobs().expect("reconciled"), 1);
    let job = next.job(left).expect("read").expect("kept");
    assert_eq!((job.state, job.finished_ms), (JobState::Interrupted, Some(NOW_MS + 9)));
    assert_eq!(next.job(done).expect("read").expect("kept").state, JobState::Completed);
    assert_eq!(next.interrupt_left_jobs().expect("nothing left"), 0);
}

#[test]
fn jobs_begin_and_end_while_nothing_can_be_written_and_are_written_later() {
    let place = Place::new();
    let catalog = place.open();
    let shell = place.shell();
    shell.execute("ALTER TABLE jobs RENAME TO hidden", []).expect("renamed");
    let first = catalog.begin_job(JobKind::Checkpoint, None);
    let second = catalog.begin_job(JobKind::Compaction, None);
    catalog.finish_job(first, JobState::Completed, json!({}));
    assert_eq!(catalog.job(first).expect("in memory").expect("kept").state, JobState::Completed);

    shell.execute("ALTER TABLE hidden RENAME TO jobs", []).expect("renamed");
    let listed: Vec<JobId> = catalog.jobs(9).expect("read").iter().map(|job| job.id).collect();
    assert_eq!(listed, [second, first]);
    catalog.finish_job(second, JobState::Idle, json!({}));
    let states: Vec<JobState> =
        place.open().jobs(9).expect("read by another").iter().map(|job| job.state).collect();
    assert_eq!(states, [JobState::Idle, JobState::Completed]);
}

#[test]
fn the_oldest_jobs_go_first() {
    let place = Place::new();
    let catalog = place.open();
    let insert = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
                  INSERT INTO jobs SELECT i, printf('job_%016x', i), 'verify', NULL, 'idle', 0, 0, '{}' FROM n";
    place.shell().execute(insert, []).expect("filled");
    let id = catalog.begin_job(JobKind::Verify, None);
    let jobs = catalog.jobs(20_000).expect("read");
    assert_eq!((jobs.len(), jobs[0].id), (10_000, id));
    assert_eq!(jobs[9_999].id, JobId(2));
}
