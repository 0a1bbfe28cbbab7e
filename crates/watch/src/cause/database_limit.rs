//! `database_limit`: the database's limit over all its users binds. Raising the pool's size changes nothing.

use poolwarden_pool::Limit;

use super::{Judged, limit};
use crate::case::Case;

pub(super) fn judge(case: &Case<'_>, share: f64) -> Judged {
    limit::judge(case, share, Limit::Database, None)
}
