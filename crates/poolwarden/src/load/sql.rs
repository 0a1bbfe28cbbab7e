//! What a load asks, in SQL.

use std::time::Duration;

use poolwarden_relay::pgwire::make;
use poolwarden_sim::scenario::{HoldKind, Protocol};

/// The key of the advisory lock that holds of kind `lock` want.
const LOCK: i64 = 0x706f_6f6c;

/// Appends one request; answers how many ReadyForQuery end it.
pub(super) fn request(
    out: &mut Vec<u8>,
    protocol: Protocol,
    table: &str,
    number: u64,
    hold: (HoldKind, Duration),
) -> u32 {
    let query = query(hold.0, hold.1);
    match protocol {
        Protocol::Simple => {
            make::query(out, query);
            1
        }
        Protocol::Pipelined => {
            make::query(out, "begin");
            make::query(out, format!("insert into {table} values ({number})"));
            make::query(out, query);
            make::query(out, "commit");
            4
        }
    }
}

fn query(kind: HoldKind, hold: Duration) -> String {
    let seconds = hold.as_secs_f64();
    match kind {
        HoldKind::Sleep => format!("select pg_sleep({seconds:.6})"),
        HoldKind::Lock => format!("select pg_sleep({seconds:.6}) from pg_advisory_xact_lock({LOCK})"),
        HoldKind::Cpu => format!(
            "do $$ declare until timestamptz := clock_timestamp() + interval '{seconds:.6} seconds'; \
             begin while clock_timestamp() < until loop end loop; end $$"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_written_to_the_microsecond() {
        let hold = Duration::from_micros(20_003);
        assert_eq!(query(HoldKind::Sleep, hold), "select pg_sleep(0.020003)");
        assert!(query(HoldKind::Cpu, hold).contains("interval '0.020003 seconds'"));
        assert!(query(HoldKind::Lock, hold).contains("pg_sleep(0.020003) from pg_advisory_xact_lock"));
    }
}
