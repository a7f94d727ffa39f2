//! A log that is replayed gives the points that writing gave, though its batches share segments.

use super::*;
use nearfield_segment::{FieldKind, FieldKinds, Rng};

/// Rows of one batch and points deleted by it: batches that share a segment, that fill one, and one that is longer.
const BATCHES: [(usize, u64); 10] = [
    (50, 0),
    (1, 20),
    (0, 400),
    (3_000, 10),
    (3_000, 100),
    (3_000, 0),
    (9_000, 0),
    (200, 3_000),
    (0, 0),
    (700, 5),
];
/// The batch that declares a field.
const DECLARES: usize = 8;
const IDS: u64 = 12_000;

type Model = BTreeMap<u64, (f32, Option<String>)>;

fn batch(number: usize, rng: &mut Rng, model: &mut Model) -> Change<'static> {
    let (rows, deletes) = BATCHES[number];
    let deletes: Vec<u64> = (0..deletes).map(|_| rng.below(IDS)).collect();
    let first = rng.below(IDS - rows as u64);
    let ids: Vec<u64> = (first..first + rows as u64).collect();
    let text = |id: &u64| id.is_multiple_of(3).then(|| format!("{{\"batch\":{number}}}"));
    let metadata: Vec<_> = ids.iter().map(text).collect();
    let vectors = ids.iter().flat_map(|id| [*id as f32, number as f32]).collect();
    deletes.iter().for_each(|id| drop(model.remove(id)));
    let rows_of = ids.iter().zip(&metadata);
    model.extend(rows_of.map(|(id, text)| (*id, (number as f32, text.clone()))));
    let mut fields = FieldKinds::default();
    if number == DECLARES {
        fields.insert("at".to_owned(), FieldKind::Datetime);
    }
    change(Draft {
        deletes: numbers(deletes),
        ids: Some(numbers(ids)),
        metadata: metadata.into_iter().map(|text| text.map(Cow::Owned)).collect(),
        vectors: BTreeMap::from([(String::new(), Cow::Owned(vectors))]),
        fields,
        ..draft(rows)
    })
}

fn points(collection: &Collection) -> Model {
    let view = collection.view();
    let mut points = Model::new();
    for live in &view.segments {
        let ids = live.segment.ids().expect("reads");
        let mut vector = [0.0; 2];
        for row in live.dead.live().iter() {
            let PointId::U64(id) = ids.id(row) else { panic!("all ids are numbers") };
            live.segment.fields()[0].decode(row, &mut vector).expect("reads");
            assert_eq!(vector[0], id as f32);
            let text = live.segment.text(row).expect("reads").map(Cow::into_owned);
            let second = points.insert(id, (vector[1], text));
            assert_eq!(second, None, "point {id} is there once");
        }
    }
    points
}

#[test]
fn a_replayed_log_gives_the_points_that_were_written() {
    for seed in 0..4 {
        let bench = Bench::new();
        let (mut rng, mut model) = (Rng::new(seed), Model::new());
        let at_checkpoint = rng.below(2 * BATCHES.len() as u64) as usize;
        for (number, (rows, _)) in BATCHES.into_iter().enumerate() {
            if number == at_checkpoint {
                bench.collection.checkpoint(&Pool::SERIAL).expect("checkpoints");
            }
            let answer = one(&bench.collection, batch(number, &mut rng, &mut model));
            assert_eq!(answer.inserted + answer.replaced, rows as u64);
            assert_eq!(bench.collection.view().len(), model.len() as u64);
        }
        assert_eq!(points(&bench.collection), model, "seed {seed}");
        let written = bench.collection.view();
        drop((bench.collection, bench.db));
        let db = open_seeded(&bench.disk.restart(seed), Options::default(), 100 + seed);
        let collection = db.collection("points").expect("opens");
        assert_eq!(points(&collection), model, "seed {seed}");
        let replayed = collection.view();
        assert_eq!((replayed.lsn, &replayed.schema), (written.lsn, &written.schema));
        assert!(replayed.segments.len() <= written.segments.len());
        let next = one(&collection, change(draft(1))).first_assigned.expect("assigned");
        let highest = model.keys().next_back().copied().unwrap_or_default();
        assert!(next > highest, "{next} is above {highest}");
    }
}

#[test]
fn a_log_of_points_that_all_went_again_leaves_no_segment() {
    let bench = Bench::new();
    for number in 0..20 {
        let ids = Some(numbers([number]));
        one(&bench.collection, change(Draft { ids, ..draft(1) }));
        one(&bench.collection, change(Draft { deletes: numbers([number]), ..Draft::default() }));
    }
    drop((bench.collection, bench.db));
    let collection = open(&bench.disk.restart(1), Options::default()).collection("points");
    assert!(collection.expect("opens").view().segments.is_empty());
}
