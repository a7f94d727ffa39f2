//! Arrow streams: memory is counted as it fills.

use std::io::Write;
use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, RecordBatch};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field};

use crate::running::{Answer, Running};

/// A stream of one record batch of vectors of dimension 3.
fn stream(rows: usize) -> Vec<u8> {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let elements = Arc::new(Float32Array::from(vec![1.0; 3 * rows]));
    let vectors: ArrayRef = Arc::new(FixedSizeListArray::try_new(item, 3, elements, None).unwrap());
    let batch = RecordBatch::try_from_iter([("vector", vectors)]).unwrap();
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    bytes
}

#[test]
fn a_batch_that_is_still_arriving_counts_against_the_budget() {
    let budget = (16 << 20).to_string();
    let running = Running::with(&["--dim", "3", "--memory-budget-bytes", &budget]);
    let send = |bytes: &[u8], declared: usize| {
        let mut stream = running.connect();
        let head = format!(
            "POST /v2/ingest HTTP/1.1\r\nhost: test\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
             content-type: application/vnd.apache.arrow.stream\r\ncontent-length: {declared}\r\n\r\n",
            running.admin
        );
        stream.write_all(head.as_bytes()).unwrap();
        // The answer may come before everything was taken.
        let _refused = stream.write_all(bytes);
        Answer::read(stream)
    };
    let large = stream(1_000_000);
    let answer = send(&large[..large.len() * 3 / 4], large.len());
    assert_eq!(answer.refusal(), (429, "resource_exhausted".to_owned()), "its end never came");
    let small = stream(1_000);
    assert_eq!(send(&small, small.len()).data(201)["rows"], 1_000, "the memory came back");
    let left = running.get("/v2/admin/stats").data(200)["memory_proxy_bytes"].as_u64().unwrap();
    assert!(left < 1 << 20, "{left} bytes are held");
}
