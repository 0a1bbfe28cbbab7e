//! An operator's word, to one database's pools or to all, also those that are made later.

use std::collections::BTreeMap;

use crate::host::Host;
use crate::pool::{Pool, Word};
use crate::queue::Regime;
use crate::{Event, Handled, PoolId, Time, Verb};

/// What was said to one database, where it differs from what was said to all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Said {
    paused: Option<bool>,
    disabled: Option<bool>,
    draining: bool,
}

/// Everything operators have said and not taken back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words {
    /// To all.
    pub(crate) all: Word,
    by_name: BTreeMap<String, Said>,
}

impl Words {
    /// What holds for the pools of this database.
    pub(crate) fn of(&self, database: &str) -> Word {
        let said = self.by_name.get(database).copied().unwrap_or_default();
        Word {
            paused: said.paused.unwrap_or(self.all.paused),
            disabled: said.disabled.unwrap_or(self.all.disabled),
            draining: said.draining || self.all.draining,
        }
    }

    fn pause(&mut self, name: Option<&str>, paused: bool) {
        match name {
            Some(name) => self.by_name.entry(name.to_owned()).or_default().paused = Some(paused),
            None => {
                self.all.paused = paused;
                self.by_name.values_mut().for_each(|said| said.paused = None);
            }
        }
        self.tidy();
    }

    fn disable(&mut self, name: Option<&str>, disabled: bool) {
        match name {
            Some(name) => self.by_name.entry(name.to_owned()).or_default().disabled = Some(disabled),
            None => {
                self.all.disabled = disabled;
                self.by_name.values_mut().for_each(|said| said.disabled = None);
            }
        }
        self.tidy();
    }

    fn drain(&mut self, name: Option<&str>) {
        match name {
            Some(name) => self.by_name.entry(name.to_owned()).or_default().draining = true,
            None => self.all.draining = true,
        }
    }

    /// Forgets what says nothing beyond what was said to all.
    fn tidy(&mut self) {
        let all = self.all;
        self.by_name.retain(|_, said| {
            said.paused = said.paused.filter(|&paused| paused != all.paused);
            said.disabled = said.disabled.filter(|&disabled| disabled != all.disabled);
            *said != Said::default()
        });
    }
}

impl Host {
    /// Does what an operator says. `Stale` if no database of that name is configured or pooled.
    pub(crate) fn obey(&mut self, verb: Verb, name: Option<String>) -> Handled {
        let name = name.as_deref();
        let meant: Vec<PoolId> = self
            .pools
            .iter()
            .filter(|pool| name.is_none_or(|name| pool.key.database == name))
            .map(|pool| pool.id)
            .collect();
        let known = |name: &str| self.settings.any.is_some() || self.settings.databases.contains_key(name);
        if meant.is_empty() && !name.is_none_or(known) {
            return Handled::Stale;
        }
        match verb {
            Verb::Pause | Verb::Kill => self.words.pause(name, true),
            Verb::Resume => self.words.pause(name, false),
            Verb::Disable => self.words.disable(name, true),
            Verb::Enable => self.words.disable(name, false),
            Verb::Drain => self.words.drain(name),
            Verb::Reconnect => self.pace.not_before = Time::ZERO,
        }
        for id in meant {
            let pool = &mut self.pools[id];
            match verb {
                Verb::Reconnect => pool.replace(),
                Verb::Kill => {
                    pool.epoch += 1;
                    pool.killed = pool.epoch;
                }
                Verb::Pause | Verb::Resume | Verb::Drain | Verb::Disable | Verb::Enable => {}
            }
            self.heed(id);
        }
        self.recount = true;
        Handled::Done
    }

    /// Replaces the connections of one user's pools. `Stale` if it has none.
    pub(crate) fn renew(&mut self, user: &str) -> Handled {
        let of_user = |pool: &&Pool| pool.key.user == user;
        let meant: Vec<PoolId> = self.pools.iter().filter(of_user).map(|pool| pool.id).collect();
        if meant.is_empty() {
            return Handled::Stale;
        }
        self.pace.not_before = Time::ZERO;
        for id in meant {
            self.pools[id].replace();
            self.add_chore(id);
        }
        self.recount = true;
        Handled::Done
    }

    /// Brings one pool in line with what was said.
    fn heed(&mut self, id: PoolId) {
        let pool = &mut self.pools[id];
        let word = self.words.of(&pool.key.database);
        if word.paused != pool.word.paused {
            self.turn.events.push_back(Event::Paused(id, word.paused));
            pool.queue.change(Regime::of(word.paused, self.pace.down), self.turn.now);
        }
        pool.word = word;
        self.add_chore(id);
    }
}
