//! OS-01: fewer file descriptors than connections.

use crate::finding::Severity;
use crate::review::chain::{Bound, Kind, Pooler};
use crate::review::dossier::Dossier;
use crate::review::need::{POOLER, PROCESS};
use crate::review::rule::{Out, Rule};
use crate::review::sums::plus;
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "OS-01",
    severity: Severity::Error,
    title: "fewer file descriptors than connections",
    condition: "RLIMIT_NOFILE < mcc + all server connections of an instance + 10",
    why: "Each client and each server connection takes a descriptor. A PgBouncer that has none left stops accepting, and its clients \
          hang at the connect; at its start it logs the sum as information, without reserves and unnamed databases. poolwarden \
          refuses the client and names the limit, but it refuses it.",
    fix: "raise LimitNOFILE of the service, or lower the number of clients",
    needs: &[POOLER, PROCESS],
    check,
};

/// Descriptors that are no connection: listening sockets, log, resolver, epoll.
const OTHERS: u64 = 10;

fn check(of: &Dossier, out: &mut Out<'_>) {
    let Some(limit) = of.fact("process.fd_limit") else {
        out.lacks(PROCESS, "file descriptors");
        return;
    };
    // of several poolers nobody says whose process was asked
    let [pooler] = of.poolers.as_slice() else { return };
    let servers = (0..of.postgres.len()).filter(|server| pooler.uses(*server));
    let servers = servers.fold(Bound::Of(0), |sum, server| plus(sum, pooler.instance_backends(server)));
    let (Bound::Of(clients), Bound::Of(servers)) = (pooler.max_clients.value, servers) else { return };
    let needed = needed(clients, servers);
    if limit.value < 0.0 || limit.value as u64 >= needed {
        return;
    }
    let key = words::clients_key(pooler.kind);
    out.find(
        format!("{} file descriptors for {clients} clients and {servers} servers: {needed} are needed", limit.value),
        &limit.place,
        "of the process",
    )
    .and(&pooler.max_clients, format!("{clients} clients"))
    .because(because(pooler))
    .fix(format!(
        "write LimitNOFILE={} in its systemd unit, or {key} = {}",
        round(needed),
        fitting(limit.value as u64, servers)
    ));
}

/// Descriptors of an instance whose limits are all reached.
const fn needed(clients: u64, servers: u64) -> u64 {
    clients.saturating_add(servers).saturating_add(OTHERS)
}

/// Clients that fit.
const fn fitting(limit: u64, servers: u64) -> u64 {
    let left = limit.saturating_sub(servers).saturating_sub(OTHERS);
    if left == 0 { 1 } else { left }
}

/// A number that people write: the next power of two.
fn round(number: u64) -> u64 {
    number.checked_next_power_of_two().unwrap_or(number)
}

const fn because(pooler: &Pooler) -> &'static str {
    match pooler.kind {
        Kind::Poolwarden => "clients are refused before the limit that the file says",
        Kind::PgBouncer | Kind::RdsProxy | Kind::Odyssey => {
            "clients hang at the connect before the limit that the file says, and no server connection can be opened"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{fitting, needed};

    #[test]
    fn ten_descriptors_are_no_connections() {
        assert_eq!((needed(1_000, 40), fitting(1_050, 40), fitting(20, 40)), (1_050, 1_000, 1));
    }
}
