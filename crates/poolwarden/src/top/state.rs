//! What the screen shows: the newest answers, what is selected, sorted and filtered.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::Value;

use super::pool::{Key, Pool};

/// A longer filter selects nothing more.
const MAX_FILTER: usize = 40;

/// Whether it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Stay,
    Leave,
}

/// In which order pools stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// The worst first, then those with most waiting.
    #[default]
    State,
    Waiting,
    Lent,
    Served,
    Refused,
    Name,
}

impl Sort {
    const fn next(self) -> Self {
        match self {
            Self::State => Self::Waiting,
            Self::Waiting => Self::Lent,
            Self::Lent => Self::Served,
            Self::Served => Self::Refused,
            Self::Refused => Self::Name,
            Self::Name => Self::State,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Waiting => "waiting",
            Self::Lent => "lent",
            Self::Served => "served",
            Self::Refused => "refused",
            Self::Name => "name",
        }
    }
}

/// What is shown of the selected pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Detail {
    #[default]
    Why,
    Holders,
    Limits,
}

impl Detail {
    const fn next(self) -> Self {
        match self {
            Self::Why => Self::Holders,
            Self::Holders => Self::Limits,
            Self::Limits => Self::Why,
        }
    }
}

/// One instance.
#[derive(Debug, Default)]
pub(super) struct Instance {
    pub(super) at: String,
    /// When it answered last, in its own words.
    pub(super) answered: String,
    /// Why it does not answer now.
    pub(super) fault: Option<String>,
    /// What around the pools is at fault.
    pub(super) layers: Vec<String>,
    pools: Vec<Pool>,
}

/// The screen's content.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) instances: Vec<Instance>,
    selected: Option<Key>,
    pub(super) sort: Sort,
    reverse: bool,
    pub(super) filter: String,
    /// The filter is being typed.
    pub(super) typing: bool,
    /// Calm pools are left out.
    pub(super) only_troubled: bool,
    /// Nothing new is taken.
    pub(super) frozen: bool,
    pub(super) detail: Detail,
}

impl State {
    pub(super) fn new(places: &[String]) -> Self {
        let instance = |at: &String| Instance { at: at.clone(), ..Instance::default() };
        Self { instances: places.iter().map(instance).collect(), ..Self::default() }
    }

    /// An instance's answer, or why there is none: then its pools stay as they were, and the fault is shown.
    pub(super) fn take(&mut self, instance: usize, answer: Result<Value, String>) {
        let Some(of) = self.instances.get_mut(instance).filter(|_| !self.frozen) else { return };
        let answer = match answer {
            Ok(answer) => answer,
            Err(fault) => {
                of.fault = Some(poolwarden_console::why::plain(&fault));
                return;
            }
        };
        of.fault = None;
        of.answered = answer["at"].as_str().unwrap_or_default().to_owned();
        of.layers = faulty(&answer["layers"]);
        of.pools = answer["pools"].as_array().into_iter().flatten().map(|pool| Pool::read(instance, pool)).collect();
    }

    /// Pools as they are listed.
    pub(super) fn rows(&self) -> Vec<&Pool> {
        let filter = self.filter.to_lowercase();
        let shown = |pool: &&Pool| {
            let (_, name, user, server) = &pool.key;
            let named = [name, user, server].iter().any(|of| of.to_lowercase().contains(&filter));
            named && !(self.only_troubled && pool.is_calm())
        };
        let mut rows: Vec<&Pool> = self.instances.iter().flat_map(|of| &of.pools).filter(shown).collect();
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        let down = |a: f64, b: f64| b.total_cmp(&a);
        match self.sort {
            Sort::State => rows.sort_by_key(|pool| (pool.state, std::cmp::Reverse(pool.waiting))),
            Sort::Waiting => rows.sort_by_key(|pool| std::cmp::Reverse(pool.waiting)),
            Sort::Lent => rows.sort_by_key(|pool| std::cmp::Reverse(pool.lent)),
            Sort::Served => rows.sort_by(|a, b| down(a.served, b.served)),
            Sort::Refused => rows.sort_by(|a, b| down(a.refused, b.refused)),
            Sort::Name => {}
        }
        if self.reverse {
            rows.reverse();
        }
        rows
    }

    /// How many pools there are, and how many of them are not calm.
    pub(super) fn counts(&self) -> (usize, usize) {
        let pools = || self.instances.iter().flat_map(|of| &of.pools);
        (pools().count(), pools().filter(|pool| !pool.is_calm()).count())
    }

    /// Place of the selected pool among `rows`: the first one's until somebody selects.
    pub(super) fn selected(&self, rows: &[&Pool]) -> usize {
        let at = self.selected.as_ref().and_then(|key| rows.iter().position(|pool| pool.key == *key));
        at.unwrap_or(0)
    }

    /// A key was pressed.
    #[allow(clippy::wildcard_enum_match_arm, reason = "what keys a terminal has is not ours")]
    pub(super) fn key(&mut self, key: KeyEvent) -> Flow {
        if key.modifiers.contains(KeyModifiers::CONTROL) && matches!(key.code, KeyCode::Char('c' | 'd')) {
            return Flow::Leave;
        }
        if self.typing {
            self.typed(key.code);
            return Flow::Stay;
        }
        match key.code {
            KeyCode::Char('q') => return Flow::Leave,
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::PageUp => self.step(-10),
            KeyCode::PageDown => self.step(10),
            KeyCode::Home => self.step(isize::MIN),
            KeyCode::End => self.step(isize::MAX),
            KeyCode::Tab | KeyCode::Right => self.detail = self.detail.next(),
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Char('r') => self.reverse = !self.reverse,
            KeyCode::Char('t') => self.only_troubled = !self.only_troubled,
            KeyCode::Char('f') => self.frozen = !self.frozen,
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Esc => self.filter.clear(),
            _ => {} // the keys that do something stand in the last line
        }
        Flow::Stay
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "what keys a terminal has is not ours")]
    fn typed(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(c) if self.filter.chars().count() < MAX_FILTER => self.filter.push(c),
            _ => {} // no other key writes
        }
    }

    fn step(&mut self, by: isize) {
        let rows = self.rows();
        let last = rows.len().saturating_sub(1);
        let to = self.selected(&rows).saturating_add_signed(by).min(last);
        self.selected = rows.get(to).map(|pool| pool.key.clone());
    }
}

/// What around the pools is at fault, a line each.
fn faulty(layers: &Value) -> Vec<String> {
    let at_fault = layers.as_array().into_iter().flatten().filter(|layer| layer["verdict"] == "supported");
    let line = |layer: &Value| {
        let (name, text) = (layer["name"].as_str(), layer["evidence"]["text"].as_str());
        poolwarden_console::why::plain(&format!("{}: {}", name.unwrap_or_default(), text.unwrap_or_default()))
    };
    at_fault.map(line).collect()
}
