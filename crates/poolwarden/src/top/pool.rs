//! One pool as `/api/v1/why` tells it: read from its JSON, nothing computed but what a column needs.

use poolwarden_console::why::{plain, vain};
use serde_json::Value;

/// Which pool: the instance's place, database, user, server.
pub(super) type Key = (usize, String, String, String);

/// One pool.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    pub(super) key: Key,
    pub(super) state: State,
    pub(super) lent: u32,
    /// The pool's size; the connections there are, where it is not told.
    pub(super) size: u32,
    pub(super) waiting: u32,
    pub(super) oldest_ms: u64,
    /// Mean wait of requests that came lately.
    pub(super) wait_ms: Option<f64>,
    pub(super) served: f64,
    /// Connections wanted in each of the last two minutes' seconds, oldest first.
    pub(super) demand: Vec<u32>,
    pub(super) refused: f64,
    /// The limit that binds; `None`: none does.
    pub(super) binds: Option<String>,
    pub(super) next_step: String,
    /// Why, in lines: heading and text.
    pub(super) why: Vec<(&'static str, String)>,
    pub(super) limits: Vec<Limit>,
    pub(super) holders: Vec<Holder>,
}

/// How it does, the worst first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Down,
    Saturated,
    Paused,
    Tight,
    Calm,
    #[default]
    Unknown,
}

impl State {
    fn read(name: &str) -> Self {
        match name {
            "down" => Self::Down,
            "saturated" => Self::Saturated,
            "paused" => Self::Paused,
            "tight" => Self::Tight,
            "calm" => Self::Calm,
            _ => Self::Unknown, // a newer poolwarden may know more
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Down => "DOWN",
            Self::Saturated => "SATURATED",
            Self::Paused => "paused",
            Self::Tight => "tight",
            Self::Calm => "calm",
            Self::Unknown => "?",
        }
    }
}

/// One limit, and what raising it alone would gain.
#[derive(Clone, Debug, Default)]
pub(super) struct Limit {
    pub(super) name: String,
    pub(super) used: u64,
    pub(super) size: Option<u64>,
    /// Server connections more; `None`: as many as are wanted.
    pub(super) gain: Option<u64>,
    pub(super) next: String,
    pub(super) setting: String,
}

/// One holder.
#[derive(Clone, Debug, Default)]
pub(super) struct Holder {
    pub(super) conn: u64,
    pub(super) pid: Option<u64>,
    pub(super) age_ms: u64,
    pub(super) state: String,
    pub(super) application: String,
    pub(super) query: String,
}

impl Pool {
    pub(super) fn read(instance: usize, of: &Value) -> Self {
        let binding = &of["binding_limit"];
        let limits: Vec<Limit> = list(&of["gains"]).iter().map(Limit::read).collect();
        let size = limits.iter().find(|limit| limit.name == "pool_size").and_then(|limit| limit.size);
        Self {
            key: (instance, text(&of["pool"]), text(&of["user"]), text(&of["server"])),
            state: State::read(of["state"].as_str().unwrap_or_default()),
            lent: count(&of["lent"]),
            size: size.and_then(|size| u32::try_from(size).ok()).unwrap_or_else(|| count(&of["open"])),
            waiting: count(&of["waiting"]),
            oldest_ms: of["oldest_wait_ms"].as_u64().unwrap_or(0),
            wait_ms: of["rates"]["wait_ms"].as_f64(),
            demand: list(&of["demand"]).iter().map(count).collect(),
            served: of["rates"]["granted_per_s"].as_f64().unwrap_or(0.0),
            refused: of["rates"]["refused_per_s"].as_f64().unwrap_or(0.0),
            binds: (binding["binds"] == true).then(|| text(&binding["name"])),
            next_step: text(&of["next_step"]),
            why: why(of),
            limits,
            holders: list(&of["holders"]).iter().map(Holder::read).collect(),
        }
    }

    pub(super) fn is_calm(&self) -> bool {
        self.state == State::Calm
    }
}

/// What it is, then what it is not.
fn why(of: &Value) -> Vec<(&'static str, String)> {
    let told = |cause: &Value| {
        let texts: Vec<String> = list(&cause["evidence"]).iter().map(|of| text(&of["text"])).collect();
        texts.join("; ")
    };
    let mut lines = Vec::new();
    let (supported, others): (Vec<&Value>, Vec<&Value>) =
        list(&of["causes"]).iter().partition(|cause| cause["verdict"] == "supported");
    if let Some(why) = supported.first().and_then(|cause| vain(cause["code"].as_str()?)) {
        lines.push(("raise?", why.to_owned()));
    }
    for cause in supported {
        let share = cause["share"].as_f64().unwrap_or(0.0) * 100.0;
        lines.push(("cause", format!("{} {share:.0} %: {}", text(&cause["code"]), told(cause))));
    }
    for change in list(&of["changes"]) {
        let value = |key: &str| change[key].as_str().map_or("(unset)".to_owned(), plain);
        let (key, by) = (text(&change["key"]), text(&change["by"]));
        lines.push((
            "change",
            format!("{} {key} from {} to {} by {by}", text(&change["at"]), value("from"), value("to")),
        ));
    }
    for cause in others.iter().filter(|cause| cause["verdict"] == "ruled_out") {
        lines.push(("not", format!("{}: {}", text(&cause["code"]), told(cause))));
    }
    lines
}

impl Limit {
    fn read(of: &Value) -> Self {
        Self {
            name: text(&of["limit"]),
            used: of["used"].as_u64().unwrap_or(0),
            size: of["size"].as_u64(),
            gain: of["gain"].as_u64(),
            next: text(&of["next_limit"]),
            setting: text(&of["setting"]),
        }
    }
}

impl Holder {
    fn read(of: &Value) -> Self {
        let blocked = list(&of["blocked_by"]).first().and_then(Value::as_u64);
        let state = match (blocked, of["stuck"] == true) {
            (Some(pid), _) => format!("blocked by {pid}"),
            (None, true) => "stuck".to_owned(),
            (None, false) => text(&of["state"]).replace("idle_in_transaction", "idle in tx"),
        };
        Self {
            conn: of["conn"].as_u64().unwrap_or(0),
            pid: of["pid"].as_u64(),
            age_ms: of["age_ms"].as_u64().unwrap_or(0),
            state,
            application: text(&of["application"]),
            query: text(&of["query"]),
        }
    }
}

fn list(of: &Value) -> &[Value] {
    of.as_array().map_or(&[], Vec::as_slice)
}

/// What clients call themselves must not move the cursor.
fn text(of: &Value) -> String {
    plain(of.as_str().unwrap_or_default())
}

fn count(of: &Value) -> u32 {
    of.as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or(0)
}
