//! Whether an answer is right about a situation, and whether its numbers are those of the test's own books.

use serde_json::{Value, json};

use super::answer::Why;
use super::books::Count;
use super::facts::Facts;
use super::web::{Answers, ROUTES};

/// What is true of a situation.
#[derive(Debug, Clone)]
pub struct Truth {
    /// The causes that are at work: one, or the two of a mixture.
    pub causes: Vec<&'static str>,
    /// What may be called a cause besides, because it is one in a way.
    pub allowed: Vec<&'static str>,
    /// The limit that binds, with its size where the situation sets one.
    pub binding: Option<(&'static str, Option<u32>)>,
    /// The layer at fault, by the beginning of its name; all others are innocent.
    pub guilty: Option<&'static str>,
    /// States that fit.
    pub states: &'static [&'static str],
}

/// What the test itself knows of the moment of an answer.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Counts of the clients' books over the second and a half before, and after it.
    pub counts: Vec<Count>,
    /// PostgreSQL's own word before and after; empty while it cannot be asked.
    pub facts: Vec<Facts>,
    /// The web server's counts before and after, if there is one.
    pub web: Option<[[Answers; 2]; 2]>,
    /// Good and bad answers that poolwarden's metrics say its probes met.
    pub probed: Option<(u64, u64)>,
    /// The process that took the lock the others wait for.
    pub culprit: Option<u32>,
}

/// What is wrong with an answer; nothing, if it is right.
#[must_use]
pub fn faults(why: &Why, truth: &Truth) -> Vec<String> {
    let mut faults = Vec::new();
    let supported = why.supported();
    let codes: Vec<&str> = supported.iter().map(|(code, _)| code.as_str()).collect();
    match truth.causes.as_slice() {
        [] => {}
        [one] => {
            if codes.first() != Some(one) {
                faults.push(format!("the first cause is {:?}, not {one}", codes.first()));
            }
        }
        both => {
            faults.extend(both.iter().filter(|one| !codes.contains(one)).map(|one| format!("{one} is not supported")));
            let shares =
                supported.iter().filter(|(code, _)| both.contains(&code.as_str())).all(|(_, share)| *share > 0.0);
            if !why.mixed() && !shares {
                faults.push("neither mixed nor with a share for each".to_string());
            }
        }
    }
    let innocent = |code: &&&str| !truth.causes.contains(*code) && !truth.allowed.contains(*code);
    faults.extend(codes.iter().filter(innocent).map(|code| format!("{code} is called a cause")));
    if let Some((limit, size)) = truth.binding {
        let (named, sized) = why.binding();
        if named != limit || !why.binds() {
            faults.push(format!("the limit that binds is {limit}, not {named} (binds: {})", why.binds()));
        } else if size.is_some() && sized != size.map(u64::from) {
            faults.push(format!("{limit} is {size:?}, not {sized:?}"));
        }
    }
    if !truth.states.contains(&why.state()) {
        faults.push(format!("the state is {}, not of {:?}", why.state(), truth.states));
    }
    if !truth.causes.is_empty() && why.next_step().is_empty() {
        faults.push("there is no next step".to_string());
    }
    faults.extend(accusations(why, truth));
    faults
}

/// Layers that are accused without being at fault, and one at fault that is not.
fn accusations(why: &Why, truth: &Truth) -> Vec<String> {
    let accused = why.accused();
    let innocent = accused.iter().filter(|name| truth.guilty.is_none_or(|guilty| !name.starts_with(guilty)));
    let mut faults: Vec<String> = innocent.map(|name| format!("{name} is accused")).collect();
    if let Some(guilty) = truth.guilty
        && !accused.iter().any(|name| name.starts_with(guilty))
    {
        faults.push(format!("{guilty} is not accused"));
    }
    faults
}

/// Layers that are accused without being at fault.
#[must_use]
pub fn slandered(why: &Why, truth: &Truth) -> Vec<String> {
    let accused = why.accused();
    accused.into_iter().filter(|name| truth.guilty.is_none_or(|guilty| !name.starts_with(guilty))).collect()
}

