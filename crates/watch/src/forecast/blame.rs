//! Whose fault a rise is: demand is arrivals times hold (Little's law), so one of them grew, or both; and a longer hold is a statement
//! that takes longer, all of them, or time in which the client lets its transaction lie.

use super::ladder::{Block, Rung};
use super::statements::{Grown, Statements};
use super::trend::Rise;
use crate::case::Case;
use crate::cause::CauseCode;
use crate::occupancy::Use;
use crate::owner::owners;
use crate::say::{percent, quoted, span};
use crate::why::Evidence;

/// This part of the growth makes a cause of it.
const MOST: f64 = 0.5;
/// A statement that has this part of the growth of holds is the one.
const ONE_STATEMENT: f64 = 0.6;

/// What grew.
pub(super) struct Blame {
    pub(super) cause: CauseCode,
    pub(super) evidence: Evidence,
    /// What to do, where it is something else than to raise the limit.
    pub(super) next_step: Option<String>,
}

/// Compares the newest third of a rise with what was before it, or with its oldest third. `None`: nothing of it grew.
pub(super) fn of(rung: &Rung, rise: &Rise, statements: Option<&Statements>, case: &Case<'_>) -> Option<Blame> {
    let (before, since) = rung.around(rise);
    let third = (since.len() / 3).max(1);
    let then = mean(if before.len() >= third { &before } else { &since[..third] })?;
    let now = mean(&since[since.len() - third..])?;
    let longer_s = rung.block_s() * rise.blocks as f64;
    if now.lent > then.lent && now.idle - then.idle >= MOST * (now.lent - then.lent) {
        return Some(idle(case, (then, now)));
    }
    let (more, held) = (grown(then.arrivals, now.arrivals), grown(then.hold_s()?, now.hold_s()?));
    if more <= 0.0 && held <= 0.0 {
        return None;
    }
    if more >= held {
        let evidence = Evidence::new(
            format!("{:.0} requests/s come instead of {:.0}", now.arrivals, then.arrivals),
            [("arrivals", now.arrivals), ("arrivals_before", then.arrivals)],
        );
        return Some(Blame { cause: CauseCode::DemandGrowth, evidence, next_step: None });
    }
    let slower = statements.and_then(|of| of.grown(case.view.now_ms, longer_s));
    Some(held_longer((then, now), slower, case))
}

fn held_longer((then, now): (Block, Block), slower: Option<Grown>, case: &Case<'_>) -> Blame {
    let (from, to) = (then.hold_s().unwrap_or_default() * 1e6, now.hold_s().unwrap_or_default() * 1e6);
    let longer = format!("connections are held for {} instead of {}", span(to), span(from));
    let numbers = [("hold_us", to), ("hold_before_us", from)];
    match slower.filter(|of| of.part >= ONE_STATEMENT) {
        Some(one) => {
            let text = case.view.usage.iter().find(|of| of.name.as_deref() == Some(one.name.as_str()));
            let text = quoted(text.map_or("", |of| of.query.as_str()));
            Blame {
                cause: CauseCode::SlowQuery,
                evidence: Evidence::new(format!("{longer}, {} of that by {text}", percent(one.part)), numbers),
                next_step: Some(format!("see why {text} is slow (plan, statistics, an index): more connections only delay the end")),
            }
        }
        None => Blame {
            cause: CauseCode::PgSaturated,
            evidence: Evidence::new(longer, numbers),
            next_step: Some(
                "give PostgreSQL less to do at once, or see its processor and disk: more connections would make it slower"
                    .to_owned(),
            ),
        },
    }
}

fn idle(case: &Case<'_>, (then, now): (Block, Block)) -> Blame {
    let owners = owners(case, |usage| matches!(usage, Use::IdleInTransaction | Use::Stuck));
    let who = owners.first().map_or("the application".to_owned(), |owner| quoted(&owner.application));
    let is_leak = case.uses().stuck > case.uses().idle;
    let next_step = if is_leak {
        super::leak::next_step(&case.pool.key.database, &who)
    } else {
        format!(
            "have {who} end its transactions before it does other work; until then limit them with idle_in_transaction_timeout"
        )
    };
    Blame {
        cause: if is_leak { CauseCode::Leak } else { CauseCode::IdleInTransaction },
        evidence: Evidence::new(
            format!(
                "{:.1} connections are idle in transaction instead of {:.1}, most of them of {who}",
                now.idle, then.idle
            ),
            [("idle", now.idle), ("idle_before", then.idle)],
        ),
        next_step: Some(next_step),
    }
}

/// The logarithm of the ratio: what is twice as much has grown as far as what is half has shrunk.
fn grown(then: f64, now: f64) -> f64 {
    if then > 0.0 && now > 0.0 { (now / then).ln() } else { 0.0 }
}

fn mean(blocks: &[Block]) -> Option<Block> {
    let count = blocks.len() as f64;
    let of = |read: fn(&Block) -> f64| blocks.iter().map(read).sum::<f64>() / count;
    (!blocks.is_empty()).then(|| Block {
        demand: of(|block| block.demand),
        arrivals: of(|block| block.arrivals),
        lent: of(|block| block.lent),
        idle: of(|block| block.idle),
        ended: of(|block| block.ended),
    })
}

impl Block {
    /// How long a connection is held, by Little's law.
    fn hold_s(&self) -> Option<f64> {
        (self.ended > 0.0).then(|| self.lent / self.ended)
    }
}
