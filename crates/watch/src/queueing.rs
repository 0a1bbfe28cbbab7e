//! What a number of connections would serve: clients that think, wait, are served, and think again.
//!
//! Every client connection has at most one request outstanding, so the sources are finite, and the model is M/M/c//N (the
//! machine-repair model; its blocking form is Engset's): states 0..=N requests present, of which c are served at once.
//! With many clients that think for long it is M/M/c; with clients that never think it is min(N, c) / hold.

/// Clients beyond this many are as good as infinitely many at the same rate.
const MAX_SOURCES: f64 = 20_000.0;
/// Clients that think for more than this part of their time are taken for people who ask when they want to, however long they
/// waited for the last answer; who thinks for less asks sooner when it is answered sooner.
const OPEN: f64 = 0.7;
/// Requests hardly wait with the offered load and twice its square root besides: about one in twenty does
/// (Halfin and Whitt 1981; the table of Erlang C for 2 to 80 connections agrees).
pub(crate) const RESERVE: f64 = 2.0;

/// Clients of one pool. Times in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sources {
    /// How many there are.
    pub(crate) clients: f64,
    /// From the end of a request to the next.
    pub(crate) think_s: f64,
    /// For how long a request holds its connection.
    pub(crate) hold_s: f64,
}

/// What they would be given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Served {
    /// Requests per second.
    pub(crate) per_second: f64,
    /// Mean wait.
    pub(crate) wait_s: f64,
}

impl Sources {
    /// From what was seen: `arrivals` per second of all kinds, of which the share `granted` was served after a mean wait.
    /// `None` without traffic.
    pub(crate) fn seen(clients: f64, arrivals: f64, granted: f64, wait_s: f64, hold_s: f64) -> Option<Self> {
        if arrivals <= 0.0 || hold_s <= 0.0 || clients <= 0.0 {
            return None;
        }
        // a round of a client: it thinks, waits, and (if it is served) holds; Little's law over all clients gives its length
        let think_s = (clients / arrivals - wait_s - granted * hold_s).max(0.0);
        if think_s * arrivals > OPEN * clients {
            return Some(Self { clients: MAX_SOURCES, think_s: MAX_SOURCES / arrivals - hold_s, hold_s });
        }
        Some(Self { clients, think_s, hold_s })
    }

    /// Connections busy on average if nobody ever waited: the offered load.
    pub(crate) fn load(&self) -> f64 {
        self.clients * self.hold_s / (self.hold_s + self.think_s)
    }

    /// The least number of connections with which requests hardly wait.
    pub(crate) fn enough(&self) -> u32 {
        let load = self.load();
        (load + RESERVE * load.sqrt()).min(self.clients).ceil().max(1.0) as u32
    }

    /// What `connections` would serve.
    pub(crate) fn with(&self, connections: u32) -> Served {
        let clients = self.clients.min(MAX_SOURCES).round().max(1.0);
        let think_s = if self.clients > MAX_SOURCES { self.think_s * clients / self.clients } else { self.think_s };
        let c = f64::from(connections.max(1));
        if think_s <= self.hold_s * 1e-6 {
            let per_second = clients.min(c) / self.hold_s;
            return Served { per_second, wait_s: (clients / per_second - self.hold_s).max(0.0) };
        }
        // relative probabilities, kept near the largest so far so that none overflows
        let (mut weight, mut all, mut busy, mut present) = (1.0_f64, 1.0_f64, 0.0_f64, 0.0_f64);
        let mut n = 0.0;
        while n < clients {
            weight *= (clients - n) * self.hold_s / (think_s * c.min(n + 1.0));
            n += 1.0;
            all += weight;
            busy += weight * n.min(c);
            present += weight * n;
            if weight > 1e200 {
                (weight, all, busy, present) = (weight / 1e200, all / 1e200, busy / 1e200, present / 1e200);
            }
        }
        let per_second = busy / all / self.hold_s;
        Served { per_second, wait_s: ((present - busy) / all / per_second).max(0.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64, part: f64) -> bool {
        (a - b).abs() <= part * b.abs().max(1e-12)
    }

    #[test]
    fn clients_that_never_think_are_served_by_as_many_as_there_are_connections() {
        let sources = Sources::seen(64.0, 2_000.0, 1.0, 0.027, 0.005).unwrap();
        assert!(sources.think_s < 1e-9, "{sources:?}");
        assert!(near(sources.with(10).per_second, 2_000.0, 1e-9));
        assert!(near(sources.with(20).per_second, 4_000.0, 1e-9));
        assert!(near(sources.with(500).per_second, 12_800.0, 1e-9));
        assert_eq!(sources.enough(), 64);
    }

    #[test]
    fn many_clients_that_think_for_long_are_erlangs() {
        // M/M/10 at 80 %: Erlang C is 0.4092, so the mean wait is 0.4092 * hold / (10 * 0.2)
        let sources = Sources { clients: 20_000.0, think_s: 20_000.0 / 80.0 - 0.1, hold_s: 0.1 };
        let served = sources.with(10);
        assert!(near(served.per_second, 80.0, 0.001), "{served:?}");
        assert!(near(served.wait_s, 0.4092 * 0.1 / 2.0, 0.01), "{served:?}");
    }

    #[test]
    fn who_mostly_thinks_does_not_ask_more_because_it_waits_less() {
        let sources = Sources::seen(220.0, 120.0, 0.4, 0.2, 0.04).unwrap();
        let served = sources.with(40).per_second;
        assert!(near(served, 120.0, 0.001), "{served}");
        assert!(near(sources.load(), 4.8, 0.001));
    }

    #[test]
    fn two_machines_and_one_repairer_are_as_in_the_books() {
        // states 0, 1, 2 with think = hold = 1: weights 1, 2, 2
        let served = Sources { clients: 2.0, think_s: 1.0, hold_s: 1.0 }.with(1);
        assert!(near(served.per_second, 4.0 / 5.0, 1e-9));
        assert!(near(served.wait_s, (6.0 - 4.0) / 5.0 / 0.8, 1e-9));
    }

    #[test]
    fn one_connection_more_never_serves_less() {
        for (clients, think_s, hold_s) in [(3.0, 0.01, 0.02), (200.0, 0.3, 0.02), (10_000.0, 9.0, 0.05)] {
            let sources = Sources { clients, think_s, hold_s };
            let mut before = sources.with(1);
            for connections in 2..100 {
                let now = sources.with(connections);
                let more = now.per_second >= before.per_second * (1.0 - 1e-9);
                assert!(more && now.wait_s <= before.wait_s + 1e-9, "{sources:?} {connections}: {before:?} {now:?}");
                before = now;
            }
        }
    }
}
