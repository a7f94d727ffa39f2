//! Bodies of hostile or hasty clients: each gets a clear answer, others are served meanwhile.

use std::io::Write;

use crate::running::{Answer, Running};

#[test]
fn bad_bodies_get_a_code_and_change_nothing() {
    let running = Running::start();
    let nested = format!("{}{{\"n\":1}}{}", "{\"and\":[".repeat(1000), "]}".repeat(1000));
    let deep = format!("{{\"vectors\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let cases: [(&str, &str, u16, &str); 27] = [
        ("query", "", 400, "parameter"),
        ("query", "{", 400, "bad_request"),
        ("query", "[]", 400, "bad_request"),
        ("query", "{\"vector\":\"near\"}", 400, "bad_request"),
        ("query", "{\"vector\":[1,2]}", 400, "dimension"),
        ("query", "{\"vectors\":[[1,2,3],[1,2]]}", 400, "dimension"),
        ("query", "{\"vector\":[1,2,3],\"vectors\":[]}", 400, "parameter"),
        ("query", "{\"vector\":[1,2,3],\"k\":1000000000000}", 400, "parameter"),
        ("query", "{\"vector\":[1,2,3],\"k\":0}", 400, "parameter"),
        ("query", "{\"vector\":[1,2,3],\"k\":-1}", 400, "bad_request"),
        ("query", "{\"vector\":[1,2,3],\"unknown\":1}", 400, "bad_request"),
        ("query", "{\"vector\":[1,2,3],\"vector\":[1,2,3]}", 400, "bad_request"),
        ("query", "{\"vector\":[1,2,3],\"field\":\"other\"}", 404, "not_found"),
        ("query", "{\"vector\":[1,2,NaN]}", 400, "bad_request"),
        ("query", "{\"vector\":[1,2,1e39]}", 422, "non_finite"),
        ("query", &format!("{{\"vector\":[1,2,3],\"filter\":{nested}}}"), 400, "filter"),
        ("query", "{\"vector\":[1,2,3],\"filter\":{\"n\":{\"near\":3}}}", 400, "filter"),
        ("vectors", "{\"vector\":[1]}", 400, "dimension"),
        ("vectors", "{\"vector\":[1,2,1e39]}", 422, "non_finite"),
        ("vectors", "{\"vector\":[1,2,3],\"metadata\":[1]}", 400, "metadata"),
        ("vectors", "{\"vector\":[1,2,3],\"id\":-9223372036854775809}", 400, "id"),
        (
            "vectors/batch",
            "{\"vectors\":[{\"id\":1,\"vector\":[1,2,3]},{\"vector\":[1,2,3]}]}",
            400,
            "id",
        ),
        (
            "vectors/batch",
            "{\"vectors\":[{\"vector\":[1,2]},{\"vector\":[1,2,3,4]}]}",
            400,
            "dimension",
        ),
        ("vectors/batch", &deep, 400, "bad_request"),
        ("points/get", "{\"ids\":[{}]}", 400, "id"),
        ("points/get", "{\"limit\":0}", 400, "parameter"),
        ("points/delete", "{}", 400, "parameter"),
    ];
    for (path, body, status, code) in cases {
        let answer = running.post(&format!("/v2/{path}"), body);
        let shown = &body[..body.len().min(80)];
        assert_eq!(answer.refusal(), (status, code.to_owned()), "{path} {shown}");
    }
    assert_eq!(running.post("/v2/count", "").data(200)["count"], 0);
}

#[test]
fn a_row_of_the_wrong_length_is_named_even_if_the_sum_is_right() {
    let running = Running::start();
    let body = "{\"vectors\":[{\"vector\":[1,2,3]},{\"vector\":[1,2]},{\"vector\":[1,2,3,4]}]}";
    let answer = running.post("/v2/vectors/batch", body).json();
    assert_eq!(answer["details"]["row"], 1, "{answer}");
}

#[test]
fn the_limit_of_a_body_is_exact() {
    let running = Running::with(&["--dim", "3", "--body-bytes-max", "4096"]);
    let padded = |len: usize| format!("{{{}}}", " ".repeat(len - 2));
    assert_eq!(running.post("/v2/count", &padded(4096)).status, 200);
    let answer = running.post("/v2/count", &padded(4097));
    assert_eq!(answer.refusal(), (413, "payload_too_large".to_owned()));
    let head = format!(
        "POST /v2/count HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ntransfer-encoding: chunked\r\n\r\n",
        running.admin
    );
    let mut stream = running.connect();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(format!("1001\r\n{}\r\n0\r\n\r\n", padded(4097)).as_bytes()).unwrap();
    assert_eq!(Answer::read(stream).refusal(), (413, "payload_too_large".to_owned()));
}

#[test]
fn another_content_type_is_refused() {
    let running = Running::start();
    let bearer = format!("Bearer {}", running.admin);
    let headers = [("authorization", bearer.as_str()), ("content-type", "text/csv")];
    let answer = running.send("POST", "/v2/count", &headers, b"{}");
    assert_eq!(answer.refusal(), (415, "unsupported_media_type".to_owned()));
    let answer = running.send("POST", "/v2/ingest", &headers, b"{}");
    assert_eq!(answer.refusal(), (415, "unsupported_media_type".to_owned()));
}

#[test]
fn half_sent_requests_do_not_keep_others_waiting() {
    let running = Running::start();
    let key = format!("authorization: Bearer {}\r\n", running.admin);
    let begun: Vec<_> = (0..100)
        .map(|index| {
            let mut stream = running.connect();
            let key = if index % 2 == 0 { key.as_str() } else { "" };
            let head = format!(
                "POST /v2/query HTTP/1.1\r\nhost: localhost\r\n{key}content-length: 500\r\n"
            );
            let end = if index % 4 == 0 { "\r\n{" } else { "" };
            stream.write_all(format!("{head}{end}").as_bytes()).unwrap();
            stream
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(running.post("/v2/count", "").status, 200);
    }
    drop(begun);
}

#[test]
fn a_damaged_arrow_stream_says_how_many_batches_are_in() {
    let running = Running::start();
    running.post("/v2/vectors", "{\"vector\":[1,2,3]}").data(201);
    let mut stream = running.post("/v2/export", "").body;
    let bearer = format!("Bearer {}", running.admin);
    let kind = "application/vnd.apache.arrow.stream";
    let headers = [("authorization", bearer.as_str()), ("content-type", kind)];
    // Without its end mark.
    stream.truncate(stream.len() - 8);
    let answer = running.send("POST", "/v2/ingest", &headers, &stream);
    assert_eq!(answer.refusal(), (400, "parameter".to_owned()));
    assert_eq!(answer.json()["details"]["batches_written"], 1);
    let answer = running.send("POST", "/v2/ingest", &headers, b"this is no Arrow at all");
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["details"]["batches_written"], 0);
}
