//! PgBouncer's line of averages in the log, which its monitoring reads.

use poolwarden_watch::{Traffic, View};

/// The averages of the last whole period; `None` before there was one.
pub(super) fn line(view: &View) -> Option<String> {
    if view.recent_us == 0 {
        return None;
    }
    let recent = view.traffic.iter().fold(Traffic::default(), |sum, pool| sum.plus(&pool.recent));
    let of = recent.average(view.recent_us);
    Some(format!(
        "stats: {} xacts/s, {} queries/s, {} client parses/s, {} server parses/s, {} binds/s, in {} B/s, out {} B/s, \
         xact {} us, query {} us, wait {} us",
        of.xact_count,
        of.query_count,
        of.client_parse_count,
        of.server_parse_count,
        of.bind_count,
        of.bytes_received,
        of.bytes_sent,
        of.xact_time_us,
        of.query_time_us,
        of.wait_time_us,
    ))
}

#[cfg(test)]
mod tests {
    use poolwarden_pool::{HostId, PoolId, PoolKey};
    use poolwarden_watch::PoolTraffic;

    use super::*;

    #[test]
    fn the_line_is_pgbouncers_over_all_pools() {
        let recent = Traffic {
            xact_count: 120,
            query_count: 240,
            bytes_received: 6_000,
            bytes_sent: 60_000,
            xact_time_us: 120_000,
            query_time_us: 48_000,
            wait_time_us: 12_000,
            server_assignment_count: 120,
            ..Traffic::default()
        };
        let traffic = |user: &str| PoolTraffic {
            host: HostId(0),
            pool: PoolId(0),
            key: PoolKey { database: "app".to_owned(), user: user.to_owned() },
            server_database: "app".to_owned(),
            totals: Traffic::default(),
            recent,
            query: [0; 16],
            idle_in_transaction: [0; 16],
        };
        let mut view = View { traffic: vec![traffic("a"), traffic("b")], ..View::default() };
        assert_eq!(line(&view), None);
        view.recent_us = 60_000_000;
        assert_eq!(
            line(&view).unwrap(),
            "stats: 4 xacts/s, 8 queries/s, 0 client parses/s, 0 server parses/s, 0 binds/s, in 200 B/s, \
             out 2000 B/s, xact 1000 us, query 200 us, wait 100 us"
        );
    }
}
