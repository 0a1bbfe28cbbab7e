//! The files that come along with a pgbouncer.ini or a PostgreSQL: HBA rules, ident maps, lists of users.
//!
//! What is not understood is a fault and never left out: a text without a fault must say the same when its lines are read
//! one by one.

use poolwarden_config::{LineFinding, hba, ident, userlist};

pub(crate) fn run(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    match kind % 3 {
        0 => {
            let (rules, faults) = hba::parse(text);
            assert!(rules.is_sorted_by_key(|rule| rule.line), "rules count in their order");
            placed(text, &faults);
            assert_eq!(hba::parse(text), (rules, faults));
        }
        1 => {
            let (lines, faults) = ident::parse(text);
            placed(text, &faults);
            assert_eq!(format!("{lines:?}"), format!("{:?}", ident::parse(text).0));
        }
        _ => {
            let (users, faults) = userlist::parse(text);
            placed(text, &faults);
            let mut names: Vec<&str> = users.iter().map(|listed| listed.user.as_str()).collect();
            names.sort_unstable();
            assert!(names.is_sorted_by(|a, b| a < b), "each user once: {names:?}");
            assert!(!names.contains(&""), "nobody without a name");
        }
    }
}

/// Every fault stands on a line there is.
fn placed(text: &str, faults: &[LineFinding]) {
    let lines = text.split('\n').count();
    for fault in faults {
        assert!((1..=lines.max(1)).contains(&fault.line), "{fault:?} of {lines}");
        assert!(!fault.message.is_empty());
    }
}
