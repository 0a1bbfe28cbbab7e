//! Recorded traffic read from its files: which they are, what of them counts, and what is wrong with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow, bail};
use poolwarden_config::Config;
use poolwarden_pool::{ClassId, PoolKey};
use poolwarden_sim::recorded::{Ask, Kind, Met, Recorded};
use poolwarden_store::recording::{self, Block, Checkout, NameKind, Recording, State, Wanted, tapes};

use crate::discover;

/// What stands for passwords and keys where nobody logs in.
pub(crate) const NO_SECRET: &str = "not used";
/// More faults of one file are counted.
const MOST_FAULTS: usize = 5;
/// Clocks of one process, told by two of its files, differ by less.
const SAME_CLOCK_US: i128 = 1_000_000;

/// From when until when, in microseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from_us: u64,
    pub(crate) until_us: u64,
}

/// What was recorded.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Each server's traffic. Its classes are numbers of `classes`.
    pub(crate) servers: BTreeMap<String, Recorded>,
    pub(crate) classes: BTreeMap<u8, String>,
    /// The newest settings that were recorded, as TOML.
    pub(crate) settings: Option<String>,
    /// Pools in which nothing ended from one state to the next while requests waited and everything was lent; how many waited.
    pub(crate) stuck: BTreeMap<(String, PoolKey), u32>,
    /// What could not be read or is not known, with its place.
    pub(crate) notes: Vec<String>,
    pub(crate) span: Option<Span>,
}

/// The files of `--recording`, and what of them counts.
///
/// # Errors
/// Nothing is there, or it is written wrongly.
pub(crate) fn find(
    recording: &str,
    (config, dir): (Option<&Path>, Option<&Path>),
) -> anyhow::Result<(Vec<PathBuf>, Option<Span>)> {
    let path = Path::new(recording);
    if path.is_file() {
        return Ok((vec![path.to_owned()], None));
    }
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let wanted = if path.is_dir() { None } else { Wanted::read(recording, u64::try_from(now_ms).unwrap_or(u64::MAX)) };
    let (dir, wanted) = match wanted {
        Some(wanted) => (
            dir.map_or_else(|| Ok(data_dir(config)?.join("recordings")), |dir| anyhow::Ok(dir.to_owned()))?,
            Some(wanted.map_err(|why| anyhow!("--recording {recording}: {why}"))?),
        ),
        None if path.is_dir() => (path.to_owned(), None),
        None => bail!(
            "--recording {recording}: there is no such file; write a path, last:24h, or 2026-11-22T08:00:00Z/2026-11-22T09:00:00Z"
        ),
    };
    let unread = || format!("cannot read {}", dir.display());
    let all = tapes(&dir).with_context(unread)?;
    let found = match &wanted {
        Some(wanted) => recording::find(all, wanted).with_context(unread)?,
        None => all,
    };
    if found.is_empty() {
        bail!("--recording {recording}: {} has no recording of that time", dir.display());
    }
    let span = wanted.map(|of| Span { from_us: of.from_ms * 1000, until_us: of.until_ms.saturating_add(1) * 1000 });
    Ok((found.into_iter().map(|tape| tape.path).collect(), span))
}

fn data_dir(config: Option<&Path>) -> anyhow::Result<PathBuf> {
    let Some(path) = config else { return discover::default_data_dir() };
    let text = discover::read_text(path)?;
    let (config, _) = Config::parse(&text, |_| Ok(NO_SECRET.to_owned()));
    match config.and_then(|config| config.poolwarden.data_dir) {
        Some(dir) => Ok(dir.into()),
        None => discover::default_data_dir(),
    }
}

/// A time as RFC 3339 has it.
pub(crate) fn at(us: u64) -> String {
    poolwarden_console::rfc3339(us / 1000)
}

/// Reads them all. What is broken is left out and told with its place.
///
/// # Errors
/// Nothing of it can be read, or nothing was recorded in that time.
pub(crate) fn read(files: &[PathBuf], span: Option<Span>) -> anyhow::Result<Heard> {
    let mut reading = Reading { span, ..Reading::default() };
    let mut unreadable = Vec::new();
    for path in files {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        match Recording::open(&bytes) {
            Ok(recording) => reading.file(path, recording),
            Err(why) => unreadable.push(format!("{}: {why}", path.display())),
        }
    }
    if !unreadable.is_empty() && unreadable.len() == files.len() {
        bail!("{}", unreadable.join("\n"));
    }
    reading.heard.notes.extend(unreadable);
    reading.finish()
}

