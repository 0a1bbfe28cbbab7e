//! A unit of systemd: how many files the process that it starts may open.

use std::collections::BTreeMap;

use super::Unread;
use super::draft::Draft;
use crate::review::dossier::Facts;

/// No bound that a rule could compare.
const UNLIMITED: &str = "infinity";

/// Reads one file. The soft limit is the one that holds: of `1024:524288` the first.
pub(super) fn read(file: usize, text: &str, out: &mut Draft) -> Result<(), Unread> {
    let name = out.dossier.texts.get(file).map_or_else(String::new, |text| text.name.clone());
    let value = |line: &str| {
        let value = line.trim().strip_prefix("LimitNOFILE")?.trim_start().strip_prefix('=')?;
        Some(value.split(':').next().unwrap_or(value).trim().into())
    };
    // the last one holds
    let is_limit = |value: &String| value == UNLIMITED || value.parse::<u64>().is_ok();
    let limit = text.lines().filter_map(value).next_back().filter(is_limit);
    let Some(limit) = limit else {
        return Err("no LimitNOFILE = NUMBER in it: systemctl show -p LimitNOFILESoft tells what holds".into());
    };
    if limit == UNLIMITED {
        return Ok(());
    }
    out.dossier.facts.push(Facts { name, facts: BTreeMap::from([("process.fd_limit".to_owned(), limit)]) });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Input, gather};

    fn limit(text: &str) -> Result<Option<String>, String> {
        let input = Input::File { name: "pgbouncer.service".to_owned(), text: text.to_owned() };
        let out = gather(&[input], &mut |_| Err(String::new()));
        match out.unreadable.first() {
            Some((_, why)) => Err(why.clone()),
            None => Ok(out.dossier.facts.first().and_then(|facts| facts.facts.get("process.fd_limit").cloned())),
        }
    }

    #[test]
    fn the_last_soft_limit_holds() {
        assert_eq!(limit("[Service]\nLimitNOFILE=512\nLimitNOFILE = 1024:524288\n"), Ok(Some("1024".to_owned())));
        assert!(limit("[Service]\nExecStart=/usr/sbin/pgbouncer\n").unwrap_err().contains("LimitNOFILE"));
        assert_eq!(limit("[Service]\nLimitNOFILE=512\nLimitNOFILE=infinity\n"), Ok(None));
    }
}
