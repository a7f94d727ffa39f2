//! smoke
use nearfield_engine::batch::*;
use nearfield_engine::*;
use nearfield_segment::search::Question;
use nearfield_segment::storage::*;
use nearfield_segment::*;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

fn upsert(c: &Collection, start: u64, n: usize, v: &[f32]) -> Applied {
    let d = Draft {
        ids: Some((start..start + n as u64).map(PointId::U64).collect()),
        rows: n,
        vectors: BTreeMap::from([(String::new(), Cow::Borrowed(v))]),
        metadata: (0..n).map(|i| Some(Cow::Owned(format!("{{\"n\":{i}}}")))).collect(),
        ..Draft::default()
    };
    let b = Batch::new(d, &c.view().schema, &payload::validate).unwrap();
    c.apply(b, &Pool::SERIAL).unwrap()
}

#[test]
fn smoke() {
    let disk = SimDisk::new(1);
    let open = |disk: &SimDisk| {
        let st: Arc<dyn Storage> = Arc::new(Directory::new(disk.clone()));
        Database::open(
            st,
            Mode::Write,
            Options::default(),
            Arc::new(ManualClock::new(5)),
            7,
            "pid 1",
        )
        .unwrap()
    };
    let db = open(&disk);
    let c = db.create("a", &Schema::dense(16, Metric::L2, Encoding::F32).unwrap()).unwrap();
    let vs = nearfield_tests::data::vectors(1, 5000, 16, nearfield_tests::data::Oddity::None);
    for i in 0..100 {
        upsert(&c, i * 50, 50, &vs[i as usize * 50 * 16..(i as usize + 1) * 50 * 16]);
    }
    println!("{:?}", c.view().segments.iter().map(|s| s.live_rows()).collect::<Vec<_>>());
    assert_eq!(c.view().len(), 5000);
    let f = filter::Filter::from_json(&serde_json::json!({"n":{"lt":10}})).unwrap();
    assert_eq!(c.view().count(Some(&f)).unwrap(), 1000);
    c.checkpoint(&Pool::SERIAL).unwrap();
    upsert(&c, 0, 50, &vs[16..16 * 51]);
    assert_eq!(c.view().len(), 5000);
    drop(c);
    drop(db);
    let db = open(&disk.restart(3));
    let c = db.collection("a").unwrap();
    assert_eq!(c.view().len(), 5000);
    c.compact(&Pool::new(2), &mut |_| std::ops::ControlFlow::Continue(())).unwrap();
    assert_eq!(c.view().len(), 5000);
    assert_eq!(c.view().segments.len(), 1);
    let q = Question { field: "", k: 10, ef: None, exact: false, filter: None };
    let v = c.view();
    let r = recall::measure(&v, q, &vs[..1600], Kernel::detect(), &Pool::SERIAL).unwrap();
    println!("{r:?}");
    assert!(c.delete_where(&f).unwrap().deleted == 1000);
    println!("{:?}", db.snapshot().unwrap());
    println!("{:?}", db.names());
}
