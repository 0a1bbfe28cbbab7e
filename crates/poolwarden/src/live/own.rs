//! What a running poolwarden knows without asking anybody: the same facts that `--live` of its HTTP address gives, and what the
//! watch connections have told of their servers. Nothing is asked for a review.

use std::collections::BTreeMap;

use poolwarden_config::Config;
use poolwarden_config::review::Facts;
use poolwarden_console::http::config_json;
use poolwarden_console::metrics::{self, Scrape};
use poolwarden_console::why::{self, Texts};
use poolwarden_watch::HostView;

use super::{Draft, http, machine};
use crate::review::BACKENDS_IN;

/// Facts of the process, then of each server that a watch connection sees. `failed`: the last reload was refused.
pub(crate) fn own(config: &Config, scrape: &Scrape, failed: bool) -> Vec<Facts> {
    let mut draft = Draft::default();
    http::measured(&http::read(&metrics::encode(scrape)), scrape.view.now_ms as f64 / 1e3, &mut draft);
    let why = why::json(&scrape.why, Texts::Hidden);
    http::rates(&why, &mut draft);
    http::judged(&why, &mut draft);
    http::settings(&config_json(&scrape.view), &mut draft);
    if failed {
        draft.put("poolwarden.reload_failed", "true");
    }
    if scrape.standing.drift.as_ref().is_some_and(|drift| drift.lasts(scrape.view.now_ms)) {
        // it is compared elsewhere; here it is enough that it is another one
        draft.put("poolwarden.file_hash", "another");
    }
    machine::told(&mut draft);
    let process = Facts { name: "this process".to_owned(), facts: draft.facts };
    let watched = scrape.view.hosts.iter().filter_map(|host| {
        let server = config.servers.iter().find(|server| server.id == host.id)?;
        let watch = server.watch.as_ref().map(|login| login.user.as_str());
        Some(Facts { name: format!("the watch connection of {}", host.name), facts: watched(host, watch)? })
    });
    std::iter::once(process).chain(watched).collect()
}

/// What one server told. Its reserves are told only as a sum, so that they stay as declared; of the watch's own role no rule is
/// to judge by half of what there is to know.
fn watched(host: &HostView, watch: Option<&str>) -> Option<BTreeMap<String, String>> {
    let activity = host.activity.as_ref()?;
    let mut draft = Draft::default();
    draft.put("pg.address", &*host.name);
    draft.put("pg.setting.max_connections", activity.max_connections.to_string());
    for role in activity.roles.iter().filter(|role| watch != Some(role.name.as_str())) {
        draft.put(format!("pg.role.{}.connection_limit", role.name), role.size.to_string());
    }
    for database in &activity.databases {
        draft.put(format!("pg.database.{}.connection_limit", database.name), database.size.to_string());
    }
    if activity.unlisted == 0 {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for backend in activity.backends.iter().filter(|backend| !backend.own) {
            *counts.entry(&backend.database).or_default() += 1;
        }
        for (database, count) in counts {
            draft.put(format!("{BACKENDS_IN}{database}"), count.to_string());
        }
    }
    Some(draft.facts)
}

#[cfg(test)]
mod tests {
    use poolwarden_pool::{HostId, HostSnapshot};
    use poolwarden_watch::{Activity, Backend, ConfigView, Quota, View};

    use poolwarden_console::standing::Drift;

    use super::*;

    fn snapshot() -> HostSnapshot {
        HostSnapshot {
            pools: Vec::new(),
            budget: 80,
            used: 0,
            connects: (0, 4),
            down: false,
            moved: 0,
            evicted: 0,
            retired: (0, 0, 0),
            shed: Vec::new(),
        }
    }

    fn host(activity: Option<Activity>) -> HostView {
        let (name, address) = ("main".to_owned(), "db".to_owned());
        HostView {
            id: HostId(0),
            name,
            address,
            port: 5432,
            snapshot: snapshot(),
            facts: None,
            activity,
            watch_error: None,
        }
    }

    fn config() -> Config {
        let text = "[servers.main]\nhost = \"db\"\n[servers.main.watch]\nuser = \"watch\"\npassword_env = \"W\"\n\
                    [pools.app]\nserver = \"main\"\n";
        let (config, findings) = Config::parse(text, |_| Ok("x".to_owned()));
        config.unwrap_or_else(|| panic!("{findings:?}"))
    }

    #[test]
    fn a_file_that_is_not_what_runs_is_a_fact_once_it_is_more_than_an_edit_under_way() {
        let config = Config::from_url("postgres://app@db/app").expect("a configuration");
        let told = |now_ms: u64| {
            let mut scrape = Scrape { view: View { now_ms, ..View::default() }, ..Scrape::default() };
            scrape.standing.drift = Some(Drift { since_ms: 0, why: "it differs".to_owned() });
            own(&config, &scrape, false)[0].facts.contains_key("poolwarden.file_hash")
        };
        assert_eq!([told(14_000), told(16_000)], [false, true]);
    }

    #[test]
    fn the_process_tells_its_settings_and_each_watch_its_server() {
        let backend = |database: &str, own| Backend { database: database.to_owned(), own, ..Backend::default() };
        let quota = |name: &str, size| Quota { name: name.to_owned(), size, used: 1 };
        let activity = Activity {
            max_connections: 100,
            roles: vec![quota("app", 20), quota("watch", 3)],
            databases: vec![quota("shop", 50)],
            backends: vec![backend("app", true), backend("metrics", false), backend("metrics", false)],
            ..Activity::default()
        };
        let setting =
            |key: &str, value: &str| ConfigView { key: key.into(), value: value.into(), ..ConfigView::default() };
        let config_view = vec![setting("pools.app.size", "20"), setting("listen_backlog", "128")];
        let view = View { hosts: vec![host(Some(activity))], config: config_view, ..View::default() };
        let scrape = Scrape { view, ..Scrape::default() };
        let told = own(&config(), &scrape, true);
        let [process, watch] = told.as_slice() else { panic!("{told:?}") };
        let of = |key: &str| process.facts.get(key).map(String::as_str);
        assert_eq!(of("poolwarden.config.pools.app.size"), Some("20"));
        assert_eq!(of("pgbouncer.config.listen_backlog"), Some("128"), "a setting by PgBouncer's name");
        assert_eq!((of("process.backlog"), of("poolwarden.reload_failed")), (Some("128"), Some("true")));
        assert!(of("host.cores").is_some());
        let said: Vec<String> = watch.facts.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        let expected = "pg.address = main\npg.backends.in.metrics = 2\npg.database.shop.connection_limit = 50\n\
                        pg.role.app.connection_limit = 20\npg.setting.max_connections = 100";
        assert_eq!((&*watch.name, said.join("\n").as_str()), ("the watch connection of main", expected));
    }

    #[test]
    fn without_a_watch_or_with_too_many_backends_less_is_told() {
        let blind = Scrape { view: View { hosts: vec![host(None)], ..View::default() }, ..Scrape::default() };
        let told = own(&config(), &blind, false);
        assert_eq!(told.len(), 1);
        assert!(!told[0].facts.contains_key("poolwarden.reload_failed"));
        let backends = vec![Backend { database: "metrics".into(), ..Backend::default() }];
        let crowded = host(Some(Activity { unlisted: 1, backends, ..Activity::default() }));
        let facts = watched(&crowded, None).unwrap_or_default();
        assert!(!facts.keys().any(|key| key.starts_with(BACKENDS_IN)), "{facts:?}");
    }
}
