//! A scenario's clients as a demand.

use poolwarden_config::Config;
use poolwarden_switch::pool::{ClassId, HostSettings, PoolKey, Time};

use super::backend::Work;
use super::demand::{Demand, Ended, Seat, Wish};
use crate::load::{Outcome, Record, Step, Traffic};
use crate::scenario::{Group, Scenario};

/// The database every scenario's clients ask for.
const DATABASE: &str = "app";
/// The role of clients whose group names none.
const USER: &str = "app";

/// A scenario's clients.
#[derive(Debug)]
pub(super) struct Crowd<'a> {
    scenario: &'a Scenario,
    traffic: Traffic<'a>,
}

impl<'a> Crowd<'a> {
    /// `keeps`: every request as it ends.
    pub(super) fn new(scenario: &'a Scenario, keeps: bool) -> Self {
        let traffic = Traffic::new(scenario, false);
        Self { scenario, traffic: if keeps { traffic.keeping() } else { traffic } }
    }

    /// One for each group.
    pub(super) fn seats(scenario: &Scenario, config: &Config, settings: &HostSettings) -> Result<Vec<Seat>, String> {
        let role = config.pool(DATABASE).and_then(|pool| pool.user.as_deref()); // as the proxy has it
        let mut seats = Vec::new();
        for group in &scenario.groups {
            let user = role.or(group.user.as_deref()).unwrap_or(USER);
            seats.push(Seat {
                name: format!("load \"{}\"", group.name),
                key: PoolKey { database: DATABASE.into(), user: user.into() },
                class: class(group, config, settings)?,
                tenant: hash(&group.application),
                application: group.application.clone(),
            });
        }
        Ok(seats)
    }

    pub(super) fn finish(self, now: Time) -> Record {
        self.traffic.finish(now)
    }
}

impl Demand for Crowd<'_> {
    fn next_at(&mut self) -> Option<Time> {
        self.traffic.next_at()
    }

    fn advance(&mut self, now: Time) {
        self.traffic.advance(now);
    }

    fn poll(&mut self) -> Option<Wish> {
        Some(match self.traffic.poll()? {
            Step::Send { client, group, hold, kind, idle, gives_up, .. } => {
                let tells = self.scenario.groups[group].tells_deadline;
                let work = Work { kind, alone: hold + self.scenario.postgres.overhead, idle };
                let deadline = gives_up.filter(|_| tells).unwrap_or(Time::NEVER);
                Wish::Ask { client, work, deadline, leaves: Time::NEVER }
            }
            Step::Reconnect { client } => Wish::Reconnect { client },
        })
    }

    fn ended(&mut self, now: Time, client: u32, end: Ended<'_>) {
        let outcome = match end {
            Ended::Served => Outcome::Served,
            Ended::Refused(refusal) => Outcome::Refused(format!("{}/{}", refusal.reason.name(), refusal.limit.name())),
            Ended::Left => Outcome::Failed("its client left".to_owned()),
            Ended::Lost => {
                self.traffic.ended(now, client, Outcome::Failed("08006".to_owned()), false);
                return self.traffic.back(now, client);
            }
        };
        self.traffic.ended(now, client, outcome, true);
    }

    fn back(&mut self, now: Time, client: u32) {
        self.traffic.back(now, client);
    }

    fn is_over(&mut self) -> bool {
        self.traffic.is_over()
    }
}

/// The class of a group's requests: its own, else its user's, else the first.
fn class(group: &Group, config: &Config, settings: &HostSettings) -> Result<ClassId, String> {
    let user = group.user.as_deref().unwrap_or(USER);
    let of_user = config.users.get(user).and_then(|user| user.class.as_deref());
    let Some(name) = group.class.as_deref().or(of_user) else { return Ok(ClassId(0)) };
    let place = settings.classes.iter().position(|class| class.name == name).and_then(|place| u8::try_from(place).ok());
    let known = || settings.classes.iter().map(|class| class.name.as_str()).collect::<Vec<_>>().join(", ");
    place.map(ClassId).ok_or_else(|| {
        format!("load \"{}\": there is no class \"{name}\": write [classes.{name}], or one of {}", group.name, known())
    })
}

/// FNV-1a (Fowler, Noll and Vo 1991): any hash will do that is the same everywhere.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
