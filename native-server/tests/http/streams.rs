//! Arrow streams: memory is counted as it fills.

use std::io::Write;
use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, RecordBatch};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_schema::{DataType, Field};

use crate::running::{Answer, Running};

const DIM: usize = 64;

/// A stream of one record batch of vectors of [`DIM`], all of them alike.
fn stream(rows: usize, compression: Option<CompressionType>) -> Vec<u8> {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let elements = Arc::new(Float32Array::from(vec![1.0; DIM * rows]));
    let vectors: ArrayRef =
        Arc::new(FixedSizeListArray::try_new(item, DIM as i32, elements, None).unwrap());
    let batch = RecordBatch::try_from_iter([("vector", vectors)]).unwrap();
    let mut bytes = Vec::new();
    let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
    let mut writer =
        StreamWriter::try_new_with_options(&mut bytes, &batch.schema(), options).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    bytes
}

/// One with a memory budget of 16 MiB.
fn small() -> Running {
    let budget = (16 << 20).to_string();
    Running::with(&["--dim", &DIM.to_string(), "--memory-budget-bytes", &budget])
}

/// Sends bytes as a stream of `declared` bytes.
fn send(running: &Running, bytes: &[u8], declared: usize) -> Answer {
    let mut stream = running.connect();
    let head = format!(
        "POST /v2/ingest HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
         content-type: application/vnd.apache.arrow.stream\r\ncontent-length: {declared}\r\n\r\n",
        running.admin
    );
    stream.write_all(head.as_bytes()).unwrap();
    // The answer may come before everything was taken.
    let _refused = stream.write_all(bytes);
    Answer::read(stream)
}

/// What is held is given back, and the next stream is taken.
#[track_caller]
fn takes_more(running: &Running) {
    let small = stream(1_000, Some(CompressionType::ZSTD));
    let answer = send(running, &small, small.len());
    assert_eq!(answer.data(201)["rows"], 1_000, "the memory came back");
    let left = running.get("/v2/admin/stats").data(200)["memory_proxy_bytes"].as_u64().unwrap();
    assert!(left < 1 << 20, "{left} bytes are held");
}

#[test]
fn a_batch_that_is_still_arriving_counts_against_the_budget() {
    let running = small();
    let large = stream(60_000, None);
    let answer = send(&running, &large[..large.len() * 3 / 4], large.len());
    assert_eq!(answer.refusal(), (429, "resource_exhausted".to_owned()), "its end never came");
    takes_more(&running);
}

#[test]
fn a_compressed_batch_counts_as_what_it_becomes_before_it_is_decoded() {
    let running = small();
    for codec in [CompressionType::ZSTD, CompressionType::LZ4_FRAME] {
        let bomb = stream(22_000, Some(codec));
        assert!(bomb.len() < 100_000, "{} bytes", bomb.len());
        let answer = send(&running, &bomb, bomb.len());
        assert_eq!(answer.refusal(), (429, "resource_exhausted".to_owned()), "{codec:?}");
    }
    takes_more(&running);
}