/// Each comparison of an answer's numbers with the test's own: what was compared, and how it differs, if it does.
#[must_use]
pub fn compared(why: &Why, known: &Known) -> Vec<(&'static str, Option<String>)> {
    let mut all = vec![("requests", requests(why, known))];
    if !known.facts.is_empty() {
        all.push(("lent", lent(why, known)));
        all.push(("holders' pids", pids(why, known)));
        all.push(("holders in a transaction", idle(why, known)));
        all.push(("lock waiters", lock_waiters(why, known)));
        all.push(("others' backends", others(why, known)));
    }
    if let Some(web) = known.web {
        all.push(("probes", probes(why, known, web)));
    }
    all
}

/// Lent and waiting together are the requests that the clients have outstanding. The web server's own may be one of them.
fn requests(why: &Why, known: &Known) -> Option<String> {
    let said = why.number("lent") + why.number("waiting");
    let web = if known.web.is_some() { 2 } else { 0 };
    outside(said, known.counts.iter().map(|count| count.asked), (1, 1 + web))
}

/// Lent are the backends that are not idle, give or take one between two requests.
fn lent(why: &Why, known: &Known) -> Option<String> {
    let said = why.number("lent");
    let held = known.counts.iter().map(|count| count.held);
    let least = known.facts.iter().map(|facts| facts.busy(None)).chain(held).min().unwrap_or(0);
    let most = known.facts.iter().map(|facts| facts.ours.len()).max().unwrap_or(0);
    outside(said, [least, most].into_iter(), (1, 1))
}

/// Every holder is a backend of ours.
fn pids(why: &Why, known: &Known) -> Option<String> {
    let ours = |pid: &u32| known.facts.iter().any(|facts| facts.ours.iter().any(|(is, _)| is == pid));
    let strangers: Vec<u32> = why.holders().into_iter().map(|(pid, ..)| pid).filter(|pid| !ours(pid)).collect();
    (!strangers.is_empty()).then(|| format!("{strangers:?} are no backends of the pool"))
}

/// Who is said to sit in a transaction for a second sits there in PostgreSQL's eyes.
fn idle(why: &Why, known: &Known) -> Option<String> {
    let sits = |pid: u32| {
        known
            .facts
            .iter()
            .any(|facts| facts.ours.iter().any(|(is, state)| *is == pid && state.starts_with("idle in transaction")))
    };
    let holders = why.holders();
    let said = holders.iter().filter(|(_, state, age)| state == "idle_in_transaction" && *age > 1_000);
    let wrong: Vec<u32> = said.map(|(pid, ..)| *pid).filter(|pid| !sits(*pid)).collect();
    // One may have gone on meanwhile.
    (wrong.len() > 1).then(|| format!("{wrong:?} are not idle in a transaction"))
}

/// Who waits for locks is counted as `pg_locks` counts, and the one they wait for is the one that took the lock.
fn lock_waiters(why: &Why, known: &Known) -> Option<String> {
    supported(why, "lock_convoy")?;
    let Some(said) = why.evidence("lock_convoy", "blocked") else {
        return Some("nobody is said to be blocked".to_string());
    };
    let counted = outside(said as u64, known.facts.iter().map(|facts| facts.lock_waiters.len()), (1, 1));
    let root = why.evidence("lock_convoy", "root_pid").map(|pid| pid as u32);
    counted
        .or_else(|| (root != known.culprit).then(|| format!("pid {root:?} is said to block, not {:?}", known.culprit)))
}

/// All backends, and those that are not ours: the watcher's own connection may be counted on either side.
fn others(why: &Why, known: &Known) -> Option<String> {
    supported(why, "pg_slots")?;
    let said = |name: &str| why.evidence("pg_slots", name).map(|number| number as u64);
    let (Some(all), Some(own)) = (said("backends"), said("own")) else {
        return Some("backends are not counted".to_string());
    };
    // The asking superuser and the watcher are backends too.
    let whole = outside(all, known.facts.iter().map(|facts| facts.ours.len() + facts.others + 2), (1, 1));
    let beside = outside(all.saturating_sub(own), known.facts.iter().map(|facts| facts.others + 1), (0, 1));
    whole.or(beside)
}

