//! `[[slo]]`: what must hold of a group in some phases.

use std::time::Duration;

use super::table::{Faults, Section};
use super::{Group, Phase, Slo};

/// What was read before.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) groups: &'a [Group],
    pub(super) phases: &'a [Phase],
    pub(super) capacity: Option<f64>,
    pub(super) normal_p99: Option<Duration>,
}

const BOUNDS: [&str; 7] =
    ["served", "p99", "p99_holds", "goodput", "recover_within", "refused_at_least", "wrong_at_most"];

pub(super) fn slos(faults: &mut Faults<'_>, root: &Section<'_>, known: Known<'_>) -> Vec<Slo> {
    faults.list(root, "slo").iter().map(|section| slo(faults, section, known)).collect()
}

fn slo(faults: &mut Faults<'_>, section: &Section<'_>, known: Known<'_>) -> Slo {
    faults.only(section, &[&["group", "phases"][..], &BOUNDS[..]].concat());
    if !BOUNDS.iter().any(|bound| section.has(bound)) {
        let message = "[[slo]] asks for nothing".to_owned();
        faults.add("missing", section.span.clone(), message, &format!("write one of {}", BOUNDS.join(", ")));
    }
    let names: Vec<(&str, usize)> =
        known.groups.iter().enumerate().map(|(n, group)| (group.name.as_str(), n)).collect();
    let group = faults.word(section, "group", &names);
    let phases = phases(faults, section, known.phases);
    let needs = |faults: &mut Faults<'_>, key: &str, there: bool, what: &str, fix: &str| {
        if section.has(key) && !there {
            faults.add("missing", section.place(key), format!("[[slo]] {key}: nothing says {what}"), fix);
        }
    };
    needs(faults, "goodput", known.capacity.is_some(), "the capacity", "write capacity = \"1000/s\" in [pool]");
    needs(
        faults,
        "recover_within",
        known.normal_p99.is_some(),
        "what is normal",
        "write normal_p99 = \"100ms\" in [scenario]",
    );
    let lasting = phases.contains(&known.phases.len().saturating_sub(1)) || known.phases.len() == 1;
    needs(faults, "recover_within", !lasting, "what comes after the last phase", "write another [[phase]] behind it");
    let p99 = faults.span(section, "p99");
    let holds = faults.number(section, "p99_holds", 1e6);
    if section.has("p99_holds") && (group.is_none() || p99.is_some()) {
        let message = "p99_holds is a multiple of one group's hold, instead of p99".to_owned();
        faults.add("contradiction", section.place("p99_holds"), message, "name the group, or write p99 = \"100ms\"");
    }
    let hold = group.map(|group| longest_hold(&known.groups[group], &phases)).unwrap_or_default();
    Slo {
        group,
        phases,
        served: faults.number(section, "served", 1.0),
        p99: p99.or(holds.map(|holds| hold.mul_f64(holds))),
        goodput: faults.number(section, "goodput", 1.0),
        recover_within: faults.span(section, "recover_within"),
        refused_at_least: faults.whole(section, "refused_at_least", 0, u64::from(u32::MAX)),
        wrong_at_most: faults.whole(section, "wrong_at_most", 0, u64::from(u32::MAX)),
    }
}

/// The mean hold of the group, the longest of the phases.
fn longest_hold(group: &Group, phases: &[usize]) -> Duration {
    let counts = |(n, _): &(usize, _)| phases.is_empty() || phases.contains(n);
    let holds = group.parts.iter().enumerate().filter(counts).map(|(_, part)| part.hold.law.mean());
    holds.max().unwrap_or_default()
}

fn phases(faults: &mut Faults<'_>, section: &Section<'_>, known: &[Phase]) -> Vec<usize> {
    let names = faults.value(section, "phases", |value| {
        let items =
            value.as_array().map(|items| items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect());
        let names: Option<Option<Vec<String>>> = items;
        names.flatten().ok_or_else(|| ("not a list of names".to_owned(), "write phases = [\"storm\"]"))
    });
    let mut found = Vec::new();
    for name in names.unwrap_or_default() {
        match known.iter().position(|phase| phase.name == name) {
            Some(place) => found.push(place),
            None => {
                let all: Vec<&str> = known.iter().map(|phase| phase.name.as_str()).collect();
                let message = format!("[[slo]] phases: there is no phase \"{name}\"");
                faults.add(
                    "unknown-name",
                    section.place("phases"),
                    message,
                    &format!("the phases are {}", all.join(", ")),
                );
            }
        }
    }
    found
}
