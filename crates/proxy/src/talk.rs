//! One conversation with a server outside of any pool: reach it as a pool would, log in, ask, hear, go.
//!
//! For questions of an operator, who waits for the answer: it bounds what it believes, and its caller bounds the time.

use poolwarden_switch::relay::login::{Credentials, LoginFailure};
use poolwarden_switch::relay::pgwire::{frame, make, read, tag::server as tag};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::auth::Tally;
use crate::connect::{Unlogged, log_in};
use crate::reach::{self, Unreached};
use crate::settings::HostPlan;
use crate::stream::Stream;

/// An answer longer than this is none to such a question.
const MOST_BYTES: usize = 64 << 20;

/// A server that has let us in.
#[derive(Debug)]
pub struct Talk {
    stream: Stream,
}

/// Rows as text; NULL is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The fields of each row.
    pub rows: Vec<Vec<Option<String>>>,
}

impl Rows {
    /// Where a column is.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }
}

impl Talk {
    /// Reaches a server and logs in.
    ///
    /// # Errors
    /// Why it cannot be reached, or does not let us in, in words without a secret.
    pub async fn begin(plan: &HostPlan, credentials: Credentials) -> Result<Self, String> {
        let mut last = String::new();
        for way in reach::ways(plan) {
            let mut stream = match reach::by(*way, plan).await {
                Ok(stream) => stream,
                Err(why @ Unreached::Network(_)) => return Err(format!("cannot reach {}: {why}", plan.address)),
                Err(why @ Unreached::Tls(_)) => {
                    last = format!("cannot reach {}: {why}", plan.address);
                    continue;
                }
            };
            match log_in(&Tally::default(), &mut stream, plan, (credentials.clone(), 0)).await {
                Ok(_welcome) => return Ok(Self { stream }),
                Err(Unlogged::Lost(why)) => return Err(format!("{}: {why}", plan.address)),
                Err(Unlogged::Said(why) | Unlogged::Unversed(why)) => {
                    last = format!("{}: {why}", plan.address);
                    // No line of its pg_hba.conf lets us in this way, perhaps in another. A wrong password is not said twice.
                    if !matches!(&why, LoginFailure::Server { sqlstate, .. } if sqlstate == "28000") {
                        break;
                    }
                }
            }
        }
        Err(last)
    }

    /// Asks something and hears the whole answer.
    ///
    /// # Errors
    /// What the server said, or how the connection ended; after an error of the server it may be asked again.
    pub async fn ask(&mut self, question: &str) -> Result<Rows, String> {
        let mut asked = Vec::new();
        make::query(&mut asked, question);
        self.stream.write_all(&asked).await.map_err(|why| why.to_string())?;
        let (mut received, mut buffer) = (Vec::new(), vec![0; 16 * 1024]);
        let (mut rows, mut failed, mut heard) = (Rows::default(), None, 0);
        loop {
            let count = self.stream.read(&mut buffer).await.map_err(|why| why.to_string())?;
            heard += count;
            if count == 0 {
                return Err(failed.unwrap_or_else(|| "the server closed the connection".to_owned()));
            }
            if heard > MOST_BYTES {
                return Err("an answer without end".to_owned());
            }
            received.extend_from_slice(&buffer[..count]);
            let mut at = 0;
            while let Some(header) = frame::header(&received[at..]).map_err(|why| why.to_string())? {
                let Some(body) = received.get(at + frame::HEADER..at + header.total()) else { break };
                match header.tag {
                    tag::ROW_DESCRIPTION => rows.columns = columns(body).ok_or("a description that makes no sense")?,
                    tag::DATA_ROW => rows.rows.push(fields(body).ok_or("a row that makes no sense")?),
                    tag::ERROR => failed = Some(read::report(body).message.into_owned()),
                    tag::READY => return failed.map_or(Ok(rows), Err),
                    _ => {} // a byte: notices, parameters, tags
                }
                at += header.total();
            }
            received.drain(..at);
        }
    }

    /// Says goodbye; whoever is gone already does not mind.
    pub async fn end(mut self) {
        let mut goodbye = Vec::new();
        make::terminate(&mut goodbye);
        if self.stream.write_all(&goodbye).await.is_ok() {
            self.stream.shutdown().await.unwrap_or_default();
        }
    }
}

/// The names in a RowDescription: each ends with a NUL, and 18 bytes about it follow.
fn columns(body: &[u8]) -> Option<Vec<String>> {
    let mut rest = body.get(2..)?;
    let mut names = Vec::new();
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == 0)?;
        names.push(String::from_utf8_lossy(&rest[..end]).into_owned());
        rest = rest.get(end + 1 + 18..)?;
    }
    Some(names)
}

/// The fields of a DataRow.
fn fields(body: &[u8]) -> Option<Vec<Option<String>>> {
    let mut rest = body.get(2..)?;
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let length = i32::from_be_bytes(rest.get(..4)?.try_into().ok()?);
        rest = rest.get(4..)?;
        let Ok(length) = usize::try_from(length) else {
            fields.push(None);
            continue;
        };
        fields.push(Some(String::from_utf8_lossy(rest.get(..length)?).into_owned()));
        rest = rest.get(length..)?;
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_with_their_names_and_nulls_and_broken_ones_are_none() {
        let mut description = vec![0, 2];
        for name in ["key", "value"] {
            description.extend(name.bytes().chain([0; 19]));
        }
        assert_eq!(columns(&description).unwrap(), ["key", "value"]);
        assert_eq!(columns(&description[..description.len() - 1]), None);
        let row = [0, 2, 0, 0, 0, 1, b'a', 0xff, 0xff, 0xff, 0xff];
        assert_eq!(fields(&row).unwrap(), [Some("a".to_owned()), None]);
        assert_eq!(fields(&row[..6]), None);
    }
}
