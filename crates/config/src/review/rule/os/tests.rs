//! Constants that a fixture does not pin from both sides.

use crate::review::dossier::Facts;
use crate::review::{Finding, Input, gather, review};

fn found(files: &[(&str, &str)], facts: &[(&str, &str)], code: &str) -> Vec<Finding> {
    let facts = facts.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let files = files.iter().map(|(name, text)| Input::File { name: (*name).to_owned(), text: (*text).to_owned() });
    let inputs: Vec<Input> = files.chain([Input::Facts(Facts { name: "told".to_owned(), facts })]).collect();
    let of = gather(&inputs, &mut |path| Err(path.to_owned())).dossier;
    review(&of).findings.into_iter().filter(|finding| finding.code == code).collect()
}

fn said(facts: &[(&str, &str)], code: &str) -> usize {
    found(&[], facts, code).len()
}

#[test]
fn a_core_is_full_above_four_fifths() {
    let of = |busy| said(&[("pgbouncer.core_busy", busy)], "OS-04");
    assert_eq!([of("0.79"), of("0.8"), of("0.81")], [0, 0, 1]);
    assert_eq!(said(&[("poolwarden.core_busy", "0.95"), ("pgbouncer.core_busy", "0.1")], "OS-04"), 1);
}

#[test]
fn twice_as_many_processes_are_advised() {
    let busy = [("pgbouncer.core_busy", "0.9")];
    let ini = ("pgbouncer.ini", "[databases]\napp = host=db\n\n[pgbouncer]\ndefault_pool_size = 20\n");
    let three = ("topology.toml", "[topology.pooler]\ninstances = 3\n");
    for (files, advised) in [(&[][..], 2), (&[ini], 2), (&[ini, three], 6)] {
        let found = found(files, &busy, "OS-04");
        let fix = &found[0].fix.text;
        assert!(
            fix.starts_with(&format!("run {advised} processes ")) && fix.ends_with(&format!(" by {advised}")),
            "{fix}"
        );
    }
}
