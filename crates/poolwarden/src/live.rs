//! What runs, asked for the review: facts as `key = value`, under names that rules know. Passwords are never in them.

mod console;
mod http;
mod machine;
mod own;
mod postgres;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{anyhow, bail};
use poolwarden_config::review::Facts;
use poolwarden_proxy::Talk;

use crate::app::outward;

pub(crate) use own::own;

/// An answer that takes longer is none: who waits for it is a person or a CI job.
const PATIENCE: Duration = Duration::from_secs(20);

/// Databases by which a pooler's console is asked for.
const CONSOLES: [&str; 2] = ["pgbouncer", "poolwarden"];

/// What was told.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) facts: Facts,
    /// What it would not tell, in words with what to do.
    pub(crate) unseen: Vec<String>,
}

/// Facts while they are gathered.
#[derive(Debug, Default)]
struct Draft {
    facts: BTreeMap<String, String>,
    unseen: Vec<String>,
}

impl Draft {
    fn put(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.facts.insert(key.into(), value.into());
    }
}

/// The fact that a setting of a running pooler is: a poolwarden that runs a pgbouncer.ini has settings by PgBouncer's names, which
/// have no section before them, and is compared with that file.
fn setting(key: &str) -> String {
    let whose = if key.contains('.') { "poolwarden" } else { "pgbouncer" };
    format!("{whose}.config.{key}")
}

/// Asks what a URL names. `pooled` says of a database whether one of the poolers that are reviewed serves it, where that is known.
pub(crate) fn ask(url: &str, pooled: &dyn Fn(&str) -> Option<bool>) -> anyhow::Result<Told> {
    let name = shown(url);
    let asked = if url.starts_with("http://") || url.starts_with("https://") {
        http::ask(url)
    } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        talk(url, pooled)
    } else {
        let forms = "postgres://user@host/database, postgres://user@host/pgbouncer or http://host:9432";
        bail!("--live {name}: write it as {forms}");
    };
    let Draft { facts, unseen } = asked.map_err(|why| anyhow!("--live {name}: {why:#}"))?;
    Ok(Told { facts: Facts { name, facts }, unseen })
}

fn talk(url: &str, pooled: &dyn Fn(&str) -> Option<bool>) -> anyhow::Result<Draft> {
    let (plan, credentials) = outward::visit(url)?;
    let is_console = CONSOLES.contains(&credentials.database.as_str());
    let address = plan.address.to_string();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let conversation = async {
        let mut talk = Talk::begin(&plan, credentials).await.map_err(|why| anyhow!(why))?;
        let told = if is_console {
            console::ask(&mut talk, machine::is_here(&address)).await
        } else {
            postgres::ask(&mut talk, &address, pooled).await
        };
        talk.end().await;
        told
    };
    let late = || Err(anyhow!("no answer within {}s", PATIENCE.as_secs()));
    runtime.block_on(async { tokio::time::timeout(PATIENCE, conversation).await.unwrap_or_else(|_| late()) })
}

/// A URL as it may be shown: without its password, wherever that stands.
fn shown(url: &str) -> String {
    let (rest, query) = url.split_once('?').map_or((url, None), |(rest, query)| (rest, Some(query)));
    let (scheme, rest) = rest.split_once("://").map_or(("", rest), |(scheme, rest)| (scheme, rest));
    // Whatever stands before the last @ is a login, also where its password has a slash.
    let (login, place) = rest.rsplit_once('@').map_or((None, rest), |(login, place)| (Some(login), place));
    let user = login.map(|login| login.split(':').next().unwrap_or_default());
    let kept = |pair: &&str| {
        !pair.to_ascii_lowercase().starts_with("pass") && !pair.to_ascii_lowercase().starts_with("sslpass")
    };
    let query: Vec<&str> = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).filter(kept).collect();
    let mut out = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    if let Some(user) = user {
        out.push_str(&format!("{user}@"));
    }
    out.push_str(place);
    if !query.is_empty() {
        out.push_str(&format!("?{}", query.join("&")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        let table = [
            ("postgres://app:hunter2@db:5432/shop?sslmode=require", "postgres://app@db:5432/shop?sslmode=require"),
            ("postgres://app:hun/ter2@x@db/shop", "postgres://app@db/shop"),
            ("postgres://db/shop?user=app&password=hunter2", "postgres://db/shop?user=app"),
            ("postgresql:///shop?host=/run", "postgresql:///shop?host=/run"),
            ("http://127.0.0.1:9432", "http://127.0.0.1:9432"),
            ("nonsense", "nonsense"),
        ];
        for (url, expected) in table {
            assert_eq!(shown(url), expected, "{url}");
        }
        let refused = ask("mysql://app:hunter2@db", &|_| None).unwrap_err().to_string();
        assert!(refused.contains("postgres://user@host/database") && !refused.contains("hunter2"), "{refused}");
    }
}
