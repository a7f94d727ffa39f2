//! What good requests do, and that each answer has the shape the document says.

use serde_json::{Value, json};

use crate::running::Running;
use crate::shapes::Document;

#[test]
fn the_checked_in_document_is_the_one_that_is_served() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    let there = std::fs::read_to_string(path).unwrap();
    assert!(
        there == nearfield_server::api::document(),
        "docs/openapi.json is out of date: cargo run -- openapi > docs/openapi.json"
    );
    let running = Running::start();
    let served = running.send("GET", "/v2/openapi.json", &[], b"");
    assert_eq!(String::from_utf8(served.body).unwrap(), there);
}

#[test]
fn answers_have_the_shapes_of_the_document() {
    let running = Running::start();
    let document = Document::new();
    let rows = "{\"vectors\":[{\"id\":7,\"vector\":[1,2,3],\"metadata\":{\"n\":1}},{\"id\":\"x\",\"vector\":[3,2,1]}]}";
    let calls = [
        ("POST", "/v2/vectors", "/v2/vectors", "{\"vector\":[0,0,1]}"),
        ("POST", "/v2/vectors/batch", "/v2/vectors/batch", rows),
        ("POST", "/v2/query", "/v2/query", "{\"vector\":[1,2,3],\"include_vector\":true}"),
        ("POST", "/v2/query", "/v2/query", "{\"vectors\":[[1,2,3],[3,2,1]],\"k\":1}"),
        (
            "POST",
            "/v2/points/get",
            "/v2/points/get",
            "{\"ids\":[7,\"x\",9],\"include_vector\":true}",
        ),
        ("POST", "/v2/points/get", "/v2/points/get", "{\"limit\":1}"),
        ("GET", "/v2/points/{id}", "/v2/points/7", ""),
        ("POST", "/v2/count", "/v2/count", "{\"filter\":{\"n\":1}}"),
        ("POST", "/v2/points/delete", "/v2/points/delete", "{\"filter\":{\"n\":1}}"),
        ("DELETE", "/v2/points/{id}", "/v2/points/x", ""),
        (
            "POST",
            "/v2/collections",
            "/v2/collections",
            "{\"name\":\"c\",\"vectors\":{\"a\":{\"dim\":2},\"b\":{\"dim\":3,\"store\":\"f16\"}}}",
        ),
        ("GET", "/v2/collections", "/v2/collections", ""),
        ("GET", "/v2/collections/{name}", "/v2/collections/default", ""),
        ("DELETE", "/v2/collections/{name}", "/v2/collections/c", ""),
        ("POST", "/v2/admin/checkpoint", "/v2/admin/checkpoint", ""),
        ("POST", "/v2/admin/compact", "/v2/admin/compact", "{\"collection\":\"default\"}"),
        ("POST", "/v2/admin/snapshot", "/v2/admin/snapshot", ""),
        ("POST", "/v2/admin/verify", "/v2/admin/verify", ""),
        ("GET", "/v2/admin/stats", "/v2/admin/stats", ""),
        ("GET", "/v2/admin/jobs", "/v2/admin/jobs", ""),
        ("GET", "/v2/health/live", "/v2/health/live", ""),
        ("GET", "/v2/health/ready", "/v2/health/ready", ""),
    ];
    for (method, template, path, body) in calls {
        let answer = running.ask(&running.admin, method, path, body);
        document.check(method, template, answer.status, &answer.json());
    }
    let job = running.post("/v2/admin/verify", "").data(200)["job_id"].as_str().unwrap().to_owned();
    for method in ["GET", "DELETE"] {
        let answer = running.ask(&running.admin, method, &format!("/v2/admin/jobs/{job}"), "");
        document.check(method, "/v2/admin/jobs/{id}", answer.status, &answer.json());
    }
    let refused = running.get("/v2/points/1000");
    document.check("GET", "/v2/points/{id}", refused.status, &refused.json());
}

