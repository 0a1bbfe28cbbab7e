//! What an operator does over HTTP with the operate token, and what a bundle holds.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::child;
use crate::place::Place;
use crate::pooler::Pooler;

/// The longest answer is a bundle's.
const PATIENCE: Duration = Duration::from_secs(40);

/// The operate token.
#[must_use]
#[track_caller]
pub fn token(pooler: &Pooler) -> String {
    let path = pooler.data().join("token");
    let token = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("read {}: {e}", path.display()));
    token.trim().to_string()
}

/// `POST path` with the token: status and body.
#[must_use]
#[track_caller]
pub fn post(pooler: &Pooler, path: &str, body: &Value) -> (u16, Vec<u8>) {
    try_post(pooler.http(), &token(pooler), path, body).unwrap_or_else(|e| panic!("ask {path}: {e}"))
}

/// The same, where it may fail: the process may end meanwhile.
///
/// # Errors
/// What went wrong with the connection or the answer.
pub fn try_post(address: SocketAddr, token: &str, path: &str, body: &Value) -> io::Result<(u16, Vec<u8>)> {
    let body = body.to_string();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // HTTP/1.0: the answer ends with the connection, and never comes in chunks.
    let head = format!(
        "POST {path} HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.ok_or_else(|| io::Error::other(format!("not HTTP: {}", String::from_utf8_lossy(&answer))))?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no status in {head}")))?;
    Ok((status, answer.split_off(end + 4)))
}

/// The same, where the answer is JSON.
///
/// # Errors
/// As [`try_post`].
pub fn try_order(address: SocketAddr, token: &str, verb: &str, body: &Value) -> io::Result<(u16, Value)> {
    let (status, answer) = try_post(address, token, &format!("/api/v1/{verb}"), body)?;
    Ok((status, serde_json::from_slice(&answer)?))
}

/// The same, where the answer is JSON.
#[must_use]
#[track_caller]
pub fn order(pooler: &Pooler, verb: &str, body: &Value) -> (u16, Value) {
    let (status, answer) = post(pooler, &format!("/api/v1/{verb}"), body);
    let text = String::from_utf8_lossy(&answer);
    (status, serde_json::from_str(&text).unwrap_or_else(|e| panic!("{verb}: {e}: {text}")))
}

/// Everybody who holds a server connection.
#[must_use]
#[track_caller]
pub fn holders(pooler: &Pooler) -> Vec<Value> {
    let text = pooler.get("/api/v1/holders");
    let told: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("holders: {e}: {text}"));
    told["holders"].as_array().cloned().unwrap_or_else(|| panic!("no holders in {text}"))
}

/// The files of a bundle by their path below its folder, unpacked by the system's own `tar`.
#[must_use]
#[track_caller]
pub fn bundle(pooler: &Pooler) -> BTreeMap<String, String> {
    let (status, archive) = post(pooler, "/api/v1/bundle", &Value::Object(serde_json::Map::new()));
    assert!(status == 200, "bundle answered {status}: {}", String::from_utf8_lossy(&archive));
    let place = Place::new("bundle");
    let packed = place.path().join("bundle.tar.gz");
    std::fs::write(&packed, archive).unwrap_or_else(|e| panic!("write {}: {e}", packed.display()));
    child::run(Command::new("tar").arg("-xzf").arg(&packed).arg("-C").arg(place.path()).arg("--strip-components=1"));
    let mut files = BTreeMap::new();
    let mut folders = vec![place.path().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())).flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path != packed {
                let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                let name = path.strip_prefix(place.path()).unwrap_or(&path).display().to_string();
                files.insert(name, text);
            }
        }
    }
    files
}
