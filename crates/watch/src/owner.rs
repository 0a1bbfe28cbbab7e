//! Who holds connections of one use: leases by application, those with most first.

use std::collections::BTreeMap;

use crate::case::Case;
use crate::occupancy::Use;

/// One application's part.
pub(crate) struct Owner {
    pub(crate) application: String,
    pub(crate) count: u32,
    /// The longest in its present state.
    pub(crate) longest_us: u64,
}

/// Applications that hold connections used so, most connections first.
pub(crate) fn owners(case: &Case<'_>, wanted: impl Fn(Use) -> bool) -> Vec<Owner> {
    let yard = case.memory.yardstick();
    let mut by_name: BTreeMap<&str, (u32, u64)> = BTreeMap::new();
    for (_, lease) in case.leases().filter(|(server, lease)| wanted(case.backends.usage(server, lease, yard))) {
        let (count, longest) = by_name.entry(&lease.application).or_default();
        *count += 1;
        *longest = lease.state_us.max(*longest);
    }
    let owner =
        |(name, (count, longest_us)): (&str, (u32, u64))| Owner { application: name.to_owned(), count, longest_us };
    let mut owners: Vec<Owner> = by_name.into_iter().map(owner).collect();
    owners.sort_by(|a, b| b.count.cmp(&a.count).then(a.application.cmp(&b.application)));
    owners
}
