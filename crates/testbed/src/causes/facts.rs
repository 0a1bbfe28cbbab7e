//! What PostgreSQL says past the pooler, as a superuser: its backends by owner, what they do, and who waits for a lock.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::wire::{Answer, Fault, Wire};

/// Backends but the asking one, and what each does.
const BACKENDS: &str = "select pid, coalesce(usename, ''), coalesce(application_name, ''), coalesce(state, ''), \
     coalesce(wait_event_type, '') from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()";
/// Processes that wait for a lock.
const WAITERS: &str = "select distinct pid from pg_locks where not granted";

/// One look.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Backends of the user `app`, which only the pooler makes: pid and state.
    pub ours: Vec<(u32, String)>,
    /// Backends of everybody else but the pooler's own watcher and the asking one.
    pub others: usize,
    /// Backends whose application is the one that takes the slots.
    pub reporting: usize,
    /// Processes waiting for a lock.
    pub lock_waiters: BTreeSet<u32>,
}

impl Facts {
    /// Asks over a superuser's connection.
    ///
    /// # Errors
    /// When PostgreSQL does not answer.
    pub fn ask(control: &mut Wire) -> Result<Facts, Fault> {
        let backends = control.query(BACKENDS)?;
        let waiters = control.query(WAITERS)?;
        let mut facts =
            Facts { lock_waiters: waiters.rows.iter().map(|row| pid(&row[0])).collect(), ..Facts::default() };
        read(&backends, &mut facts);
        Ok(facts)
    }

    /// Backends of the user `app` in this state; with none named, in any but `idle`.
    #[must_use]
    pub fn busy(&self, state: Option<&str>) -> usize {
        self.ours.iter().filter(|(_, is)| state.map_or(is != "idle", |state| is == state)).count()
    }

    /// For the record of a run.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "backends": self.ours.len(), "not_idle": self.busy(None), "idle_in_transaction": self.busy(Some("idle in transaction")),
            "others": self.others, "reporting": self.reporting, "lock_waiters": self.lock_waiters,
            "pids": self.ours.iter().map(|(pid, state)| json!([pid, state])).collect::<Vec<_>>(),
        })
    }
}

fn read(backends: &Answer, facts: &mut Facts) {
    for row in &backends.rows {
        let text = |column: usize| row[column].as_deref().unwrap_or_default();
        match text(1) {
            "app" => facts.ours.push((pid(&row[0]), text(3).to_string())),
            "watch" => {}
            _ => {
                facts.others += 1;
                facts.reporting += usize::from(text(2) == super::scene::REPORTING);
            }
        }
    }
}

fn pid(value: &Option<String>) -> u32 {
    value.as_deref().and_then(|text| text.parse().ok()).expect("a process id is a number")
}
