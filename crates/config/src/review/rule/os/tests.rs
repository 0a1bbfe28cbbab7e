//! Constants that a fixture does not pin from both sides.

use crate::review::dossier::Facts;
use crate::review::{Input, gather, review};

fn said(facts: &[(&str, &str)], code: &str) -> usize {
    let facts = facts.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let inputs = [Input::Facts(Facts { name: "told".to_owned(), facts })];
    let of = gather(&inputs, &mut |path| Err(path.to_owned())).dossier;
    review(&of).findings.into_iter().filter(|finding| finding.code == code).count()
}

#[test]
fn a_core_is_full_above_four_fifths() {
    let of = |busy| said(&[("pgbouncer.core_busy", busy)], "OS-04");
    assert_eq!([of("0.79"), of("0.8"), of("0.81")], [0, 0, 1]);
    assert_eq!(said(&[("poolwarden.core_busy", "0.95"), ("pgbouncer.core_busy", "0.1")], "OS-04"), 1);
}
