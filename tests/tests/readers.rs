//! Readers in another process, looking in the middle of everything the writer does.
//!
//! They never meet an error, see only whole batches, never one that a power cut could still undo, and
//! never go back; between the writer's steps they see all that was acknowledged.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use nearfield_engine::{Collection, Database, ManualClock, Mode, View};
use nearfield_segment::storage::SimDisk;
use nearfield_segment::{Lsn, Rng};
use nearfield_tests::oracle::Oracle;
use nearfield_tests::sim::{
    Step, Watched, World, open, random_step, script, script_of_the_past, small_options, storage,
};

const NAME: &str = "a";

/// A reader that stays open, and what it may see.
struct Audience {
    disk: SimDisk,
    rng: Rng,
    reader: Option<Arc<Collection>>,
    seen: Lsn,
    /// What was acknowledged at each LSN.
    acknowledged: BTreeMap<Lsn, Oracle>,
    /// What is being written.
    pending: Option<Oracle>,
    /// Whether what is being written may be durable by now.
    synced: bool,
    /// A log file was made, and its header is not synced yet.
    header: bool,
    looks: usize,
}

impl Audience {
    fn new(disk: &SimDisk, seed: u64) -> Audience {
        Audience {
            disk: disk.clone(),
            rng: Rng::new(seed),
            reader: None,
            seen: Lsn(0),
            acknowledged: BTreeMap::new(),
            pending: None,
            synced: false,
            header: false,
            looks: 0,
        }
    }

    /// Before an operation of the writer.
    fn before(&mut self, operation: &str, name: &str) {
        if self.rng.below(4) == 0 && !self.acknowledged.is_empty() {
            self.look();
        }
        match operation {
            "append_new" => self.header = true,
            // A file's header is synced before its first batch; what is written behind the sync of a batch is its mark.
            "sync" if name.contains("/wal/") => {
                self.synced = !self.header;
                self.header = false;
            }
            _ => {}
        }
    }

    fn look(&mut self) {
        self.looks += 1;
        if self.reader.is_none() || self.rng.below(6) == 0 {
            self.reader = Some(self.newcomer());
        }
        let view = self.reader.as_ref().expect("made above").refresh();
        self.check(&view.expect("readers meet no errors"));
    }

    fn newcomer(&self) -> Arc<Collection> {
        let (files, clock) = (storage(&self.disk), Arc::new(ManualClock::default()));
        let db = Database::open(files, Mode::Read, small_options(), clock, 9, "a reader");
        let collection = db.expect("readers meet no errors").collection(NAME);
        collection.expect("readers meet no errors")
    }

    fn check(&mut self, view: &View) {
        assert!(view.lsn >= self.seen, "back from {} to {}", self.seen, view.lsn);
        self.seen = view.lsn;
        let expected = self.acknowledged.get(&view.lsn).unwrap_or_else(|| {
            assert!(self.synced, "LSN {} is not durable yet", view.lsn);
            self.pending.as_ref().expect("an LSN that was never written")
        });
        assert_eq!(expected.difference(view), None, "at LSN {}", view.lsn);
    }

    /// Between two steps everything acknowledged is seen.
    fn settle(&mut self, lsn: Lsn, content: &Oracle) {
        self.pending = None;
        self.acknowledged.insert(lsn, content.clone());
        self.look();
        assert_eq!(self.seen, lsn, "acknowledged batches are not seen");
    }
}

/// Whether a step replaces or removes the collection: holders of a handle have to open it again.
fn replaces(step: &Step) -> bool {
    matches!(step, Step::Drop(NAME) | Step::Replay(NAME, _) | Step::Restore)
}

fn perform_before_an_audience(steps: impl Iterator<Item = Step>, seed: u64) -> usize {
    let disk = SimDisk::new(seed);
    let audience = Arc::new(Mutex::new(Audience::new(&disk, seed)));
    let eyes = Arc::clone(&audience);
    let watcher =
        Arc::new(move |operation, name: &str| eyes.lock().unwrap().before(operation, name));
    let files = Arc::new(Watched::new(storage(&disk), watcher));
    let session = open(files, 0, seed).unwrap();
    let mut world = World::default();
    for step in steps.filter(|step| !replaces(step)) {
        if matches!(step, Step::Create(name) if world.collections.contains_key(name)) {
            continue;
        }
        let after = world.after(&step);
        {
            let mut audience = audience.lock().unwrap();
            audience.pending = after.collections.get(NAME).cloned();
            audience.synced = false;
        }
        session.perform(&step, world.steps).unwrap_or_else(|error| panic!("{step:?}: {error}"));
        world = after;
        if let Some(content) = world.collections.get(NAME) {
            let lsn = session.db.collection(NAME).unwrap().view().lsn;
            audience.lock().unwrap().settle(lsn, content);
        }
    }
    audience.lock().unwrap().looks
}

#[test]
fn readers_follow_everything_the_writer_does() {
    for seed in 0..20 {
        let looks = perform_before_an_audience(script().into_iter(), seed);
        assert!(looks > 100, "the readers looked only {looks} times");
    }
}

#[test]
fn readers_follow_random_workloads() {
    for seed in 0..150 {
        println!("seed {seed}");
        let mut rng = Rng::new(seed);
        let mut world = World::default().after(&Step::Create(NAME));
        let steps = (0..60).map(|_| {
            let step = random_step(&mut rng, &world);
            if !replaces(&step) {
                world = world.after(&step);
            }
            step
        });
        let steps: Vec<Step> = std::iter::once(Step::Create(NAME)).chain(steps).collect();
        perform_before_an_audience(steps.into_iter(), seed);
    }
}

/// Whenever a reader asks for it by name, a collection that goes back is the old one or the new one.
#[test]
fn a_reader_that_asks_by_name_sees_the_old_state_or_the_new_one() {
    let disk = SimDisk::new(4);
    let worlds = Arc::new(Mutex::new((World::default(), World::default(), 0)));
    let (seen, beside) = (Arc::clone(&worlds), disk.clone());
    let watcher = Arc::new(move |_: &'static str, _: &str| {
        let (before, after, looks) = &mut *seen.lock().unwrap();
        if !before.collections.contains_key(NAME) || !after.collections.contains_key(NAME) {
            return;
        }
        let clock = Arc::new(ManualClock::default());
        let options = small_options();
        let db = Database::open(storage(&beside), Mode::Read, options, clock, 9, "a reader");
        let view = db.unwrap().collection(NAME).unwrap().view();
        let old = before.collections[NAME].difference(&view);
        let new = after.collections[NAME].difference(&view);
        assert!(old.is_none() || new.is_none(), "{old:?}; or else: {new:?}");
        *looks += 1;
    });
    let session = open(Arc::new(Watched::new(storage(&disk), watcher)), 0, 4).unwrap();
    let mut world = World::default();
    for step in script_of_the_past() {
        let after = world.after(&step);
        {
            let mut worlds = worlds.lock().unwrap();
            (worlds.0, worlds.1) = (world.clone(), after.clone());
        }
        session.perform_in(&step, &world).unwrap();
        world = after;
    }
    assert!(worlds.lock().unwrap().2 > 100, "the reader looked only seldom");
}
