//! What a connected client that says nothing costs the pooler, in bytes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::server::{DATABASE, Server, USER};

/// Connected first and not counted: what a pooler allocates once.
const FIRST: usize = 200;
const COUNTED: usize = 2_000;
/// Protocol 3.0.
const VERSION: u32 = 196_608;
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// Bytes of the pooler's memory for each of two thousand idle clients that logged in.
pub(crate) fn bytes_per_client(server: &Server) -> Result<f64> {
    let mut clients = connect(server, FIRST)?;
    let before = server.memory()?;
    clients.extend(connect(server, COUNTED)?);
    let after = server.memory()?;
    Ok(after.saturating_sub(before) as f64 / COUNTED as f64)
}

fn connect(server: &Server, count: usize) -> Result<Vec<TcpStream>> {
    (0..count).map(|n| log_in(server.port).with_context(|| format!("idle client {n} of {}", server.name))).collect()
}

/// A log-in without a password, up to ReadyForQuery.
fn log_in(port: u16) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    let body = format!("user\0{USER}\0database\0{DATABASE}\0\0");
    let mut message = u32::try_from(body.len() + 8)?.to_be_bytes().to_vec();
    message.extend(VERSION.to_be_bytes());
    message.extend(body.as_bytes());
    stream.write_all(&message)?;
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let mut body = vec![0; length.checked_sub(4).context("a length below four")?];
        stream.read_exact(&mut body)?;
        match head[0] {
            b'Z' => return Ok(stream),
            b'E' => bail!("refused: {}", String::from_utf8_lossy(&body).replace('\0', " ")),
            _ => {}
        }
    }
}
