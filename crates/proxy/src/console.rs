//! A session on the SQL console: outside the loops and the pools, so that it answers while everything is exhausted.

use std::sync::Arc;

use poolwarden_switch::relay::console::{ConsoleSession, ConsoleStep};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::inner::Inner;
use crate::link::Place;
use crate::operator::{Reply, Who};
use crate::random;
use crate::stream::Stream;

/// What clients are told the console is; drivers want it to begin like a PostgreSQL version.
const VERSION: &str = concat!("15.0 (poolwarden ", env!("CARGO_PKG_VERSION"), ")");

/// Serves until one side ends it; then the place is free.
pub(crate) async fn serve(inner: Arc<Inner>, (mut stream, _place): (Stream, Place), leftover: Vec<u8>, who: Who) {
    let mut session = ConsoleSession::new();
    let hello = session.welcome(VERSION, 0, &random::bytes::<4>());
    if stream.write_all(&hello).await.is_err() {
        return;
    }
    let mut closing = inner.closing.subscribe();
    let mut input = leftover;
    let mut buffer = vec![0; 4096];
    loop {
        if !work_off(&inner, &mut session, &mut stream, &input, &who).await {
            return;
        }
        let count = tokio::select! {
            read = stream.read(&mut buffer) => read,
            _ = closing.wait_for(|closing| *closing) => return,
        };
        match count {
            Ok(count @ 1..) => input = buffer[..count].to_vec(),
            Ok(_) | Err(_) => return,
        }
    }
}

/// Handles `input` and everything that follows from it; false when the session is over.
async fn work_off(inner: &Inner, session: &mut ConsoleSession, stream: &mut Stream, input: &[u8], who: &Who) -> bool {
    let mut input = input;
    loop {
        let steps = match session.handle(input) {
            Ok(steps) => steps,
            Err(fault) => {
                let _ = stream.write_all(&fault.farewell()).await; // it is over either way
                return false;
            }
        };
        input = &[];
        let mut asked = false;
        for step in steps {
            let bytes = match step {
                ConsoleStep::Query(sql) => {
                    asked = true;
                    encode(session, inner.operator.ask(sql, who.clone()).await)
                }
                ConsoleStep::Describe(sql) => {
                    asked = true;
                    session.described(inner.operator.columns(&sql, who).as_deref())
                }
                ConsoleStep::Send(bytes) => bytes,
                ConsoleStep::Close => return false,
            };
            if stream.write_all(&bytes).await.is_err() {
                return false;
            }
        }
        if !asked {
            return true;
        }
    }
}

fn encode(session: &mut ConsoleSession, reply: Reply) -> Vec<u8> {
    match reply {
        Reply::Rows { columns, rows, tag } => session.rows(&columns, rows, &tag),
        Reply::Done { tag, notices } => session.done(&tag, &notices),
        Reply::Error { sqlstate, message, hint } => session.error(&sqlstate, &message, hint.as_deref()),
    }
}
