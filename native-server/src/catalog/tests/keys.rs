//! Keys: what they open, until when, and what is known about them.

use super::*;

#[test]
fn a_key_opens_what_its_roles_say_until_it_is_revoked() {
    let place = Place::new();
    let catalog = place.open();
    assert!(!catalog.has_usable_key());
    let key = query_key(&catalog);
    let identity = catalog.authenticate(key.token.reveal()).expect("a good key");
    assert_eq!(identity.key_id, key.info.id);
    assert!(identity.allows(Role::Query) && !identity.allows(Role::Ingest));
    assert!(catalog.has_usable_key() && !catalog.has_usable_key_for(Role::Admin));

    catalog.revoke_key(&key.info.id.to_string()).expect("revoked");
    assert_eq!(catalog.authenticate(key.token.reveal()), Err(Refusal::Revoked));
    assert!(!catalog.has_usable_key());
}

#[test]
fn an_admin_key_is_usable_for_everything() {
    let place = Place::new();
    let catalog = place.open();
    catalog.create_key("root", Role::Admin.into(), None).expect("created");
    assert!(Role::ALL.into_iter().all(|role| catalog.has_usable_key_for(role)));
}

#[test]
fn a_key_made_or_revoked_by_another_process_counts_at_the_next_call() {
    let place = Place::new();
    let (server, other) = (place.open(), place.open());
    let key = query_key(&other);
    assert!(server.authenticate(key.token.reveal()).is_ok());
    other.revoke_key(&key.info.id.to_string()).expect("revoked");
    assert_eq!(server.authenticate(key.token.reveal()), Err(Refusal::Revoked));
    assert_eq!(server.stale_decisions_total(), 0);
}

#[test]
fn a_key_edited_by_hand_counts_at_the_next_call() {
    let place = Place::new();
    let server = place.open();
    let key = query_key(&server);
    let shell = place.shell();
    shell.execute("UPDATE keys SET roles = 'ingest'", []).expect("edited");
    let identity = server.authenticate(key.token.reveal()).expect("still a key");
    assert!(identity.allows(Role::Ingest) && !identity.allows(Role::Query));
    shell.execute("DELETE FROM keys", []).expect("deleted");
    assert_eq!(server.authenticate(key.token.reveal()), Err(Refusal::Unknown));
}

#[test]
fn a_key_ends_at_its_expiry() {
    let place = Place::new();
    let catalog = place.open();
    let key = catalog.create_key("guest", Role::Query.into(), Some(NOW_MS + 10)).expect("created");
    place.clock.set(NOW_MS + 9);
    assert!(catalog.authenticate(key.token.reveal()).is_ok());
    place.clock.set(NOW_MS + 10);
    assert_eq!(catalog.authenticate(key.token.reveal()), Err(Refusal::Expired));
    assert!(!catalog.has_usable_key());
}

#[test]
fn a_wrong_secret_an_unknown_id_and_half_a_token_open_nothing() {
    let place = Place::new();
    let catalog = place.open();
    let (one, two) = (query_key(&catalog), query_key(&catalog));
    let secret_of = |key: &NewKey| key.token.reveal().split_once('.').expect("a dot").1.to_owned();
    let crossed = format!("{}.{}", one.info.id, secret_of(&two));
    assert_eq!(catalog.authenticate(&crossed), Err(Refusal::Unknown));
    let unknown = format!("nfk_0123456789abcdef.{}", secret_of(&one));
    assert_eq!(catalog.authenticate(&unknown), Err(Refusal::Unknown));
    assert_eq!(catalog.authenticate(&one.info.id.to_string()), Err(Refusal::Malformed));
    assert_eq!(catalog.authenticate(""), Err(Refusal::Malformed));
}

#[test]
fn a_wrong_secret_does_not_learn_that_a_key_is_revoked() {
    let place = Place::new();
    let catalog = place.open();
    let key = query_key(&catalog);
    catalog.revoke_key(&key.info.id.to_string()).expect("revoked");
    let guess = format!("{}.{}", key.info.id, "0".repeat(64));
    assert_eq!(catalog.authenticate(&guess), Err(Refusal::Unknown));
}

#[test]
fn revoked_stays_revoked_and_keeps_its_first_time() {
    let place = Place::new();
    let key = query_key(&place.open());
    let id = key.info.id.to_string();
    place.clock.set(NOW_MS + 1);
    place.open().revoke_key(&id).expect("revoked");
    place.clock.set(NOW_MS + 2);
    let catalog = place.open();
    assert_eq!(catalog.revoke_key(&id).expect("again").revoked_ms, Some(NOW_MS + 1));
    assert_eq!(catalog.authenticate(key.token.reveal()), Err(Refusal::Revoked));
}

#[test]
fn a_token_names_its_key_to_whoever_revokes() {
    let place = Place::new();
    let catalog = place.open();
    let key = query_key(&catalog);
    assert_eq!(catalog.revoke_key(key.token.reveal()).expect("named").id, key.info.id);
}

