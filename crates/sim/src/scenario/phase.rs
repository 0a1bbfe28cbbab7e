//! `[[phase]]`: stretches of time, one after another; without any, one phase of the scenario's duration.

use std::time::Duration;

use super::Phase;
use super::read::LONGEST;
use super::table::{Faults, Section};

pub(super) fn phases(faults: &mut Faults<'_>, root: &Section<'_>, head: &Section<'_>) -> Vec<Phase> {
    let duration = faults.span(head, "duration");
    let written = faults.list(root, "phase");
    if written.is_empty() {
        let lasts = faults.needed(head, "duration", duration, "\"30s\"").unwrap_or(Duration::from_secs(1));
        bounded(faults, head, lasts);
        return vec![Phase { name: "all".to_owned(), begins: Duration::ZERO, lasts }];
    }
    let mut phases: Vec<Phase> = Vec::new();
    let mut begins = Duration::ZERO;
    for section in &written {
        faults.only(section, &["name", "for"]);
        let name = faults.text(section, "name");
        let name = faults.needed(section, "name", name, "\"storm\"").unwrap_or_default();
        if phases.iter().any(|phase| phase.name == name) {
            faults.add(
                "contradiction",
                section.place("name"),
                format!("two phases are named \"{name}\""),
                "give each a name of its own",
            );
        }
        let lasts = faults.span(section, "for");
        let lasts = faults.needed(section, "for", lasts, "\"30s\"").unwrap_or(Duration::from_secs(1));
        phases.push(Phase { name, begins, lasts });
        begins = begins.saturating_add(lasts);
    }
    bounded(faults, head, begins);
    if duration.is_some_and(|duration| duration != begins) {
        let message = "duration is not what the phases add up to".to_owned();
        faults.add("contradiction", head.place("duration"), message, "leave duration out: the phases say it");
    }
    phases
}

fn bounded(faults: &mut Faults<'_>, head: &Section<'_>, lasts: Duration) {
    if lasts > LONGEST {
        let message = "the scenario is longer than a day".to_owned();
        faults.add("wrong-value", head.place("duration"), message, "make it shorter");
    }
}
