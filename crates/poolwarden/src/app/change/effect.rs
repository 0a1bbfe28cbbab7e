//! What came of a change, in a sentence and pool by pool, from what was measured before and after it.

use poolwarden_store::{Effect, Measures, PoolEffect};
use poolwarden_watch::{self as watch, Moved};

use super::standing::OnTrial;

/// Pools that the history tells apart; those that most was waited for come first.
const MAX_POOLS: usize = 8;
/// Waiting has changed if there is that many times more or less of it.
const NOTEWORTHY: f64 = 1.25;
/// Less waiting than this on both sides is none (the mean number of requests).
const NEXT_TO_NONE: f64 = 0.01;

/// `None`: nothing was measured yet.
pub(super) fn effect(on_trial: &OnTrial, effects: &[watch::Effect]) -> Option<Effect> {
    let mut effects: Vec<&watch::Effect> = effects.iter().filter(|of| of.after.window_ms > 0).collect();
    effects.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
    let first = effects.first()?;
    let moved = on_trial.moved.iter().find(|(server, moved)| *server == first.server && moved.pool == first.pool);
    let sentence = sentence(first, moved.map(|(_, moved)| moved), &on_trial.expected);
    Some(Effect { sentence, pools: effects.into_iter().take(MAX_POOLS).map(pool).collect() })
}

/// How much a pool matters: who waits or is refused first, then traffic.
fn weight(of: &watch::Effect) -> f64 {
    let side = |of: &watch::Measures| of.waiting + of.refused as f64 * 1e3 + of.arrivals_per_s / 1e6;
    side(&of.before) + side(&of.after)
}

/// `no effect: user binds pool app (web) at 3 (users.web.max_connections); 12.4 requests waiting, p99 820 ms; before 12.1, 812 ms`.
fn sentence(of: &watch::Effect, moved: Option<&Moved>, expected: &str) -> String {
    let (before, after) = (&of.before, &of.after);
    let numbers = format!("{}; before {}", told(after), told(before));
    let little = before.waiting.max(after.waiting) < NEXT_TO_NONE && before.refused + after.refused == 0;
    let alike = before.waiting <= after.waiting * NOTEWORTHY && after.waiting <= before.waiting * NOTEWORTHY;
    let binds = moved.filter(|moved| !moved.is_effective()).and_then(|moved| moved.after.as_ref());
    match (little, alike, binds) {
        (true, ..) => format!("nobody waited, before or after ({expected})"),
        (false, _, Some(binds)) if alike || after.waiting > before.waiting => format!(
            "no effect: {} binds pool {} ({}) at {} ({}); {numbers}",
            binds.limit.name(),
            of.pool.database,
            of.pool.user,
            binds.size,
            binds.setting
        ),
        (false, true, _) => format!("pool {} ({}): as before; {numbers}", of.pool.database, of.pool.user),
        (false, false, _) if after.waiting < before.waiting => {
            format!("pool {} ({}): less waiting; {numbers}", of.pool.database, of.pool.user)
        }
        (false, false, _) => format!("pool {} ({}): more waiting; {numbers}", of.pool.database, of.pool.user),
    }
}

/// `12.4 requests waiting (p99 820 ms, user), 40/s, 3 refused`.
fn told(of: &watch::Measures) -> String {
    let mut more = Vec::new();
    more.extend(of.wait_p99_us.map(|us| format!("p99 {} ms", us as f64 / 1e3)));
    more.extend(of.binding.map(|limit| limit.name().to_owned()));
    let more = if more.is_empty() { String::new() } else { format!(" ({})", more.join(", ")) };
    let refused = if of.refused == 0 { String::new() } else { format!(", {} refused", of.refused) };
    format!("{:.1} requests waiting{more}, {:.0}/s{refused}", of.waiting, of.arrivals_per_s)
}

fn pool(of: &watch::Effect) -> PoolEffect {
    PoolEffect {
        server: of.server.clone(),
        database: of.pool.database.clone(),
        user: of.pool.user.clone(),
        before: measures(&of.before),
        after: measures(&of.after),
    }
}

fn measures(of: &watch::Measures) -> Measures {
    // as casts go: what is below nought or no number becomes nought, what is too large the largest
    let milli = |of: f64| (of * 1e3).round() as u64;
    Measures {
        window_ms: of.window_ms,
        arrivals_per_ks: milli(of.arrivals_per_s),
        waiting_milli: milli(of.waiting),
        refused: of.refused,
        wait_p99_us: of.wait_p99_us,
        binding: of.binding.map(|limit| limit.name().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use poolwarden_pool::{Limit, PoolKey};
    use poolwarden_watch::Ceiling;

    use super::*;

    fn side(waiting: f64, wait_ms: u64, binding: Option<Limit>) -> watch::Measures {
        watch::Measures {
            window_ms: 5_000,
            arrivals_per_s: 40.0,
            waiting,
            refused: 0,
            wait_p99_us: Some(wait_ms * 1_000),
            binding,
        }
    }

    fn of(before: watch::Measures, after: watch::Measures) -> watch::Effect {
        let pool = PoolKey { database: "app".into(), user: "web".into() };
        watch::Effect { server: "main".to_owned(), pool, before, after }
    }

    fn moved(before: u32, after: u32) -> Moved {
        let ceiling = |size| Ceiling {
            limit: Limit::User,
            setting: "users.web.max_connections".to_owned(),
            size,
            used: size,
            connections: size,
        };
        let pool = PoolKey { database: "app".into(), user: "web".into() };
        Moved { pool, size: 50, waiting: 12, before: Some(ceiling(before)), after: Some(ceiling(after)) }
    }

    #[test]
    fn the_wrong_knob_had_no_effect_and_the_limit_that_binds_is_named_with_the_numbers() {
        let measured = of(side(12.14, 812, Some(Limit::User)), side(12.41, 820, Some(Limit::User)));
        assert_eq!(
            sentence(&measured, Some(&moved(3, 3)), ""),
            "no effect: user binds pool app (web) at 3 (users.web.max_connections); \
             12.4 requests waiting (p99 820 ms, user), 40/s; before 12.1 requests waiting (p99 812 ms, user), 40/s"
        );
    }

    #[test]
    fn less_and_more_waiting_and_none_at_all_are_told_apart() {
        let (much, none) = (side(12.0, 812, Some(Limit::User)), side(0.0, 1, None));
        let told = |before: &watch::Measures, after: &watch::Measures| {
            sentence(&of(before.clone(), after.clone()), Some(&moved(3, 12)), "12 instead of 3")
        };
        assert!(told(&much, &none).starts_with("pool app (web): less waiting; 0.0 requests"), "{}", told(&much, &none));
        assert!(told(&none, &much).starts_with("pool app (web): more waiting; 12.0 requests"));
        assert!(told(&much, &much).starts_with("pool app (web): as before; "));
        assert_eq!(told(&none, &none), "nobody waited, before or after (12 instead of 3)");
    }
}
