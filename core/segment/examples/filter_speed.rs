//! Times building the metadata of 60,000 rows and filtering them: `cargo run --release -p nearfield-segment
//! --example filter_speed`.

#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a stopwatch for people")]

use std::time::{Duration, Instant};

use nearfield_segment::filter::{Filter, eval};
use nearfield_segment::payload::{Payload, PayloadBuilder};
use nearfield_segment::stats::Stats;
use nearfield_segment::storage::AlignedBuffer;
use nearfield_segment::{FieldKinds, Rng};

const ROWS: u32 = 60_000;

fn main() -> nearfield_segment::Result<()> {
    let mut rng = Rng::new(1);
    let small: Vec<String> =
        (0..ROWS).map(|row| format!(r#"{{"lab":{},"pos":{row}}}"#, rng.below(1000))).collect();
    let rich: Vec<String> = (0..ROWS)
        .map(|row| {
            format!(
                r#"{{"doc":"d{row}","score":{}.5,"wide":{},"cat":"c{}","tags":["T{}","x"],"sub":{{"n":[1,{row}]}}}}"#,
                rng.below(100),
                rng.next_u64() >> 1,
                rng.below(50),
                rng.below(9)
            )
        })
        .collect();
    let small = open("lab, pos", &small)?;
    let rich = open("six fields", &rich)?;
    for text in [
        r#"{"lab":{"gte":10,"lt":110}}"#,
        r#"{"lab":7}"#,
        r#"{"pos":{"lt":30000}}"#,
        r#"{"lab":{"in":[1,2,3,4,5,6,7,8,9]}}"#,
    ] {
        time_filter(text, &small)?;
    }
    for text in [
        r#"{"score":{"gte":10,"lt":50.5}}"#,
        r#"{"wide":{"gt":4000000000000000000}}"#,
        r#"{"cat":"c7"}"#,
        r#"{"doc":"d4711"}"#,
        r#"{"tags_any":["t3","t4"]}"#,
        r#"{"sub.n":{"gt":59000}}"#,
        r#"{"cat":{"ne":"c7"},"score":{"lt":50}}"#,
    ] {
        time_filter(text, &rich)?;
    }
    Ok(())
}

fn open(name: &str, rows: &[String]) -> nearfield_segment::Result<Payload> {
    let start = Instant::now();
    let mut builder = PayloadBuilder::new(&FieldKinds::NONE);
    for row in rows {
        builder.push(Some(row))?;
    }
    let bytes = builder.finish()?;
    let built = start.elapsed();
    let columns = AlignedBuffer::copy_of(&bytes.columns).into();
    let raw = AlignedBuffer::copy_of(&bytes.raw.concat()).into();
    let payload = Payload::open(columns, raw, ROWS)?;
    let start = Instant::now();
    let stats = Stats::build(&payload)?;
    println!(
        "build {name}: {built:?}, columns {} B, texts {} B, statistics {} B in {:?}",
        bytes.columns.len(),
        bytes.raw.concat().len(),
        stats.to_bytes().len(),
        start.elapsed()
    );
    Ok(payload)
}

/// Median of 301 runs.
fn time_filter(text: &str, payload: &Payload) -> nearfield_segment::Result<()> {
    let filter = Filter::from_json_text(text)?;
    let mut count = 0;
    let mut times = Vec::new();
    for _ in 0..301 {
        let start = Instant::now();
        count = eval(&filter, payload, &FieldKinds::NONE)?.count();
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let [fastest, median]: [Duration; 2] = [times[0], times[150]];
    println!("{text}: {count} rows, {median:?} median, {fastest:?} fastest");
    Ok(())
}
