//! Numbers for names: small ones, the same for as long as the process runs, told in each recording before their first use.

use std::collections::{BTreeMap, BTreeSet};

use poolwarden_pool::{HostId, Limit, PoolId, PoolKey};
use poolwarden_store::recording::{Name, NameKind};

/// What stands for every pool beyond those that have numbers.
const REST: u16 = u16::MAX;

/// A pool's name as recordings tell it.
pub(super) fn pool(server: &str, key: &PoolKey) -> String {
    format!("{server}\0{}\0{}", key.database, key.user)
}

/// All names and numbers.
#[derive(Debug, Default)]
pub(super) struct Names {
    pools: BTreeMap<(HostId, PoolId), u16>,
    by_name: BTreeMap<String, u16>,
    tenants: BTreeMap<u64, u16>,
    applications: Vec<Box<str>>,
    classes: Vec<String>,
    /// What the recording under way was told.
    told: BTreeSet<(NameKind, u16)>,
    /// What it must be told before what uses it.
    untold: Vec<Name>,
}

impl Names {
    /// A pool was made; pools of one name are one.
    pub(super) fn add_pool(&mut self, host: HostId, id: PoolId, name: String) {
        let next = u16::try_from(self.by_name.len()).unwrap_or(REST);
        let number = *self.by_name.entry(name).or_insert(next);
        self.pools.insert((host, id), number);
    }

    /// Somebody calls itself so; its number is found from 1 on.
    pub(super) fn add_tenant(&mut self, tenant: u64, name: Box<str>) {
        let number = u16::try_from(self.applications.len() + 1).unwrap_or(0);
        if number > 0 && !name.is_empty() {
            self.tenants.insert(tenant, number);
            self.applications.push(name);
        }
    }

    /// The classes of the configuration in force, by id.
    pub(super) fn classes(&mut self, classes: &[String]) {
        if self.classes != classes {
            self.classes = classes.to_vec();
            self.told.retain(|(kind, _)| *kind != NameKind::Class);
        }
    }

    /// Another recording begins: it knows no name yet but those of limits, which are numbered by this release.
    pub(super) fn begin(&mut self) {
        self.told.clear();
        self.untold.clear();
        for limit in Limit::ALL {
            self.tell(NameKind::Limit, limit.index() as u16, limit.name().to_owned()); // sixteen of them
        }
    }

    /// The number of a pool.
    pub(super) fn pool(&mut self, host: HostId, id: PoolId) -> u16 {
        let number = self.pools.get(&(host, id)).copied().unwrap_or(REST);
        if !self.told.contains(&(NameKind::Pool, number)) {
            let found = self.by_name.iter().find(|(_, of)| **of == number && number != REST);
            let name = found.map_or_else(|| "\0\0".to_owned(), |(name, _)| name.clone());
            self.tell(NameKind::Pool, number, name);
        }
        number
    }

    /// The number of a class, which is its id.
    pub(super) fn class(&mut self, id: u8) -> u8 {
        let number = u16::from(id);
        if !self.told.contains(&(NameKind::Class, number)) {
            let name = self.classes.get(usize::from(id)).cloned().unwrap_or_default();
            self.tell(NameKind::Class, number, name);
        }
        id
    }

    /// The number of an application; 0 is none, or one that is not known.
    pub(super) fn application(&mut self, tenant: u64) -> u16 {
        let Some(number) = self.tenants.get(&tenant).copied() else { return 0 };
        if !self.told.contains(&(NameKind::Application, number)) {
            let name = self.applications[usize::from(number) - 1].to_string();
            self.tell(NameKind::Application, number, name);
        }
        number
    }

    /// Names that the recording must be told before what uses them.
    pub(super) fn untold(&mut self) -> Vec<Name> {
        std::mem::take(&mut self.untold)
    }

    fn tell(&mut self, kind: NameKind, number: u16, text: String) {
        self.told.insert((kind, number));
        self.untold.push(Name { kind, number, text });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: HostId = HostId(0);

    fn key(database: &str) -> PoolKey {
        PoolKey { database: database.to_owned(), user: "web".to_owned() }
    }

    fn told(names: &mut Names) -> Vec<(NameKind, u16, String)> {
        names.untold().into_iter().map(|name| (name.kind, name.number, name.text)).collect()
    }

    #[test]
    fn a_name_is_told_once_in_each_recording_before_its_first_use() {
        let mut names = Names::default();
        names.classes(&["default".to_owned(), "batch".to_owned()]);
        names.add_pool(HOST, PoolId(0), pool("main", &key("shop")));
        names.add_pool(HOST, PoolId(1), pool("main", &key("stock")));
        names.add_pool(HostId(1), PoolId(0), pool("far", &key("shop")));
        names.add_pool(HOST, PoolId(7), pool("main", &key("stock"))); // of one client alone
        names.add_tenant(77, "rails".into());
        names.add_tenant(78, "".into());
        for _ in 0..2 {
            names.begin();
            let limits = told(&mut names);
            assert_eq!((limits.len(), limits[0].2.as_str()), (16, "pool_size"));
            assert_eq!((names.pool(HOST, PoolId(1)), names.pool(HOST, PoolId(7))), (1, 1));
            assert_eq!(
                (names.class(1), names.application(77), names.application(78), names.application(79)),
                (1, 1, 0, 0)
            );
            assert_eq!(
                told(&mut names),
                [
                    (NameKind::Pool, 1, "main\0stock\0web".to_owned()),
                    (NameKind::Class, 1, "batch".to_owned()),
                    (NameKind::Application, 1, "rails".to_owned()),
                ]
            );
            assert_eq!((names.pool(HOST, PoolId(1)), names.class(1), names.application(77)), (1, 1, 1));
            assert_eq!(told(&mut names), []);
            assert_eq!(names.pool(HostId(1), PoolId(0)), 2);
            assert_eq!(told(&mut names), [(NameKind::Pool, 2, "far\0shop\0web".to_owned())]);
        }
        // another configuration may have other classes
        names.classes(&["default".to_owned(), "nightly".to_owned()]);
        names.class(1);
        assert_eq!(told(&mut names), [(NameKind::Class, 1, "nightly".to_owned())]);
    }

    #[test]
    fn a_pool_nobody_knows_is_told_as_that() {
        let mut names = Names::default();
        assert_eq!(names.pool(HOST, PoolId(3)), REST);
        assert_eq!(told(&mut names), [(NameKind::Pool, REST, "\0\0".to_owned())]);
    }
}