/// What is known so far.
#[derive(Default)]
struct Reading {
    span: Option<Span>,
    heard: Heard,
    /// Of the current file: pools by their numbers.
    pools: BTreeMap<u16, (String, PoolKey)>,
    /// Microseconds from the process's clock to 1970's, and how many processes there were.
    offset_us: i128,
    processes: u32,
    /// Of each server, where what is numbered stands.
    places: BTreeMap<String, Places>,
    /// The state of each pool in which the time begins that counts: connections there were.
    states: BTreeMap<(String, PoolKey), u32>,
    /// Pools that were full while requests waited, at the last look; a lease that ends takes it out.
    full: BTreeMap<(String, PoolKey), u32>,
    gaps: (u32, u64, u64),
}

#[derive(Default)]
struct Places {
    pools: BTreeMap<PoolKey, usize>,
    kinds: BTreeMap<Kind, u32>,
    clients: BTreeMap<(u32, u32, u32), u32>,
    /// When each connect began, where its connection was waited for, what it took, and of which pool it was.
    connects: Vec<(u64, Duration, usize)>,
}

impl Reading {
    fn file(&mut self, path: &Path, recording: Recording<'_>) {
        let begun = recording.begun();
        let offset_us = i128::from(begun.wall_ms) * 1000 - i128::from(begun.clock_us);
        if self.processes == 0 || (offset_us - self.offset_us).abs() > SAME_CLOCK_US {
            self.processes += 1;
            self.offset_us = offset_us;
        }
        self.pools.clear();
        let (mut faults, mut nameless) = (0, 0_u64);
        for block in recording {
            match block {
                Ok(Block::Names(names)) => names.into_iter().for_each(|name| match name.kind {
                    NameKind::Pool => {
                        let mut parts = name.text.splitn(3, '\0').map(str::to_owned);
                        if let (Some(server), Some(database), Some(user)) = (parts.next(), parts.next(), parts.next()) {
                            self.pools.insert(name.number, (server, PoolKey { database, user }));
                        }
                    }
                    NameKind::Class => {
                        if let Ok(number) = u8::try_from(name.number) {
                            self.heard.classes.insert(number, name.text);
                        }
                    }
                    NameKind::Application | NameKind::Limit => {}
                }),
                Ok(Block::Checkouts(all)) => {
                    nameless += all.iter().filter(|checkout| !self.checkout(checkout)).count() as u64;
                }
                Ok(Block::Gap(gap)) => {
                    let (from_us, until_us) = (self.wall_us(gap.from_us), self.wall_us(gap.until_us));
                    if self.counts(from_us) || self.counts(until_us) {
                        let (count, lasted_us, lost) = self.gaps;
                        self.gaps = (count + 1, lasted_us + until_us.saturating_sub(from_us), lost + gap.lost);
                    }
                }
                Ok(Block::State(state)) => self.state(&state),
                Ok(Block::Settings(settings)) if settings.text.is_empty() => {}
                Ok(Block::Settings(settings)) => self.heard.settings = Some(settings.text),
                Ok(Block::Unknown(kind)) => {
                    self.heard
                        .notes
                        .push(format!("{}: a block of kind {kind}, of a newer release, is left out", path.display()));
                }
                Ok(Block::Anchor(_)) => {}
                Err(fault) => {
                    faults += 1;
                    if faults <= MOST_FAULTS {
                        self.heard.notes.push(format!("{}: {fault}", path.display()));
                    }
                }
            }
        }
        if faults > MOST_FAULTS {
            self.heard.notes.push(format!("{}: and {} more broken places", path.display(), faults - MOST_FAULTS));
        }
        if nameless > 0 {
            self.heard
                .notes
                .push(format!("{}: {nameless} checkouts of pools whose names are lost are left out", path.display()));
        }
    }

    fn wall_us(&self, clock_us: u64) -> u64 {
        u64::try_from(i128::from(clock_us) + self.offset_us).unwrap_or(0)
    }

    fn counts(&self, at_us: u64) -> bool {
        self.span.is_none_or(|span| (span.from_us..span.until_us).contains(&at_us))
    }

    /// Whether its pool is known.
    fn checkout(&mut self, of: &Checkout) -> bool {
        let Some(name) = self.pools.get(&of.pool) else { return false };
        if of.outcome.is_lent() {
            self.full.remove(name);
        }
        let (server, key) = name;
        let arrived_us = self.wall_us(of.arrived_us);
        let ended_us = arrived_us + of.waited_us + of.held_us;
        let is_under_way = self.span.is_some_and(|span| arrived_us < span.from_us && ended_us > span.from_us);
        if !self.counts(arrived_us) && !is_under_way {
            return true;
        }
        let recorded = self.heard.servers.entry(server.clone()).or_default();
        let places = self.places.entry(server.clone()).or_default();
        let pool = *places.pools.entry(key.clone()).or_insert_with(|| {
            recorded.pools.push(key.clone());
            recorded.pools.len() - 1
        });
        let kind = Kind { pool, class: ClassId(of.class), tenant: u64::from(of.application) };
        let kind = *places.kinds.entry(kind.clone()).or_insert_with(|| {
            recorded.kinds.push(kind);
            recorded.kinds.len() as u32 - 1 // fewer than there are names
        });
        let client = *places.clients.entry((self.processes, of.client, kind)).or_insert_with(|| {
            recorded.clients.push(kind);
            recorded.clients.len() as u32 - 1 // clients are numbered in 32 bits
        });
        if let Some(took_us) = of.connect_us {
            let opened_us = arrived_us + of.waited_us;
            places.connects.push((opened_us.saturating_sub(took_us), Duration::from_micros(took_us), pool));
        }
        let small = |us: u64| u32::try_from(us).unwrap_or(u32::MAX);
        recorded.asks.push(Ask {
            arrived_us,
            held_us: of.held_us,
            alone_ns: 0,
            waited_us: small(of.waited_us),
            idle_us: small(of.idled_us.min(of.held_us)),
            client,
            met: match (of.outcome.is_lent(), of.outcome.is_refused()) {
                (true, _) => Met::Granted,
                (false, true) => Met::Refused,
                (false, false) => Met::Left,
            },
            is_retry: of.attempt > 0,
        });
        true
    }