#[test]
fn metadata_and_bits_come_back_as_they_were_given() {
    let running = Running::start();
    let metadata = "{\"n\": 1.10, \"big\": 10000000000000000000001, \"t\": \"ä\\n\"}";
    let body = format!("{{\"id\":1,\"vector\":[0.1,16777217,1e-40],\"metadata\":{metadata}}}");
    running.post("/v2/vectors", &body).data(201);
    let text = String::from_utf8(running.get("/v2/points/1").body).unwrap();
    assert!(text.contains(metadata), "{text}");
    let point: Value = serde_json::from_str(&text).unwrap();
    let vector: Vec<f32> = serde_json::from_value(point["data"]["vector"].clone()).unwrap();
    assert_eq!(vector.map_bits(), [0.1f32, 16_777_216.0, 1e-40].map(f32::to_bits));
}

trait MapBits {
    fn map_bits(&self) -> Vec<u32>;
}

impl MapBits for Vec<f32> {
    fn map_bits(&self) -> Vec<u32> {
        self.iter().map(|element| element.to_bits()).collect()
    }
}

#[test]
fn a_repeated_key_is_answered_and_not_written_again() {
    let running = Running::start();
    let one = "{\"vector\":[1,2,3],\"idempotency_key\":\"k\"}";
    let first = running.post("/v2/vectors", one).data(201);
    assert_eq!(first["created"], true);
    let again = running.post("/v2/vectors", one).data(201);
    assert_eq!(again, json!({ "id": first["id"], "created": false }));
    let batch =
        "{\"vectors\":[{\"vector\":[1,2,3]},{\"vector\":[1,2,4]}],\"idempotency_key\":\"b\"}";
    let first = running.post("/v2/vectors/batch", batch).data(201);
    let again = running.post("/v2/vectors/batch", batch).data(201);
    assert_eq!(again["results"][1]["id"], first["results"][1]["id"]);
    assert_eq!(again["results"][1]["created"], false);
    assert_eq!(again["lsn"], first["lsn"]);
    assert_eq!(running.post("/v2/count", "").data(200)["count"], 3);
}

#[test]
fn a_write_that_does_not_wait_is_accepted_and_comes() {
    let running = Running::start();
    let body = "{\"vectors\":[{\"vector\":[1,2,3]},{\"vector\":[1,2,4]}]}";
    assert_eq!(
        running.post("/v2/vectors/batch?wait=false", body).data(202),
        json!({ "accepted": 2 })
    );
    // One that waits comes behind those that do not.
    running.post("/v2/vectors", "{\"vector\":[1,2,5],\"wait\":true}").data(201);
    assert_eq!(running.post("/v2/count", "").data(200)["count"], 3);
    let refusal = running.post("/v2/vectors?wait=maybe", "{\"vector\":[1,2,3]}").refusal();
    assert_eq!(refusal, (400, "parameter".to_owned()));
}

#[test]
fn a_verification_of_one_collection_reads_that_one() {
    let running = Running::start();
    running.post("/v2/collections", "{\"name\":\"other\",\"dim\":3}").data(201);
    let verified = |body: &str| {
        let job = running.post("/v2/admin/verify", body).data(200);
        (job["collection"].clone(), job["details"]["collections"].clone())
    };
    assert_eq!(verified("{}"), (json!(null), json!(2)));
    assert_eq!(verified("{\"collection\":\"other\"}"), (json!("other"), json!(1)));
    let unknown = running.post("/v2/admin/verify", "{\"collection\":\"nowhere\"}");
    assert_eq!(unknown.refusal(), (404, "not_found".to_owned()));
}

#[test]
fn a_job_that_has_ended_stays_as_it_is_when_it_is_told_to_stop() {
    let running = Running::start();
    let job = running.post("/v2/admin/snapshot", "").data(200);
    let path = format!("/v2/admin/jobs/{}", job["job_id"].as_str().unwrap());
    assert_eq!(running.ask(&running.admin, "DELETE", &path, "").data(200), job);
    let unknown = running.ask(&running.admin, "DELETE", "/v2/admin/jobs/job_0", "");
    assert_eq!(unknown.refusal(), (404, "not_found".to_owned()));
}

