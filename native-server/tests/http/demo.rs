//! The demo page's files: types, byte ranges, and that nothing outside its directory is ever served.

use std::fs;

use nearfield_server::config::ServerConfig;

use crate::running::Running;

/// A server with a page of a few files, beside which lies a secret.
fn serving() -> (tempfile::TempDir, Running) {
    let dir = tempfile::TempDir::new().unwrap();
    let page = dir.path().join("page");
    fs::create_dir_all(page.join("nearfield")).unwrap();
    fs::write(dir.path().join("secret.txt"), "secret").unwrap();
    fs::write(page.join("index.html"), "<!doctype html>").unwrap();
    fs::write(page.join("sample.near"), (0..=255).collect::<Vec<u8>>()).unwrap();
    fs::write(page.join(".hidden"), "secret").unwrap();
    fs::write(page.join("nearfield/index.js"), "export {}").unwrap();
    fs::write(page.join("nearfield/engine.wasm"), "\0asm").unwrap();
    let running = Running::with(&["--dim", "3", "--demo-dir", page.to_str().unwrap()]);
    (dir, running)
}

#[test]
fn the_page_and_its_package_come_with_their_types() {
    let (_dir, running) = serving();
    let door = running.send("GET", "/demo", &[], b"");
    assert_eq!(door.status, 308);
    assert!(door.head.contains("location: /demo/\r\n"), "{}", door.head);
    for (path, kind) in [
        ("/demo/", "text/html; charset=utf-8"),
        ("/demo/index.html", "text/html; charset=utf-8"),
        ("/demo/nearfield/index.js", "text/javascript; charset=utf-8"),
        ("/demo/nearfield/engine.wasm", "application/wasm"),
        ("/demo/sample.near", "application/octet-stream"),
    ] {
        let answer = running.send("GET", path, &[], b"");
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.head.contains(&format!("content-type: {kind}\r\n")), "{}", answer.head);
        assert!(answer.head.contains("x-content-type-options: nosniff"), "{}", answer.head);
        assert!(answer.head.contains("frame-ancestors 'none'"), "{}", answer.head);
    }
}

#[test]
fn byte_ranges_of_the_sample_are_answered() {
    let (_dir, running) = serving();
    let part = |range| running.send("GET", "/demo/sample.near", &[("range", range)], b"");
    let answer = part("bytes=10-19");
    assert_eq!((answer.status, answer.body), (206, (10..20).collect::<Vec<u8>>()));
    assert!(answer.head.contains("content-range: bytes 10-19/256"), "{}", answer.head);
    let answer = part("bytes=0-65535");
    assert_eq!((answer.status, answer.body.len()), (206, 256));
    let answer = part("bytes=256-300");
    assert_eq!((answer.status, answer.body.len()), (416, 0));
    assert!(answer.head.contains("content-range: bytes */256"), "{}", answer.head);
}

#[test]
fn nothing_but_the_files_of_the_page_is_served() {
    let (dir, running) = serving();
    let absolute = format!("/demo/{}", dir.path().join("secret.txt").display());
    for path in [
        "/demo/../secret.txt",
        "/demo/nearfield/../../secret.txt",
        "/demo/%2e%2e/secret.txt",
        "/demo/..%2fsecret.txt",
        "/demo/nearfield/..%2f..%2fsecret.txt",
        "/demo/..\\secret.txt",
        "/demo/.hidden",
        "/demo/nearfield/",
        "/demo//index.html",
        &absolute,
    ] {
        let answer = running.send("GET", path, &[], b"");
        assert!([401, 404].contains(&answer.status), "{path}: {}", answer.status);
        assert_ne!(answer.body, b"secret", "{path}");
    }
}

#[test]
fn a_directory_without_the_page_is_refused_at_the_start() {
    let dir = tempfile::TempDir::new().unwrap();
    let refused = |dir: &str| {
        let flags = ["serve", "--data-dir", "unused", "--demo-dir", dir];
        let config: ServerConfig = crate::running::config(&flags);
        Running::refused(config)
    };
    let empty = refused(dir.path().to_str().unwrap());
    assert!(empty.contains("index.html") && empty.contains("--demo-dir"), "{empty}");
    let missing = refused(dir.path().join("nowhere").to_str().unwrap());
    assert!(missing.contains("nowhere"), "{missing}");
}