fn supported(why: &Why, code: &str) -> Option<()> {
    (why.cause(code)["verdict"] == "supported").then_some(())
}

/// What probes met is what the web server answered, give or take the one under way: since the start in the metrics,
/// and lately in the answer.
fn probes(why: &Why, known: &Known, [before, after]: [[Answers; 2]; 2]) -> Option<String> {
    let sum = |of: fn(&Answers) -> u64| [before, after].map(|answers| as_size(answers.iter().map(of).sum()));
    let (good, bad) = (sum(|one| one.good), sum(|one| one.bad));
    let (met_good, met_bad) = known.probed?;
    let whole = outside(met_good, good.into_iter(), (2, 1)).or_else(|| outside(met_bad, bad.into_iter(), (2, 1)));
    let said = |name: &str| why.layer("web tier")["evidence"]["numbers"][name].as_u64();
    let lately = match (said("probes_good"), said("probes_bad")) {
        (Some(said_good), Some(said_bad)) => {
            let most = |counted: [usize; 2]| [0, counted[1]].into_iter();
            outside(said_good, most(good), (0, 1)).or_else(|| outside(said_bad, most(bad), (0, 1)))
        }
        (None, _) | (_, None) => Some(format!("no counts in {}", why.layer("web tier"))),
    };
    whole.or(lately)
}

fn as_size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// How `said` lies outside what was counted, with so much room below and above.
fn outside(said: u64, counted: impl Iterator<Item = usize>, (below, above): (u64, u64)) -> Option<String> {
    let counted: Vec<u64> = counted.map(|number| u64::try_from(number).unwrap_or(u64::MAX)).collect();
    let (least, most) = (counted.iter().min()?, counted.iter().max()?);
    let fits = (least.saturating_sub(below)..=most.saturating_add(above)).contains(&said);
    (!fits).then(|| format!("{said} is said, {least} to {most} were counted"))
}

impl Known {
    /// For the record of a run.
    #[must_use]
    pub fn json(&self) -> Value {
        let range = |of: fn(&Count) -> usize| {
            let (least, most) = (self.counts.iter().map(of).min(), self.counts.iter().map(of).max());
            json!([least, most])
        };
        json!({
            "asked": range(|count| count.asked), "held": range(|count| count.held),
            "postgresql": self.facts.iter().map(Facts::json).collect::<Vec<_>>(),
            "probed": self.probed, "culprit": self.culprit,
            "web": self.web.map(|[before, after]| json!([shown(&before), shown(&after)])),
        })
    }
}

fn shown(answers: &[Answers; 2]) -> Value {
    let of = |route: usize| json!({ "good": answers[route].good, "bad": answers[route].bad });
    json!({ ROUTES[0]: of(0), ROUTES[1]: of(1) })
}

impl Truth {
    /// For the record of a run.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "causes": self.causes, "allowed": self.allowed, "binding": self.binding.map(|(name, size)| json!([name, size])),
            "guilty": self.guilty, "states": self.states,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(cause: &str, guilty: &str, lent: u64) -> Why {
        let verdict = |name: &str| if name == guilty { "supported" } else { "ruled_out" };
        let text = json!({
            "schema": 1,
            "pools": [{
                "pool": "app", "user": "app", "state": "saturated", "lent": lent, "waiting": 7, "mixed": false, "next_step": "wait",
                "binding_limit": { "name": "user", "size": 3, "binds": true },
                "causes": [
                    { "code": cause, "verdict": "supported", "share": 0.9, "evidence": [] },
                    { "code": "pool_too_small", "verdict": "ruled_out", "share": 0.0, "evidence": [] },
                ],
                "holders": [{ "pid": 11, "state": "active", "age_ms": 20 }],
            }],
            "layers": [
                { "name": "web tier", "verdict": verdict("web tier") },
                { "name": "postgresql main", "verdict": verdict("postgresql main") },
            ],
        });
        Why::read(&text.to_string()).unwrap()
    }

