//! Servers that come and go with a reload: what is told to those that come, and what is said of both beforehand.

use std::collections::BTreeMap;

use poolwarden_config::{Config, Server};
use poolwarden_pool::{ClassId, HostId, HostSnapshot, Slots};
use poolwarden_proxy::Proxy;

use super::said::Said;

/// Servers of `of` that `other` does not have.
fn only<'a>(of: &'a Config, other: &'a Config) -> impl Iterator<Item = &'a Server> {
    of.servers.iter().filter(|server| other.servers.iter().all(|there| there.id != server.id))
}

/// Servers that have just come hear what operators have said to all: who comes back may have missed that it was taken back.
/// `before`: what the cores knew before they came.
pub(super) fn arrived(proxy: &Proxy, old: &Config, new: &Config, said: &Said, before: &BTreeMap<HostId, HostSnapshot>) {
    let left = |class: ClassId| {
        let shed = before.values().flat_map(|host| &host.shed).filter(|(shed, _)| *shed == class);
        shed.map(|(_, left)| *left).max().unwrap_or_default()
    };
    for server in only(new, old) {
        for (verb, name) in said.words() {
            proxy.admin(server.id, verb, name.map(str::to_owned));
        }
        for (class, ..) in new.classes_by_id() {
            proxy.shed(server.id, class, proxy.now() + left(class)); // no time at all ends it
        }
    }
}

/// What ends, in a sentence for each server that goes; `before`: what the cores know now.
pub(super) fn ends(old: &Config, new: &Config, before: &BTreeMap<HostId, HostSnapshot>) -> Vec<String> {
    let of = |server: &Server| {
        let pools = before.get(&server.id).map_or(&[][..], |host| &host.pools);
        let count = |count: fn(&Slots) -> u32| pools.iter().map(|pool| count(&pool.slots)).sum::<u32>();
        let (lent, waiting) = (count(|slots| slots.lent), pools.iter().map(|pool| pool.waiting).sum::<u32>());
        format!(
            "server {} goes, and its pools end: {waiting} waiting requests are refused, {lent} lent connections are closed when they \
             come back, {} others at once",
            server.name,
            count(Slots::counted) - lent
        )
    };
    only(old, new).map(of).collect()
}

/// What begins, in a sentence for each server that comes.
pub(super) fn begins(old: &Config, new: &Config) -> Vec<String> {
    let of = |server: &Server| {
        let pools = new.pools.iter().filter(|(_, pool)| new.servers[pool.server].id == server.id);
        let names: Vec<&str> = pools.map(|(name, _)| name.as_str()).collect();
        match names.as_slice() {
            [] => format!("server {} comes, and no pool is on it", server.name),
            names => format!("server {} comes: pool {} begins with its first client", server.name, names.join(", ")),
        }
    };
    only(new, old).map(of).collect()
}

#[cfg(test)]
mod tests {
    use poolwarden_pool::{DatabaseSettings, Host, HostSettings, Input, PoolKey, Time};

    use super::*;

    fn config(names: &[&str]) -> Config {
        let table = |name: &&str| format!("[servers.{name}]\nhost = \"db\"\n[pools.of_{name}]\nserver = \"{name}\"\n");
        let (config, findings) =
            Config::parse(&names.iter().map(table).collect::<String>(), |_| Err("none".to_owned()));
        config.unwrap_or_else(|| panic!("{findings:?}"))
    }

    #[test]
    fn who_comes_and_who_goes_is_told_by_name_whatever_the_place_in_the_file() {
        let old = config(&["main", "reports"]);
        let mut new = config(&["archive", "main"]);
        new.keep_server_ids(&old).expect("there is room");
        assert_eq!(begins(&old, &new), ["server archive comes: pool of_archive begins with its first client"]);
        let mut host = Host::new(HostSettings::default(), 1);
        let before = BTreeMap::from([(HostId(1), host.snapshot(Time::ZERO))]);
        let idle = "server reports goes, and its pools end: 0 waiting requests are refused, 0 lent connections are closed when they \
                    come back, 0 others at once";
        assert_eq!(ends(&old, &new, &before), [idle]);
        let mut settings = HostSettings::default();
        settings.databases.insert("of_reports".into(), DatabaseSettings::default());
        host.handle(Time::ZERO, Input::Apply(Box::new(settings)));
        host.handle(Time::ZERO, Input::Enter(PoolKey { database: "of_reports".into(), user: "web".into() }));
        let mut snapshot = host.snapshot(Time::ZERO);
        snapshot.pools[0].waiting = 3;
        snapshot.pools[0].slots = Slots { lent: 2, idle: 5, ..Slots::default() };
        let busy = ends(&old, &new, &BTreeMap::from([(HostId(1), snapshot)])).remove(0);
        assert!(busy.contains("3 waiting") && busy.contains("2 lent") && busy.contains("5 others"), "{busy}");
        assert_eq!((ends(&old, &old, &before).len(), begins(&new, &new).len()), (0, 0));
    }
}
