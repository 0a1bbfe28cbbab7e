//! PgBouncer's `user`: root starts the process, and it becomes somebody else before anything else happens.
//!
//! Linux keeps identities per thread, and threads inherit them: this is done while there is only one.

use std::path::Path;

use anyhow::{Context, bail};
use rustix::process::{Gid, Uid, getuid};
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};

/// One line of a passwd file.
#[derive(Debug, PartialEq, Eq)]
struct Account {
    name: String,
    user: u32,
    group: u32,
}

/// Becomes this user with its groups; nothing happens where the process is that user already.
///
/// # Errors
/// There is no such user, the process may not, or it has threads already.
pub(super) fn become_user(name: &str) -> anyhow::Result<()> {
    let account =
        account(&read("/etc/passwd")?, name).with_context(|| format!("user = {name}: no such user in /etc/passwd"))?;
    if getuid().as_raw() == account.user {
        return Ok(());
    }
    if !getuid().is_root() {
        bail!("user = {name}: only root can become another user; start as root, start as {name}, or remove the line");
    }
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads > 1 {
        bail!("user = {name}: {threads} threads run already, and each would have to change by itself");
    }
    let say = || format!("user = {name}: the system does not let go of root");
    let groups = groups(&read("/etc/group")?, &account);
    set_thread_groups(&groups.into_iter().map(Gid::from_raw).collect::<Vec<_>>()).with_context(say)?;
    set_thread_gid(Gid::from_raw(account.group)).with_context(say)?;
    set_thread_uid(Uid::from_raw(account.user)).with_context(say)?;
    if set_thread_uid(Uid::ROOT).is_ok() {
        bail!("user = {name}: root could be had back, so it was not given up");
    }
    Ok(())
}

fn read(path: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(Path::new(path)).with_context(|| format!("cannot read {path}"))
}

/// By name, or by number where no name is like that.
fn account(passwd: &str, wanted: &str) -> Option<Account> {
    let parse = |line: &str| {
        let mut fields = line.split(':');
        let (name, user, group) = (fields.next()?, fields.nth(1)?, fields.next()?);
        Some(Account { name: name.to_owned(), user: user.parse().ok()?, group: group.parse().ok()? })
    };
    let all: Vec<Account> = passwd.lines().filter_map(parse).collect();
    let number = wanted.parse::<u32>().ok();
    let at = all.iter().position(|account| account.name == wanted);
    let at = at.or_else(|| all.iter().position(|account| Some(account.user) == number))?;
    all.into_iter().nth(at)
}

/// The user's own group, and those that list it.
fn groups(group: &str, account: &Account) -> Vec<u32> {
    let lists = |line: &str| -> Option<u32> {
        let mut fields = line.split(':');
        let (number, members) = (fields.nth(2)?, fields.next()?);
        members.split(',').any(|member| member == account.name).then(|| number.parse().ok())?
    };
    let mut groups = vec![account.group];
    groups.extend(group.lines().filter_map(lists).filter(|number| *number != account.group));
    groups
}

/// The number of a group, by name or as a number.
pub(super) fn group_id(name: &str) -> anyhow::Result<u32> {
    let text = read("/etc/group")?;
    let named = |line: &str| -> Option<u32> {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    };
    let found = text.lines().find_map(named).or_else(|| name.parse().ok());
    found.with_context(|| format!("unix_socket_group = {name}: no such group in /etc/group"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\npostgres:x:105:112::/var/lib/postgresql:/bin/bash\n\
                          broken\n105:x:7:7::/:/bin/sh\n";

    #[test]
    fn users_are_found_by_name_and_then_by_number() {
        let postgres = || Account { name: "postgres".into(), user: 105, group: 112 };
        assert_eq!(account(PASSWD, "postgres"), Some(postgres()));
        assert_eq!(account(PASSWD, "105").unwrap().user, 7, "a name that is a number is a name");
        assert_eq!(account(PASSWD, "0").unwrap().name, "root");
        assert_eq!(account(PASSWD, "nobody"), None);
        let group = "ssl-cert:x:110:app,postgres\npostgres:x:112:postgres\nadm:x:4:app\n";
        assert_eq!(groups(group, &postgres()), [112, 110]);
    }

    #[test]
    fn who_is_not_root_can_only_stay_who_it_is() {
        assert!(become_user("no-such-user-here").unwrap_err().to_string().contains("no such user"));
        assert!(group_id("no-such-group-here").is_err());
        assert_eq!(group_id("4711").unwrap(), 4711);
        let me = getuid().as_raw().to_string();
        become_user(&me).unwrap();
    }
}