    fn state(&mut self, state: &State) {
        let at_us = self.wall_us(state.at_us);
        for pool in &state.pools {
            let Some(name) = self.pools.get(&pool.pool).cloned() else { continue };
            // The last before the beginning counts; without one, the first.
            if self.span.is_some_and(|span| at_us <= span.from_us) || !self.states.contains_key(&name) {
                self.states.insert(name.clone(), pool.open);
            }
            let is_full = pool.waiting > 0 && pool.lent >= pool.size && pool.lent > 0;
            if !is_full || !self.counts(at_us) {
                self.full.remove(&name);
            } else if self.full.insert(name.clone(), pool.waiting).is_some() {
                let stuck = self.heard.stuck.entry(name).or_default();
                *stuck = (*stuck).max(pool.waiting);
            }
        }
    }

    fn finish(mut self) -> anyhow::Result<Heard> {
        let asks = || self.heard.servers.values().flat_map(|recorded| &recorded.asks);
        let first_us = asks().map(|ask| ask.arrived_us).min();
        let last_us = asks().map(|ask| ask.arrived_us).max();
        let (Some(first_us), Some(last_us)) = (first_us, last_us) else {
            if !self.heard.stuck.is_empty() {
                return Ok(self.heard); // that nothing ended says a lot
            }
            let when = self.span.map(|span| format!(" from {} to {}", at(span.from_us), at(span.until_us)));
            bail!("nothing was recorded{}", when.unwrap_or_default());
        };
        let span = Span {
            from_us: self.span.map_or(first_us, |span| span.from_us.max(first_us)),
            until_us: self.span.map_or(last_us + 1, |span| span.until_us.min(last_us + 1)),
        };
        let states = std::mem::take(&mut self.states);
        let mut places = std::mem::take(&mut self.places);
        for (server, recorded) in &mut self.heard.servers {
            recorded.lasts = Duration::from_micros(span.until_us - span.from_us);
            let open = |key: &PoolKey| states.get(&(server.clone(), key.clone())).copied().unwrap_or(0);
            recorded.open = recorded.pools.iter().map(open).collect();
            let mut connects = places.remove(server).unwrap_or_default().connects;
            connects.sort_unstable();
            // Whose connects began before the first request have their connections at the beginning, or next to it.
            let before = connects.partition_point(|(begun_us, ..)| *begun_us < span.from_us);
            for (pool, open) in recorded.open.iter_mut().enumerate() {
                let begun = connects[..before].iter().filter(|(.., of)| *of == pool).count();
                *open = (*open).max(u32::try_from(begun).unwrap_or(u32::MAX));
            }
            let counts = if before < connects.len() { before } else { 0 };
            recorded.connects = connects[counts..].iter().map(|(_, took, _)| *took).collect();
            for ask in &mut recorded.asks {
                // Who was under way when it begins has so much less before it.
                let late_us = span.from_us.saturating_sub(ask.arrived_us);
                let waited_us = u64::from(ask.waited_us);
                ask.held_us -= late_us.saturating_sub(waited_us).min(ask.held_us);
                ask.waited_us = u32::try_from(waited_us.saturating_sub(late_us)).unwrap_or(u32::MAX);
                ask.idle_us = ask.idle_us.min(u32::try_from(ask.held_us).unwrap_or(u32::MAX));
                ask.arrived_us = ask.arrived_us.saturating_sub(span.from_us);
            }
            recorded.asks.sort_by_key(|ask| ask.arrived_us);
        }
        if let (count @ 1.., lasted_us, lost) = self.gaps {
            let lasted = Duration::from_micros(lasted_us);
            self.heard
                .notes
                .push(format!("{count} gaps of {lasted:?} in all, in which {lost} checkouts are known to be missing"));
        }
        self.heard.span = Some(span);
        Ok(self.heard)
    }
}