#[test]
fn a_filter_may_name_what_only_the_other_tier_has() {
    let running = Running::start();
    running.post("/v2/vectors", r#"{"id":1,"vector":[1,2,3],"metadata":{"n":1}}"#).data(201);
    for (tier, count) in [("all", 1), ("active", 1), ("archive", 0)] {
        let ask = format!(r#"{{"vector":[1,2,3],"filter":{{"n":1}},"search_tier":"{tier}"}}"#);
        let answer = running.post("/v2/query", &ask).data(200);
        assert_eq!(answer["results"].as_array().unwrap().len(), count, "{tier}");
    }
}

#[test]
fn an_answer_larger_than_the_memory_budget_is_refused() {
    // A point looked up 10,000 times: a short request whose answer would be 10 GB.
    let running = Running::with(&["--dim", "3", "--memory-budget-bytes", "67108864"]);
    let text = "x".repeat(1_000_000);
    let row = format!(r#"{{"id":1,"vector":[1,2,3],"metadata":{{"text":"{text}"}}}}"#);
    running.post("/v2/vectors", &row).data(201);
    let same = |value: &str, count: usize| vec![value; count].join(",");
    let get = |count| format!(r#"{{"ids":[{}]}}"#, same("1", count));
    running.post("/v2/points/get", &get(2)).data(200);
    let refused = (429, "resource_exhausted".to_owned());
    assert_eq!(running.post("/v2/points/get", &get(10_000)).refusal(), refused);
    let query = format!(r#"{{"vectors":[{}]}}"#, same("[1,2,3]", 10_000));
    assert_eq!(running.post("/v2/query", &query).refusal(), refused);
    running.post("/v2/points/get", &get(2)).data(200);
}

#[test]
fn dates_of_declared_fields_are_moments() {
    let running = Running::start();
    let create = r#"{"name":"news","dim":1,"fields":{"at":"datetime","deep.at":"datetime"}}"#;
    let info = running.post("/v2/collections", create).data(201);
    assert_eq!(info["fields"], json!({"at": "datetime", "deep.at": "datetime"}));
    let rows = r#"{"vectors":[
        {"id":-1,"vector":[1],"metadata":{"at":"2020-01-01T00:00:00+09:00"}},
        {"id":-2,"vector":[1],"metadata":{"at":"2019-12-31T20:00:00Z"}}]}"#;
    let path = |name: &str| format!("/v2/collections/news/{name}");
    running.post(&path("vectors/batch"), rows).data(201);
    let before = r#"{"filter":{"at":{"lt":"2019-12-31T18:00:00Z"}}}"#;
    assert_eq!(running.post(&path("count"), before).data(200)["count"], 1);
    let point = running.get(&path("points/-1")).data(200);
    assert_eq!(point["metadata"]["at"], "2020-01-01T00:00:00+09:00");
    let refusal = |name: &str, body: &str| running.post(&path(name), body).refusal();
    assert_eq!(refusal("count", r#"{"filter":{"at":7}}"#), (400, "filter".to_owned()));
    let number = r#"{"vector":[1],"metadata":{"at":7}}"#;
    assert_eq!(refusal("vectors", number), (400, "metadata".to_owned()));
    for (fields, code) in [
        (r#"{"at":"date"}"#, "parameter"),
        (r#"{"tags":"datetime"}"#, "parameter"),
        (r#"{"a":"datetime","a":"datetime"}"#, "bad_request"),
    ] {
        let body = format!(r#"{{"name":"x","dim":1,"fields":{fields}}}"#);
        let refused = running.post("/v2/collections", &body).refusal();
        assert_eq!(refused, (400, code.to_owned()), "{fields}");
    }
}

#[test]
fn pages_follow_each_other_in_order_of_ids() {
    let running = Running::start();
    let row_of = |id: &str| format!("{{\"id\":{id},\"vector\":[1,2,3]}}");
    let row = |id: i64| row_of(&id.to_string());
    let rows: Vec<String> =
        (0..25).rev().map(row).chain([row(-1), row(i64::MIN), row_of("\"a\"")]).collect();
    let body = format!("{{\"vectors\":[{}]}}", rows.join(","));
    running.post("/v2/vectors/batch", &body).data(201);
    let (mut ids, mut after) = (Vec::new(), Value::Null);
    loop {
        let body = json!({ "limit": 10, "after": after }).to_string();
        let page = running.post("/v2/points/get", &body).data(200);
        ids.extend(page["points"].as_array().unwrap().iter().map(|point| point["id"].clone()));
        match page.get("next") {
            Some(next) => after = next.clone(),
            None => break,
        }
    }
    let mut expected: Vec<Value> = [i64::MIN, -1].map(Value::from).to_vec();
    expected.extend((0..25).map(Value::from));
    expected.push("a".into());
    assert_eq!(ids, expected);
}

#[test]
fn an_export_taken_in_again_is_the_same() {
    let running = Running::start();
    let body = "{\"vectors\":[{\"id\":7,\"vector\":[1,2,3],\"metadata\":{\"n\":1}},{\"id\":\"x\",\"vector\":[3,2,1]}]}";
    running.post("/v2/vectors/batch", body).data(201);
    let exported = running.post("/v2/export", "");
    assert_eq!(exported.status, 200);
    running.post("/v2/collections", "{\"name\":\"copy\",\"dim\":3,\"metric\":\"dot\"}").data(201);
    let bearer = format!("Bearer {}", running.admin);
    let kind = "application/vnd.apache.arrow.stream";
    let headers = [("authorization", bearer.as_str()), ("content-type", kind)];
    let ingested = running.send("POST", "/v2/collections/copy/ingest", &headers, &exported.body);
    let ingested = ingested.data(201);
    assert_eq!((&ingested["rows"], &ingested["inserted"]), (&json!(2), &json!(2)), "{ingested}");
    let metrics = String::from_utf8(running.get("/v2/metrics").body).unwrap();
    assert!(metrics.contains("\nnearfield_arrow_ingest_rows_total 2\n"), "{metrics}");
    let ask = "{\"vector\":[1,2,3],\"include_vector\":true}";
    let there = running.post("/v2/query", ask).data(200)["results"].take();
    let here = running.post("/v2/collections/copy/query", ask).data(200)["results"].take();
    assert_eq!(here, there);
}

#[test]
fn without_a_default_collection_its_paths_say_so() {
    let running = Running::with(&[]);
    let refusal = running.post("/v2/query", "{\"vector\":[1]}").refusal();
    assert_eq!(refusal, (404, "no_default_collection".to_owned()));
    running.post("/v2/collections", "{\"name\":\"other\",\"dim\":1}").data(201);
    assert_eq!(running.post("/v2/collections/other/count", "").status, 200);
    assert_eq!(running.post("/v2/count", "").refusal().1, "no_default_collection");
    running.post("/v2/collections", "{\"name\":\"default\",\"dim\":1}").data(201);
    assert_eq!(running.post("/v2/count", "").status, 200);
}

#[test]
fn while_the_store_recovers_the_server_is_alive_and_not_ready() {
    let mut running = Running::recovering(&["--dim", "3"]);
    assert_eq!(running.send("GET", "/v2/health/live", &[], b"").status, 200);
    let ready = running.send("GET", "/v2/health/ready", &[], b"");
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["data"]["status"], "degraded");
    assert_eq!(running.post("/v2/count", "").refusal(), (503, "not_ready".to_owned()));
    assert_eq!(running.send("POST", "/v2/count", &[], b"").status, 401, "keys come first");
    running.open();
    assert_eq!(running.send("GET", "/v2/health/ready", &[], b"").status, 200);
    assert_eq!(running.post("/v2/count", "").status, 200);
}

#[test]
fn the_page_runs_nothing_but_itself() {
    let running = Running::start();
    let page = running.send("GET", "/ui", &[], b"");
    assert!(page.head.contains("default-src 'none'"), "{}", page.head);
    assert!(page.head.contains("script-src 'sha256-") && !page.head.contains("unsafe"));
    assert!(!String::from_utf8(page.body).unwrap().contains("https://"));
    assert!(running.dir.path().exists());
}
