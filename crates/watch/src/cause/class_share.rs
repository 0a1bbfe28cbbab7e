//! `class_share`: what is left for this class beside the reserves of others is used up.

use poolwarden_pool::Limit;

use super::{Judged, limit};
use crate::case::Case;

pub(super) fn judge(case: &Case<'_>, share: f64) -> Judged {
    limit::judge(case, share, Limit::ClassShare, None)
}