#[test]
fn revoking_an_unknown_key_names_near_ids_and_never_a_secret() {
    let place = Place::new();
    let catalog = place.open();
    let key = query_key(&catalog);
    let typo = key.info.id.to_string()[..19].to_owned();
    let error = catalog.revoke_key(&typo).expect_err("one digit short");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains(&key.info.id.to_string()), "{error}");

    let secret = key.token.reveal().split_once('.').expect("a dot").1;
    for given in [secret.to_owned(), format!("nfk_x.{secret}")] {
        let error = catalog.revoke_key(&given).expect_err("no id");
        assert!(!error.message().contains(&secret[20..]), "{error}");
    }
}

#[test]
fn keys_are_listed_oldest_first_with_what_is_known() {
    let place = Place::new();
    let catalog = place.open();
    let mut all: Vec<KeyInfo> = (0..5).map(|_| query_key(&catalog).info).collect();
    let roles = Roles::from(Role::Ingest).and(Role::Query);
    let new = catalog.create_key("writer", roles, Some(NOW_MS + 100)).expect("created");
    all.push(new.info.clone());
    assert_eq!(host::lock(&catalog.main).ledger.list_keys().expect("listed"), all);
    assert_eq!(
        (new.info.name.as_str(), new.info.roles.to_string().as_str()),
        ("writer", "query,ingest")
    );
    assert!(new.info.is_usable(NOW_MS + 99) && !new.info.is_usable(NOW_MS + 100));
}

#[test]
fn a_use_is_written_down_at_most_once_a_minute_and_at_the_end() {
    let place = Place::new();
    let (catalog, other) = (place.open(), place.open());
    let key = query_key(&catalog);
    let used = || host::lock(&other.main).ledger.list_keys().expect("listed")[0].last_used_ms;
    let at = |now_ms| {
        place.clock.set(now_ms);
        catalog.authenticate(key.token.reveal()).expect("a good key");
        catalog.audit(audit::row("query"));
        catalog.audit_tail(0).expect("flushed");
    };
    at(NOW_MS);
    assert_eq!(used(), Some(NOW_MS));
    at(NOW_MS + 59_999);
    assert_eq!(used(), Some(NOW_MS));
    at(NOW_MS + 60_000);
    assert_eq!(used(), Some(NOW_MS + 60_000));
    at(NOW_MS + 60_001);
    catalog.close();
    assert_eq!(used(), Some(NOW_MS + 60_001));
}

#[test]
fn names_and_expiries_that_would_mislead_are_refused() {
    let place = Place::new();
    let catalog = place.open();
    for name in ["", " ", "a\nb", "a\u{1b}[0m", " a", &"x".repeat(129)] {
        let error = catalog.create_key(name, Role::Query.into(), None).expect_err("no name");
        assert!(matches!(error.kind(), ErrorKind::InvalidInput(_)), "{name:?}: {error}");
    }
    for end in [0, NOW_MS, u64::MAX] {
        let error = catalog.create_key("a", Role::Query.into(), Some(end)).expect_err("no time");
        assert!(matches!(error.kind(), ErrorKind::InvalidInput(_)), "{end}: {error}");
    }
    assert!(host::lock(&catalog.main).ledger.list_keys().expect("listed").is_empty());
}

#[test]
fn debug_shows_neither_token_nor_digest_nor_pepper() {
    let place = Place::new();
    let catalog = place.try_open(Some("a pepper for this test"), 10).expect("opens");
    let key = query_key(&catalog);
    let secret = key.token.reveal().split_once('.').expect("a dot").1;
    assert!(!format!("{key:?}").contains(secret));
    let all = format!("{catalog:?}");
    let digest: Vec<u8> =
        place.shell().query_row("SELECT digest FROM keys", [], |row| row.get(0)).expect("stored");
    assert!(!all.contains(&format!("{:?}", &digest[..8]).replace(']', "")), "{all}");
    assert!(all.contains("hidden") && !all.contains(secret) && !all.contains("for this test"));
}

/// `cargo test --release -p nearfield-server --lib -- --ignored --nocapture deciding`
#[test]
#[ignore = "a measurement"]
fn deciding_about_a_token_takes() {
    let place = Place::new();
    let catalog = place.open();
    let keys: Vec<NewKey> = (0..100).map(|_| query_key(&catalog)).collect();
    let calls = 200_000;
    for threads in [1, 2, 4] {
        let clock = host::Stopwatch::start();
        std::thread::scope(|scope| {
            for key in keys.iter().take(threads) {
                let catalog = &catalog;
                scope.spawn(move || {
                    for _ in 0..calls {
                        catalog.authenticate(key.token.reveal()).expect("a good key");
                    }
                });
            }
        });
        let each_us = clock.seconds() * 1e6 / (calls * threads) as f64;
        println!("{threads} threads: {each_us:.2} µs a decision");
    }
    let row = || audit::row("query");
    let clock = host::Stopwatch::start();
    (0..4_000).for_each(|_| catalog.audit(row()));
    println!("{:.2} µs an audit row", clock.seconds() * 1e6 / 4_000.0);
    let clock = host::Stopwatch::start();
    catalog.audit_tail(0).expect("flushed");
    println!("{:.1} ms until they are written", clock.seconds() * 1e3);
    assert_eq!(catalog.audit_failures_total(), 0);
}
