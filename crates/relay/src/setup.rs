//! A client's settings on their way to the connection it is lent: the query of ours that makes them, and what becomes of its failure.
//!
//! ```text
//! refused ─ the connection has another's settings ─► reset ─► asked once more
//!    └───── else: the client wants a role ─► asked once more as that role ─ refused ─► the client is told
//! ```

use poolwarden_pgwire::frame::HEADER;
use poolwarden_pgwire::{make, read};

use crate::client::Client;
use crate::expect::Expect;
use crate::farewell::RESET;
use crate::from_server::Turn;
use crate::gather::Out;
use crate::server::{Gate, Server};
use crate::settings::{as_role, transition};
use crate::statement::Texts;

/// PostgreSQL's word for a cancelled statement, and for one that took longer than its `statement_timeout`.
const CANCELLED: &str = "57014";

/// So often in one lease a query of ours is sent again because a cancel request met it.
const MOST_REPEATS: u8 = 3;

impl Server {
    /// Whether a query of ours that failed is sent once more: a cancel request that was meant for what ran before has met it.
    pub(crate) fn is_to_be_repeated(&mut self) -> bool {
        let met = |failure: &Vec<u8>| read::report(failure.get(HEADER..).unwrap_or_default()).sqlstate == CANCELLED;
        let repeated = self.repeats < MOST_REPEATS && self.failure.as_ref().is_some_and(met);
        if repeated {
            self.repeats += 1;
            self.failure = None;
        }
        repeated
    }

    /// The settings query was answered: the client's settings are what the server made of them.
    pub(crate) fn set_up(
        &mut self,
        client: &mut Option<(&mut Client, &mut Texts)>,
        input: &[u8],
        out: &mut Out,
    ) -> Turn {
        if self.is_to_be_repeated()
            && self.status == b'I'
            && let Some(sql) = self.setup_sql()
        {
            self.own_query(&sql, Expect::Setup, out);
            return Turn::More;
        }
        if self.failure.is_some() && self.tries_again(out) {
            return Turn::More;
        }
        self.as_role = false;
        if self.failure.is_some() {
            return Turn::SetupFailed;
        }
        let mut settings = std::mem::take(&mut self.coming);
        for (name, value) in settings.clone().iter() {
            let now = self.settings.value(name).or_else(|| self.defaults.value(name));
            match now {
                Some(now) if now != value && self.defaults.value(name).is_some() => {
                    let spelled = self.defaults.spelling(name).to_owned();
                    if client.is_some() {
                        make::parameter_status(out.client.own(input), &spelled, now);
                    }
                    settings = settings.with(name, self.defaults.difference(name, now));
                }
                Some(_) | None => {}
            }
        }
        self.settings = settings.clone(); // also where the client is gone: the server has them
        let Some((client, _)) = client else {
            return if self.is_releasable() { Turn::Released } else { Turn::More };
        };
        client.settings = settings;
        self.gate = Gate::Open;
        Turn::Opened
    }

    fn setup_sql(&self) -> Option<String> {
        if self.as_role { as_role(&self.coming) } else { transition(&self.settings, &self.coming, &self.defaults) }
    }

    /// The settings query was refused before anything of the client's went out. Where the connection had another's settings, some of
    /// them may be what only another role may take back; where the client wants a role, others may be what only that role may set.
    fn tries_again(&mut self, out: &mut Out) -> bool {
        if self.gate != Gate::Setup || !self.is_untouched() || !self.is_releasable() {
            return false;
        }
        if !self.settings.is_empty() {
            self.failure = None;
            self.own_query(RESET, Expect::Reset, out);
            return true;
        }
        if std::mem::replace(&mut self.as_role, true) {
            return false;
        }
        let Some(sql) = self.setup_sql() else { return false };
        self.failure = None;
        self.own_query(&sql, Expect::Setup, out);
        true
    }

    /// The connection was reset, to be given its client's settings once more.
    pub(crate) fn set_up_afresh(
        &mut self,
        client: &mut Option<(&mut Client, &mut Texts)>,
        input: &[u8],
        out: &mut Out,
    ) -> Turn {
        if self.is_to_be_repeated() {
            self.own_query(RESET, Expect::Reset, out);
            return Turn::More;
        }
        if self.failure.is_some() {
            return Turn::SetupFailed;
        }
        let Some(sql) = self.setup_sql() else { return self.set_up(client, input, out) };
        self.own_query(&sql, Expect::Setup, out);
        Turn::More
    }
}
