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
    hold: (HoldKind, Duration, Speed),
) -> u32 {
    let query = query(hold);
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

/// How fast the server counts: work is so many steps of it, so that it takes longer where others want the processor too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Speed {
    pub(super) steps_per_second: f64,
}

/// Statements that only count, for [`Speed`]: some steps, and none.
pub(super) const COUNTED: u32 = 2_000_000;

pub(super) fn count(steps: u64) -> String {
    format!("do $$ begin for i in 1..{steps} loop end loop; end $$")
}

fn query((kind, hold, speed): (HoldKind, Duration, Speed)) -> String {
    let seconds = hold.as_secs_f64();
    match kind {
        HoldKind::Sleep => format!("select pg_sleep({seconds:.6})"),
        HoldKind::Lock => format!("select pg_sleep({seconds:.6}) from pg_advisory_xact_lock({LOCK})"),
        HoldKind::Cpu => count((seconds * speed.steps_per_second) as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_written_to_the_microsecond() {
        let hold = Duration::from_micros(20_003);
        let query = |kind| query((kind, hold, Speed { steps_per_second: 1e6 }));
        assert_eq!(query(HoldKind::Sleep), "select pg_sleep(0.020003)");
        assert!(query(HoldKind::Cpu).contains("1..20003 loop"));
        assert!(query(HoldKind::Lock).contains("pg_sleep(0.020003) from pg_advisory_xact_lock"));
    }
}
