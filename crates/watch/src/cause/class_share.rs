//! `class_share`: what is left beside the reserves of other classes is used up, or it is kept for applications whose requests are
//! shorter.

use poolwarden_pool::Limit;

use super::{Judged, limit};
use crate::case::Case;
use crate::why::Evidence;

pub(super) fn judge(case: &Case<'_>, share: f64) -> Judged {
    let reserved = case.view.classes.iter().any(|class| class.reserve > 0);
    let more = (share > 0.0 && !reserved).then(|| {
        Evidence::said(
            "no class has a reserve: connections are held back from an application that holds them for far longer than others",
        )
    });
    limit::judge(case, share, Limit::ClassShare, more)
}
