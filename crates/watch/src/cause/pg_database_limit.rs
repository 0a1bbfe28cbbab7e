//! `pg_database_limit`: PostgreSQL's CONNECTION LIMIT of the database. Superusers are not counted against it.

use poolwarden_pool::Limit;

use super::{Judged, limit};
use crate::case::Case;
use crate::why::Evidence;

pub(super) fn judge(case: &Case<'_>, share: f64) -> Judged {
    let traffic = case.view.traffic.iter().find(|of| of.host == case.host_index() && of.pool == case.pool.id);
    let database = traffic.map_or(case.pool.key.database.as_str(), |of| of.server_database.as_str());
    let activity = case.host.activity.as_ref();
    let quota = activity.and_then(|of| of.databases.iter().find(|quota| quota.name == database));
    let more = quota.map(|quota| {
        Evidence::new(
            format!("PostgreSQL: database {} has {} of {} connections", quota.name, quota.used, quota.size),
            [("backends", f64::from(quota.used)), ("connection_limit", f64::from(quota.size))],
        )
    });
    limit::judge(case, share, Limit::PgDatabase, more)
}
