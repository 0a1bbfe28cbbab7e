//! EFF-09: a change that is too large for one step.

use std::collections::BTreeSet;

use super::change::{Change, Layer, bound, changes};
use crate::finding::Severity;
use crate::review::chain::Bound;
use crate::review::dossier::Dossier;
use crate::review::need::LIVE;
use crate::review::rule::{Out, Rule};

pub(super) const RULE: Rule = Rule {
    code: "EFF-09",
    severity: Severity::Warning,
    title: "the change is too large for one step",
    condition: "a limit of connections in the file is more than twice, or less than half of the running one, or becomes unlimited; or limits of more \
                than one layer (clients, waits, pools, users and databases, the host budget) change at once",
    why: "A change of one limit by a little shows what it does. One that triples a pool moves the queue to a place nobody has \
          seen full, and one that touches several layers cannot be told apart when it goes wrong, nor taken back in part.",
    fix: "change one layer, by at most a factor of two, look at the waits, and go on from there",
    needs: &[LIVE],
    check,
};

/// The largest step that can be looked at.
const FACTOR: u64 = 2;

fn check(of: &Dossier, out: &mut Out<'_>) {
    let mut all: Vec<(Change<'_>, Layer)> = Vec::new();
    for change in changes(of) {
        if let Some(layer) = Layer::of(change.pooler.kind, &change.key) {
            all.push((change, layer));
        }
    }
    for (change, layer) in &all {
        large(change, *layer, out);
    }
    for together in all.chunk_by(|a, b| a.0.source == b.0.source) {
        several(together, out);
    }
    for postgres in &of.postgres {
        let (Some(declared), Some(runs)) = (&postgres.declared_max, &postgres.max_connections) else { continue };
        if is_large(declared.value, runs.value) {
            let message = format!("max_connections from {} to {} in one step", runs.value, declared.value);
            out.find(message, &declared.place, format!("{} runs", runs.value))
                .and(runs, "as it runs")
                .because(
                    "each slot costs memory, used or not, and more backends than the machine bears slow all of them",
                )
                .fix(format!("write max_connections = {} first", step(declared.value, runs.value)));
        }
    }
}

/// Whether one is more than twice the other.
const fn is_large(new: u64, old: u64) -> bool {
    new > old.saturating_mul(FACTOR) || old > new.saturating_mul(FACTOR)
}

/// The next step towards a value.
const fn step(new: u64, old: u64) -> u64 {
    if new > old { old.saturating_mul(FACTOR) } else { old.div_ceil(FACTOR) }
}

fn large(change: &Change<'_>, layer: Layer, out: &mut Out<'_>) {
    // A wait of two minutes becomes one of two seconds at once, or it stays: halving it teaches nothing.
    if layer == Layer::Waits {
        return;
    }
    let read = |text: &str| bound(change.pooler.kind, &change.key, text);
    let next = match (read(&change.file.value), read(&change.running.value)) {
        // from nothing, and to nothing, there is no step that is half of it
        (Some(Bound::Of(new)), Some(Bound::Of(old))) if new > 0 && old > 0 && is_large(new, old) => step(new, old),
        (Some(Bound::Unlimited), Some(Bound::Of(old))) => old.saturating_mul(FACTOR),
        (Some(Bound::Of(_) | Bound::Unlimited) | None, _) => return,
    };
    let (key, from, to) = (&change.key, &change.running.value, &change.file.value);
    out.find(format!("{key} from {from} to {to} in one step"), &change.file.place, format!("{from} runs"))
        .and(&change.running, "as it runs")
        .because("where the queue goes to is seen only when everybody is in it")
        .fix(format!("write {key} = {next}, reload, look at the waits, and go on from there"))
        .write(&change.file, next.to_string());
}

fn several(together: &[(Change<'_>, Layer)], out: &mut Out<'_>) {
    let layers: BTreeSet<Layer> = together.iter().map(|(_, layer)| *layer).collect();
    let ([(first, _), rest @ ..], true) = (together, layers.len() > 1) else { return };
    let names: Vec<&str> = layers.iter().map(|layer| layer.name()).collect();
    let message = format!("one change of {} layers: {}", layers.len(), names.join(", "));
    let finding = out.find(message, &first.file.place, first.words());
    for (change, _) in rest {
        finding.and(&change.file, change.words());
    }
    finding
        .because("when the waits get worse, nobody can say which of them did it")
        .fix(format!("change {} first and leave the others as they run, then the next", first.key));
}

#[cfg(test)]
mod tests {
    use super::{is_large, step};

    #[test]
    fn a_step_is_a_factor_of_two_at_most() {
        assert_eq!([is_large(40, 20), is_large(41, 20), is_large(10, 20), is_large(9, 20)], [false, true, false, true]);
        assert_eq!([step(90, 20), step(3, 21)], [40, 11]);
    }
}
