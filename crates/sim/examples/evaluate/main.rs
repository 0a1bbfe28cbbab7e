//! How well it foresees: `evaluate A-B [NAME]` plays the worlds of these seeds and scores what the watcher said of them against their
//! truth. The last line is JSON.

#![allow(clippy::print_stdout, reason = "the result goes to standard output")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "what plays the worlds has arguments, threads and a clock; the watcher has none of them"
)]

mod judge;
mod oracle;
mod seen;
mod stock;
mod worlds;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

fn main() {
    let seeds = std::env::args().nth(1).unwrap_or_else(|| "1-3".to_owned());
    let (from, to) = seeds.split_once('-').unwrap_or((&seeds, &seeds));
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|e| panic!("{text}: {e}"));
    let only = std::env::args().nth(2);
    let names = worlds::NAMES.iter().filter(|name| only.as_ref().is_none_or(|only| only == *name));
    let all: Vec<(&str, u64)> =
        names.flat_map(|name| (number(from)..=number(to)).map(move |seed| (*name, seed))).collect();
    let (next, scores) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((name, seed)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let world = worlds::world(name, *seed);
                    let seen = seen::play(&world);
                    let score = judge::score(&world, &seen);
                    eprintln!("{}", score.said());
                    scores.lock().expect("nobody panics with it").push(score);
                }
            });
        }
    });
    let mut scores = scores.into_inner().expect("nobody panicked");
    scores.sort_by_key(|score| (worlds::NAMES.iter().position(|name| *name == score.name), score.seed));
    println!("{}", judge::json(&seeds, &scores));
}
