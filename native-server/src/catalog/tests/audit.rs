//! Audit rows: in order, bounded, and never silently gone.

use super::*;

pub(super) fn row(action: &'static str) -> AuditRow {
    let (key_id, collection) = (KeyId::parse("nfk_00000000000000ff"), Some("points".to_owned()));
    let (status, latency_us, request_id) = (200, 1234, "req_1".to_owned());
    let address = None;
    AuditRow {
        time_ms: NOW_MS,
        key_id,
        action,
        collection,
        address,
        status,
        latency_us,
        request_id,
    }
}

fn actions(entries: &[AuditEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.action.as_str()).collect()
}

#[test]
fn a_row_is_read_back_as_it_was_given() {
    let place = Place::new();
    let catalog = place.open();
    let given = AuditRow { key_id: None, collection: None, status: 401, ..row("query") };
    catalog.audit(row("ingest"));
    catalog.audit(given);
    let read = catalog.audit_tail(10).expect("read");
    let first = AuditEntry {
        time_ms: NOW_MS,
        key_id: KeyId::parse("nfk_00000000000000ff"),
        action: "ingest".to_owned(),
        collection: Some("points".to_owned()),
        address: None,
        status: 200,
        latency_us: 1234,
        request_id: "req_1".to_owned(),
        rows_lost: 0,
    };
    let action = "query".to_owned();
    let second =
        AuditEntry { key_id: None, collection: None, status: 401, action, ..first.clone() };
    assert_eq!(read, [first, second]);
}

#[test]
fn rows_are_there_for_others_after_closing() {
    let place = Place::new();
    let (catalog, other) = (place.open(), place.open());
    (0..1_200).for_each(|_| catalog.audit(row("query")));
    catalog.close();
    assert_eq!(other.audit_tail(u64::MAX).expect("read").len(), 1_200);
    assert_eq!(catalog.audit_failures_total(), 0);
    catalog.audit(row("late"));
    assert_eq!(catalog.audit_failures_total(), 1);
}

#[test]
fn the_tail_is_the_newest_rows_in_their_order() {
    let place = Place::new();
    let catalog = place.open();
    ["a", "b", "c"].into_iter().for_each(|action| catalog.audit(row(action)));
    assert_eq!(actions(&catalog.audit_tail(2).expect("read")), ["b", "c"]);
}

#[test]
fn the_oldest_rows_go_first() {
    let place = Place::new();
    let catalog = place.try_open(None, 3).expect("opens");
    for action in ["a", "b", "c", "d", "e"] {
        catalog.audit(row(action));
        catalog.audit_tail(0).expect("flushed");
    }
    assert_eq!(actions(&catalog.audit_tail(10).expect("read")), ["c", "d", "e"]);
}

#[test]
fn a_lowered_limit_is_reached() {
    let place = Place::new();
    let catalog = place.open();
    (0..2_000).for_each(|_| catalog.audit(row("old")));
    catalog.close();
    let catalog = place.try_open(None, 10).expect("opens");
    for _ in 0..3 {
        catalog.audit(row("new"));
        catalog.audit_tail(0).expect("flushed");
    }
    let entries = catalog.audit_tail(u64::MAX).expect("read");
    assert_eq!(entries.len(), 10);
    assert_eq!(actions(&entries)[7..], ["new", "new", "new"]);
}

#[test]
fn rows_that_cannot_be_written_are_counted_and_the_count_becomes_a_row() {
    let place = Place::new();
    let catalog = place.open();
    let shell = place.shell();
    shell.execute("ALTER TABLE audit RENAME TO hidden", []).expect("renamed");
    (0..7).for_each(|_| catalog.audit(row("lost")));
    assert!(catalog.audit_tail(1).is_err());
    assert_eq!(catalog.audit_failures_total(), 7);
    shell.execute("ALTER TABLE hidden RENAME TO audit", []).expect("renamed");

    catalog.audit(row("kept"));
    let entries = catalog.audit_tail(10).expect("read");
    assert_eq!(actions(&entries), ["audit_lost", "kept"]);
    assert_eq!((entries[0].rows_lost, entries[1].rows_lost), (7, 0));
    assert_eq!(catalog.audit_failures_total(), 7);
}

