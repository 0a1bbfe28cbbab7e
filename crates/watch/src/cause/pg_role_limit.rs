//! `pg_role_limit`: PostgreSQL's CONNECTION LIMIT of the role. A superuser's psql works while the application fails.

use poolwarden_pool::Limit;

use super::{Judged, limit};
use crate::case::Case;
use crate::why::Evidence;

pub(super) fn judge(case: &Case<'_>, share: f64) -> Judged {
    let more = case.quota(Limit::PgRole).map(|quota| {
        Evidence::new(
            format!("PostgreSQL: role {} has {} of {} connections", quota.name, quota.used, quota.size),
            [("backends", f64::from(quota.used)), ("connection_limit", f64::from(quota.size))],
        )
    });
    limit::judge(case, share, Limit::PgRole, more)
}
