//! CAP-03: a server's slots are given out twice, for somebody was not counted.

use crate::finding::Severity;
use crate::review::chain::{Pooler, Postgres};
use crate::review::dossier::Dossier;
use crate::review::need::PG_MAX_CONNECTIONS;
use crate::review::place::Known;
use crate::review::rule::{Out, Rule};
use crate::review::sums::Consumer;
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "CAP-03",
    severity: Severity::Error,
    title: "somebody who shares the server was not counted",
    condition: "(one address under several server names and sum of B > U - O) or (several poolers with an auto budget on one \
                server) or (B + D <= U - O as declared, but > U - O as measured)",
    why: "Slots belong to the server; configurations belong to services. Each is right alone, and together they take more than \
          there is: a deploy of one service took the sign-on of its neighbours down. CAP-01 adds up what is declared; this rule \
          speaks where a part of it is not seen by whoever divided.",
    fix: "count every consumer: one server entry per address, instances for every pooler, others as measured",
    needs: &[PG_MAX_CONNECTIONS],
    check,
};

fn check(of: &Dossier, out: &mut Out<'_>) {
    for (server, postgres) in of.postgres.iter().enumerate() {
        two_names(of, server, out);
        two_autos(of, server, postgres, out);
        more_others(of, server, postgres, out);
    }
}

/// The same address under an earlier and under this name.
fn two_names(of: &Dossier, server: usize, out: &mut Out<'_>) {
    let Some(postgres) = of.postgres.get(server).filter(|postgres| postgres.address.is_some()) else { return };
    let Some(first) = of.postgres.iter().take(server).position(|other| other.address == postgres.address) else { return };
    let Some(left) = of.postgres[first].left().or_else(|| postgres.left()) else { return };
    let (one, two) = (of.consumers(first, false), of.consumers(server, false));
    let total = one.total().saturating_add(two.total());
    if total <= left || one.total().max(two.total()) > left {
        return;
    }
    let (Some((a, of_a)), Some((b, of_b))) = (one.0.first(), two.0.first()) else { return };
    let (place, label) = words::consumer(*b, server, *of_b);
    let (other, other_label) = words::consumer(*a, first, *of_a);
    let names = format!("{} and {}", of.postgres[first].name, postgres.name);
    out.find(format!("{names} are one server, and together can have {total} backends > {left}"), &place, label)
        .and(&Known { value: (), place: other }, other_label)
        .because(format!("each budget counts its own name alone: {} connects can be refused with 53300", total - left))
        .fix(format!("use one server name for both, with one budget of {left}"));
}

/// Poolers that each take all that is left.
fn two_autos(of: &Dossier, server: usize, postgres: &Postgres, out: &mut Out<'_>) {
    let autos: Vec<&Pooler> = of.poolers.iter().filter(|pooler| pooler.auto_budget && pooler.uses(server)).collect();
    let [first, second, ..] = autos.as_slice() else { return };
    let (Some(a), Some(b)) = (first.deciding(server), second.deciding(server)) else { return };
    let count: u64 = autos.iter().map(|pooler| pooler.instances.value).fold(0, u64::saturating_add);
    let message = format!("{} poolers each take all slots of {} for their own", autos.len(), postgres.name);
    out.find(message, &b.place, format!("{}: auto, divided by {} instances", second.name, second.instances.value))
        .and(a, format!("{}: auto, divided by {} instances", first.name, first.instances.value))
        .because("auto divides what is left by the instances it is told of; the other pooler is not among them")
        .fix(format!("write instances = {count} in each, or give each a max_connections of its own"));
}

/// What is measured breaks the sum that what is declared keeps.
fn more_others(of: &Dossier, server: usize, postgres: &Postgres, out: &mut Out<'_>) {
    let (Some(measured), Some(usable), Some(left)) = (of.fact("pg.backends.others"), postgres.usable(), postgres.left()) else {
        return;
    };
    let all = of.consumers(server, false);
    let fixed = all.0.iter().filter(|(who, _)| !matches!(who, Consumer::Pooler(pooler) if pooler.auto_budget));
    let total = fixed.fold(0, |sum: u64, (_, most)| sum.saturating_add(*most));
    let others = measured.value.max(0.0) as u64;
    if of.postgres.len() != 1 || total > left || total.saturating_add(others) <= usable {
        return;
    }
    let declared = usable - left;
    let message = format!("{others} backends are others', {declared} were counted: {total} + {others} > {usable} slots");
    let place = postgres.others.as_ref().map_or(&measured.place, |known| &known.place);
    let finding = out.find(message, place, format!("{declared} counted"));
    finding
        .and(&measured, format!("{others} measured"))
        .because(format!("with full pools {} connects are refused with 53300", total + others - usable))
        .fix(format!("write others = {others} in [topology.postgres], and bound the pools to {}", usable.saturating_sub(others)));
    if let Some(known) = &postgres.others {
        finding.write(known, others.to_string());
    }
}