#[test]
fn a_full_queue_refuses_rows_at_once_and_counts_them() {
    let place = Place::new();
    let catalog = place.open();
    let shell = place.shell();
    // While another process holds the write lock, nothing leaves the queue but one batch.
    shell.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let given = 10_000;
    (0..given).for_each(|_| catalog.audit(row("query")));
    let lost = catalog.audit_failures_total();
    assert!(lost >= given - 2 * 4_096, "{lost}");
    shell.execute_batch("COMMIT").expect("released");

    catalog.audit_tail(0).expect("flushed");
    catalog.close();
    let entries = place.open().audit_tail(u64::MAX).expect("read");
    let (reports, rows): (Vec<_>, Vec<_>) =
        entries.iter().partition(|entry| entry.action == "audit_lost");
    let reported: u64 = reports.iter().map(|entry| entry.rows_lost).sum();
    assert_eq!(reported, catalog.audit_failures_total());
    assert_eq!(rows.len() as u64 + reported, given);
}

#[test]
fn texts_that_a_client_chose_are_cut() {
    let place = Place::new();
    let catalog = place.open();
    let long = "é".repeat(10_000);
    catalog.audit(AuditRow { collection: Some(long.clone()), request_id: long, ..row("query") });
    let entry = catalog.audit_tail(1).expect("read").remove(0);
    let cut = "é".repeat(256);
    assert_eq!((entry.collection, entry.request_id), (Some(cut.clone()), cut));
}

#[test]
fn refusals_without_a_key_push_nothing_out_however_many_there_are() {
    let place = Place::new();
    let catalog = place.try_open(None, 10).expect("opens");
    catalog.audit(row("ingest"));
    let refused =
        |second: u64| AuditRow { key_id: None, time_ms: NOW_MS + 1_000 * second, ..row("query") };
    for second in [0, 1, 59, 60, 61] {
        (0..2_000).for_each(|_| catalog.audit_refusal(refused(second)));
    }
    let read = catalog.audit_tail(100).expect("read");
    let rows: Vec<_> = read.iter().map(|row| (row.action.as_str(), row.rows_lost)).collect();
    // One at once, those of the minute after it together; and again.
    let expected = [("ingest", 0), ("query", 0), ("query", 5_998), ("query", 0), ("query", 3_998)];
    assert_eq!(rows, expected);
    assert_eq!(catalog.audit_failures_total(), 0);
}

/// A row of a key that ends in `hex`.
fn row_of(hex: char, action: &'static str) -> AuditRow {
    AuditRow { key_id: KeyId::parse(&format!("nfk_000000000000000{hex}")), ..row(action) }
}

#[test]
fn a_flood_of_one_key_displaces_neither_rows_of_other_keys_nor_its_own_writes() {
    let place = Place::new();
    let catalog = place.try_open(None, 100).expect("opens");
    for _ in 0..10 {
        catalog.audit(row_of('a', "delete"));
        catalog.audit(row_of('b', "delete"));
        catalog.audit(row_of('b', "query"));
    }
    for _ in 0..20 {
        (0..500).for_each(|_| catalog.audit(row_of('a', "query")));
        catalog.audit_tail(0).expect("flushed");
    }
    let count = |catalog: &Catalog, hex: char, action: &str| {
        let entries = catalog.audit_tail(u64::MAX).expect("read");
        let key_id = row_of(hex, "").key_id;
        entries.iter().filter(|row| row.key_id == key_id && row.action == action).count()
    };
    let counts = |catalog: &Catalog| {
        [('a', "delete"), ('b', "delete"), ('b', "query"), ('a', "query")]
            .map(|(hex, action)| count(catalog, hex, action))
    };
    assert_eq!(counts(&catalog), [10, 10, 10, 70]);
    catalog.close();
    // The sums are read again by the next process, and the other key may now have half.
    let catalog = place.try_open(None, 100).expect("opens");
    (0..200).for_each(|_| catalog.audit(row_of('b', "query")));
    catalog.audit_tail(0).expect("flushed");
    assert_eq!(counts(&catalog), [10, 10, 40, 40]);
}

#[test]
fn a_full_queue_still_takes_some_rows_of_a_key_that_has_few() {
    let place = Place::new();
    let catalog = place.open();
    let shell = place.shell();
    shell.execute_batch("BEGIN IMMEDIATE").expect("locked");
    (0..10_000).for_each(|_| catalog.audit(row_of('a', "query")));
    let lost = catalog.audit_failures_total();
    assert!(lost > 0, "the queue is full");
    (0..40).for_each(|_| catalog.audit(row_of('b', "delete")));
    assert_eq!(catalog.audit_failures_total(), lost);
    shell.execute_batch("COMMIT").expect("released");
}
