//! Who knows the shape of what goes on and not when it begins: the best that can be done, to hold the watcher against.
//!
//! For what grows evenly, the likelihood ratio of a demand that grows since any block against one that does not (Page 1954; Lorden
//! 1971), in blocks of ten seconds, with a threshold for one false alarm in a month of them. What is forgotten or taken by others is known
//! from the first connection on.

use crate::seen::Seen;
use crate::worlds::Truth;

const BLOCK_S: usize = 10;
/// Blocks in thirty days: what is as unlikely as one of them happens once a month.
const BLOCKS_A_MONTH: f64 = 30.0 * 86_400.0 / BLOCK_S as f64;

/// When it knows, in seconds; `None`: never.
pub(crate) fn knows(seen: &Seen, truth: &Truth) -> Option<f64> {
    let begins = truth.begins_s as usize;
    if let Some(slope) = truth.slope {
        return grows(seen, begins, slope);
    }
    let usual = |read: fn(&crate::seen::Second) -> usize| {
        seen.seconds[..begins.min(seen.seconds.len())].iter().map(read).max().unwrap_or(0)
    };
    let first = |read: fn(&crate::seen::Second) -> usize| {
        let most = usual(read);
        (begins..seen.seconds.len()).find(|at| read(&seen.seconds[*at]) > most).map(|at| at as f64)
    };
    match truth.causes.first().map(String::as_str) {
        Some("pg_slots") => first(|second| second.foreign),
        Some("leak") => first(|second| second.forgotten),
        Some("idle_in_transaction") => {
            // Its demand grows from nothing to what is asked at the end, by a straight line that is seen in the demand itself.
            let last = mean(&seen.seconds[seen.seconds.len().saturating_sub(120)..]);
            let calm = mean(&seen.seconds[..begins]);
            let slope = (last / calm - 1.0) / (seen.seconds.len() - begins) as f64;
            grows(seen, begins, slope.max(1e-6))
        }
        Some(_) | None => None,
    }
}

fn mean(seconds: &[crate::seen::Second]) -> f64 {
    seconds.iter().map(|second| second.demand).sum::<f64>() / seconds.len().max(1) as f64
}

/// The first block at which growing since any block before is so much likelier than not.
fn grows(seen: &Seen, begins: usize, slope: f64) -> Option<f64> {
    let blocks: Vec<f64> = seen.seconds.chunks(BLOCK_S).map(mean).collect();
    let calm = &blocks[6.min(blocks.len())..(begins / BLOCK_S).min(blocks.len())];
    let level = calm.iter().sum::<f64>() / calm.len().max(1) as f64;
    let variance = calm.iter().map(|block| (block - level).powi(2)).sum::<f64>() / (calm.len().max(2) - 1) as f64;
    let threshold = BLOCKS_A_MONTH.ln();
    (0..blocks.len()).find_map(|now| {
        let ratio = |from: usize| {
            let gain = |at: usize| {
                let grown = level * slope * ((at - from) * BLOCK_S) as f64;
                grown * (blocks[at] - level - grown / 2.0) / variance
            };
            (from..=now).map(gain).sum::<f64>()
        };
        let knows = now * BLOCK_S >= begins && (now.saturating_sub(360)..now).any(|from| ratio(from) > threshold);
        knows.then_some(((now + 1) * BLOCK_S) as f64)
    })
}