    fn truth() -> Truth {
        Truth {
            causes: vec!["user_limit"],
            allowed: vec!["demand_growth"],
            binding: Some(("user", Some(3))),
            guilty: None,
            states: &["saturated"],
        }
    }

    #[test]
    fn the_right_answer_has_no_fault_and_each_wrong_one_has_its_own() {
        assert_eq!(faults(&answer("user_limit", "", 3), &truth()), Vec::<String>::new());
        let wrong = faults(&answer("leak", "", 3), &truth());
        assert_eq!(wrong, ["the first cause is Some(\"leak\"), not user_limit", "leak is called a cause"]);
        let slander = faults(&answer("user_limit", "postgresql main", 3), &truth());
        assert_eq!(slander, ["postgresql main is accused"]);
        let other = Truth { binding: Some(("user", Some(4))), ..truth() };
        assert_eq!(faults(&answer("user_limit", "", 3), &other), ["user is Some(4), not Some(3)"]);
        let guilty = Truth { guilty: Some("postgresql"), states: &["down"], ..truth() };
        let faults = faults(&answer("user_limit", "", 3), &guilty);
        assert_eq!(faults, ["the state is saturated, not of [\"down\"]", "postgresql is not accused"]);
    }

    #[test]
    fn both_causes_of_a_mixture_are_wanted() {
        let both = Truth { causes: vec!["user_limit", "leak"], ..truth() };
        assert_eq!(faults(&answer("user_limit", "", 3), &both), ["leak is not supported"]);
    }

    #[test]
    fn numbers_are_held_against_those_of_the_books_and_of_postgresql() {
        let facts = Facts { ours: vec![(11, "active".to_string()), (12, "idle".to_string())], ..Facts::default() };
        let known = Known { counts: vec![Count { asked: 10, held: 1 }], facts: vec![facts], ..Known::default() };
        let differing = |why: &Why| -> Vec<String> {
            let all = compared(why, &known);
            all.into_iter().filter_map(|(name, how)| Some(format!("{name}: {}", how?))).collect()
        };
        assert_eq!(differing(&answer("user_limit", "", 3)), Vec::<String>::new());
        let many = differing(&answer("user_limit", "", 6));
        assert_eq!(many, ["requests: 13 is said, 10 to 10 were counted", "lent: 6 is said, 1 to 2 were counted"]);
        let strangers = Known { facts: vec![Facts::default()], ..known.clone() };
        let wrong = compared(&answer("user_limit", "", 0), &strangers);
        let pids = wrong.into_iter().find(|(name, _)| *name == "holders' pids").and_then(|(_, how)| how);
        assert_eq!(pids.as_deref(), Some("[11] are no backends of the pool"));
    }

    #[test]
    fn a_convoy_is_held_against_who_took_the_lock() {
        let mut why = answer("lock_convoy", "", 3).whole;
        why["pools"][0]["causes"][0]["evidence"] = json!([{ "numbers": { "blocked": 2, "root_pid": 99 } }]);
        let why = Why::read(&why.to_string()).unwrap();
        let facts = Facts { lock_waiters: [12, 13].into(), ..Facts::default() };
        let known = Known { facts: vec![facts], culprit: Some(99), ..Known::default() };
        assert_eq!(lock_waiters(&why, &known), None);
        let other = Known { culprit: Some(98), ..known.clone() };
        assert_eq!(lock_waiters(&why, &other).as_deref(), Some("pid Some(99) is said to block, not Some(98)"));
        let none = Known { facts: vec![Facts::default()], ..known };
        assert_eq!(lock_waiters(&why, &none).as_deref(), Some("2 is said, 0 to 0 were counted"));
    }
}
