//! Writes a `.near` file that is large enough to be read in part, for tests of the browser package.
//!
//! `cargo run -p nearfield-engine --example sample_export -- FILE [SEED]`: one collection of two segments, 20,000 rows
//! with inverted lists and 500 without, 32 dimensions in clusters, metadata. The same bytes for the same seed.

use std::sync::Arc;

use nearfield_engine::{Error, Fault, LiveSegment, Result, View, write_export};
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::format::Residence;
use nearfield_segment::vector::graph::GraphParams;

use nearfield_segment::segment::{Segment, SegmentBuilder, SegmentOptions};
use nearfield_segment::storage::{BytesBlob, MemoryStorage, Storage};
use nearfield_segment::{
    DeadRows, Encoding, FileId, Kernel, Lsn, Metric, PointId, Pool, Rng, Schema,
};

const DIM: usize = 32;
const CLUSTERS: usize = 60;
const SEGMENTS: [u64; 2] = [20_000, 500];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage = || Error::invalid(Fault::Parameter, "usage: sample_export FILE [SEED]");
    let file = arguments.first().ok_or_else(usage)?;
    let seed = arguments.get(1).map_or(Ok(1), |text| text.parse().map_err(|_| usage()))?;
    let schema = Schema::dense(DIM, Metric::L2, Encoding::F32)?;
    let mut rng = Rng::new(seed);
    let centres: Vec<f32> = (0..CLUSTERS * DIM).map(|_| rng.unit_f32()).collect();
    let (mut segments, mut next) = (Vec::new(), 0);
    for rows in SEGMENTS {
        segments.push(segment(&schema, &centres, next..next + rows, &mut rng)?);
        next += rows;
    }
    let view = View::of_segments(Lsn(1), schema, segments);
    let storage = MemoryStorage::default();
    let collections = [("sample".to_owned(), Arc::new(view))];
    write_export(
        &storage,
        "sample.near",
        &collections,
        Kernel::detect(),
        &Pool::SERIAL,
        &never_cancelled,
    )?;
    let blob = storage.open("sample.near")?;
    std::fs::write(file, &*blob.read(0..blob.len())?)
        .map_err(|error| Error::io("write", file, error))
}

fn segment(
    schema: &Schema,
    centres: &[f32],
    ids: std::ops::Range<u64>,
    rng: &mut Rng,
) -> Result<LiveSegment> {
    let options = SegmentOptions {
        kernel: Kernel::detect(),
        graph_rows_min: u32::MAX,
        graph: GraphParams::default(),
    };
    let count = (ids.end - ids.start) as usize;
    let mut builder = SegmentBuilder::new(FileId(u128::from(ids.end)), schema, count);
    for id in ids {
        let cluster = rng.below(CLUSTERS as u64) as usize;
        let centre = &centres[cluster * DIM..(cluster + 1) * DIM];
        let row: Vec<f32> = centre.iter().map(|value| value + 0.4 * rng.unit_f32()).collect();
        let metadata = format!(r#"{{"cluster":{cluster},"text":"row {id}"}}"#);
        builder.push(PointId::U64(id), [&row[..]], Some(&metadata))?;
    }
    let bytes = builder.index(&options, None).finish(&Pool::SERIAL)?;
    let blob = Arc::new(BytesBlob::new("sample.seg", bytes));
    let segment = Arc::new(Segment::open("sample.seg", blob, Residence::InPlace)?);
    let dead = Arc::new(DeadRows::new(segment.rows()));
    Ok(LiveSegment { segment, dead, file: None })
}
