//! `client_limit`: clients are refused at the door: too many of them, no descriptors, no memory.

use poolwarden_pool::Limit;

use super::Judged;
use crate::case::Case;
use crate::remedy;
use crate::why::Evidence;

pub(super) fn judge(case: &Case<'_>, share: f64) -> Judged {
    let process = &case.view.process;
    let refused: u64 = case.process.refused_clients.iter().sum();
    let max = process.clients.max.map_or_else(|| "any number".to_owned(), |max| max.to_string());
    let evidence = vec![Evidence::new(
        format!("{} of {max} clients; {refused} refused at the door in the last seconds", process.clients.used),
        [("clients", process.clients.used as f64), ("refused", refused as f64)],
    )];
    let share = if refused > 0 && !case.troubled { 1.0 } else { share };
    Judged::by(share, evidence, || {
        let most = Limit::ALL.into_iter().max_by_key(|limit| case.process.refused_clients[limit.index()]);
        remedy::next_step(most.unwrap_or(Limit::MaxClients), &case.host.name, &case.pool.key)
    })
}
