//! `pg_database_limit`: PostgreSQL's CONNECTION LIMIT of the database. Superusers are not counted against it.

use poolwarden_pool::Limit;

use super::{Judged, limit};
use crate::case::Case;
use crate::why::Evidence;

pub(super) fn judge(case: &Case<'_>, share: f64) -> Judged {
    let more = case.quota(Limit::PgDatabase).map(|quota| {
        Evidence::new(
            format!("PostgreSQL: database {} has {} of {} connections", quota.name, quota.used, quota.size),
            [("backends", f64::from(quota.used)), ("connection_limit", f64::from(quota.size))],
        )
    });
    limit::judge(case, share, Limit::PgDatabase, more)
}
