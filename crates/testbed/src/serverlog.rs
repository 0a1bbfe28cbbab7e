//! What PostgreSQL's log tells of connections: when each was received and when it was through.
//!
//! Reads lines of the prefix `%m [%p] ` in UTC; only TCP connections count, since the testbed's
//! own questions come over the unix socket.

use std::collections::BTreeMap;

/// One TCP connection's way through the log, in milliseconds of the day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// When the postmaster had it.
    pub received_ms: u64,
    /// When it was authorised, refused or closed; `None` while it was neither.
    pub settled_ms: Option<u64>,
    /// The user it was authorised as.
    pub user: Option<String>,
}

/// All TCP connections of a log, in order.
#[must_use]
pub fn connects(log: &str) -> Vec<Connect> {
    let mut all: Vec<Connect> = Vec::new();
    let mut open: BTreeMap<&str, usize> = BTreeMap::new();
    for line in log.lines() {
        let Some((at_ms, pid, text)) = split(line) else { continue };
        if text.contains("connection received: host=") && !text.contains("host=[local]") {
            open.insert(pid, all.len());
            all.push(Connect { received_ms: at_ms, settled_ms: None, user: None });
            continue;
        }
        let authorized = text.split_once("connection authorized: user=");
        if authorized.is_none() && !text.contains("FATAL:") && !text.contains("disconnection:") {
            continue;
        }
        let Some(connect) = open.remove(pid).and_then(|index| all.get_mut(index)) else { continue };
        connect.settled_ms = Some(at_ms);
        connect.user = authorized.and_then(|(_, rest)| rest.split(' ').next()).map(str::to_string);
    }
    all
}

/// The most connections that were received and not yet settled at one time.
///
/// One that was never settled (its backend was killed) counts for its first moment only.
#[must_use]
pub fn most_at_once(connects: &[Connect]) -> usize {
    let mut edges: Vec<(u64, i32)> = Vec::new();
    for connect in connects {
        edges.push((connect.received_ms, 1));
        edges.push((connect.settled_ms.unwrap_or(connect.received_ms), -1));
    }
    // Within one millisecond ends come first: the log cannot tell them apart.
    edges.sort_unstable();
    let (mut now, mut most) = (0, 0);
    for (_, step) in edges {
        now += step;
        most = most.max(now);
    }
    usize::try_from(most).unwrap_or(0)
}

/// The most connections received within any span of `span_ms`.
#[must_use]
pub fn most_within(connects: &[Connect], span_ms: u64) -> usize {
    let times: Vec<u64> = connects.iter().map(|connect| connect.received_ms).collect();
    let mut first = 0;
    let mut most = 0;
    for (index, time) in times.iter().enumerate() {
        while time.saturating_sub(times[first]) >= span_ms {
            first += 1;
        }
        most = most.max(index + 1 - first);
    }
    most
}

/// `2026-11-22 10:00:00.123 UTC [4711] rest` as milliseconds of the day, pid and rest.
fn split(line: &str) -> Option<(u64, &str, &str)> {
    let mut parts = line.splitn(5, ' ');
    let (_date, time, _zone) = (parts.next()?, parts.next()?, parts.next()?);
    let pid = parts.next()?.strip_prefix('[')?.strip_suffix(']')?;
    let (clock, millis) = time.split_once('.')?;
    let mut fields = clock.split(':').map(str::parse::<u64>);
    let (hours, minutes, seconds) = (fields.next()?.ok()?, fields.next()?.ok()?, fields.next()?.ok()?);
    let at_ms = ((hours * 60 + minutes) * 60 + seconds) * 1000 + millis.parse::<u64>().ok()?;
    Some((at_ms, pid, parts.next()?))
}

#[cfg(test)]
mod tests {
    use super::{connects, most_at_once, most_within};

    const LOG: &str = "\
2026-11-22 10:00:00.100 UTC [1] LOG:  connection received: host=127.0.0.1 port=4000
2026-11-22 10:00:00.150 UTC [2] LOG:  connection received: host=127.0.0.1 port=4001
2026-11-22 10:00:00.160 UTC [3] LOG:  connection received: host=[local]
2026-11-22 10:00:00.170 UTC [1] app@app LOG:  connection authorized: user=app database=app
2026-11-22 10:00:00.180 UTC [2] app@app FATAL:  the database system is starting up
	a continuation line
2026-11-22 10:00:01.140 UTC [1] LOG:  connection received: host=127.0.0.1 port=4002
2026-11-22 10:00:01.160 UTC [1] app@app LOG:  disconnection: session time: 0:00:00.001
";

    #[test]
    fn connections_are_paired_with_what_became_of_them() {
        let found = connects(LOG);
        let told: Vec<_> = found.iter().map(|c| (c.received_ms % 10_000, c.settled_ms, c.user.as_deref())).collect();
        assert_eq!(told[0], (100, Some(36_000_170), Some("app")));
        assert_eq!(told[1], (150, Some(36_000_180), None));
        assert_eq!(told[2], (1_140, Some(36_001_160), None));
        assert_eq!(found.len(), 3, "the unix socket's connection does not count");
    }

    #[test]
    fn overlaps_and_bursts_are_counted() {
        let found = connects(LOG);
        assert_eq!(most_at_once(&found), 2);
        assert_eq!(most_within(&found, 1_000), 2);
        assert_eq!(most_within(&found, 1_041), 3);
        assert_eq!(most_within(&found, 10), 1);
    }
}
