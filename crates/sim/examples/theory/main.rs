//! The simulator against queueing theory: `theory [PART]`: each cell is played again and again with other seeds until the 99 %
//! interval of its mean is within 2 % of it, and theory must lie in that interval; PART is the share of that precision to go for
//! (1 all of it; 5 a fifth). The last line is JSON.
//!
//! One cell in a hundred lies outside by chance. So a cell that does is played once more, with other seeds and on its own; if
//! theory is outside again, it has failed.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program: its argument, threads and result")]

mod formulas;

use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use poolwarden_config::Config;
use poolwarden_sim::queueing::{PoolCourse, play_after};
use poolwarden_sim::scenario;

const HOLD_MS: f64 = 10.0;
/// Requests of one run, after and before it is warm.
const RUN: f64 = 400_000.0;
const WARM: f64 = 60_000.0;
/// Half the width of the interval, as a part of the mean.
const HALF: f64 = 0.02;
const FEWEST_RUNS: usize = 10;
const MOST_RUNS: usize = 400;
const RHOS: [f64; 6] = [0.3, 0.5, 0.7, 0.8, 0.9, 0.95];
/// Smaller means and shares are not looked at.
const RAREST: f64 = 0.005;
/// Little's law: what waited on average, and the rate times the mean wait.
const MOST_RESIDUAL: f64 = 0.005;

/// What is compared.
#[derive(Clone, Copy)]
enum Of {
    /// The mean wait, in mean holds.
    Wait,
    /// The share that is refused.
    Refused,
}

struct Cell {
    name: String,
    rho: f64,
    of: Of,
    theory: f64,
    size: u32,
    /// `[pool]`'s further lines, and `[[load]]`'s.
    pool: String,
    load: String,
    per_second: f64,
}

struct Found {
    mean: f64,
    half: f64,
    runs: usize,
    requests: u64,
    residual: f64,
}

fn main() {
    let part: f64 = std::env::args().nth(1).map_or(1.0, |part| part.parse().expect("a number"));
    let cells = cells();
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(cell) = cells.get(next.fetch_add(1, Ordering::AcqRel)) {
                    let mut result = cell.play(part, 1);
                    let mut again = false;
                    if !cell.holds(&result) {
                        again = true;
                        result = cell.play(part, 1_000_000);
                    }
                    eprintln!("{}", cell.said(&result, again));
                    found.lock().expect("whole").push((cell, result, again));
                }
            });
        }
    });
    let mut found = found.into_inner().expect("whole");
    found.sort_by(|(a, ..), (b, ..)| a.name.cmp(&b.name).then(a.rho.total_cmp(&b.rho)));
    let good = found.iter().all(|(cell, result, _)| cell.holds(result) && result.residual < MOST_RESIDUAL);
    let rows: Vec<String> = found.iter().map(|(cell, result, again)| cell.json(result, *again)).collect();
    let requests: u64 = found.iter().map(|(_, result, _)| result.requests).sum();
    println!("{{\"good\":{good},\"requests\":{requests},\"cells\":[{}]}}", rows.join(","));
}

fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    let open = |size: u32, rho: f64| rho * f64::from(size) * 1000.0 / HOLD_MS;
    let hold = |law: &str| format!("hold = {{ {law} }}");
    for rho in RHOS {
        let mut put = |name: String, of: Of, theory: f64, size: u32, pool: &str, law: &str| {
            let per_second = open(size, rho);
            let load = format!("clients = 20000\nrate = \"{per_second}/s\"\n{}", hold(law));
            cells.push(Cell { name, rho, of, theory, size, pool: pool.to_owned(), load, per_second });
        };
        let exponential = "exponential = \"10ms\"";
        for size in [1, 4, 20] {
            put(format!("M/M/{size}"), Of::Wait, formulas::mmc(size, rho), size, "", exponential);
        }
        for size in [1, 4] {
            put(format!("M/D/{size}"), Of::Wait, formulas::mdc(size, rho), size, "", "constant = \"10ms\"");
        }
        // A log-normal with a squared coefficient of variation of two: sigma² = ln 3, its median 10 ms / sqrt(3).
        let sigma = 3.0_f64.ln().sqrt();
        let p50_us = HOLD_MS * 1000.0 / 3.0_f64.sqrt();
        let p99_us = p50_us * (sigma * 2.326_347_874).exp();
        let law = format!("p50 = \"{p50_us:.0}us\", p99 = \"{p99_us:.0}us\"");
        put("M/G/1 (log-normal)".to_owned(), Of::Wait, formulas::mg1(rho, 2.0), 1, "", &law);
        let (size, places) = (4, 12);
        let (wait, blocked) = formulas::mmck(size, places, rho);
        let bound = format!("max_queue = {}", places - size);
        put(format!("M/M/{size}/{places}"), Of::Wait, wait, size, &bound, exponential);
        if blocked > 0.005 {
            put(format!("M/M/{size}/{places}, refused"), Of::Refused, blocked, size, &bound, exponential);
        }
        // So many users that, without waiting, they would keep this share of the servers busy.
        let (size, users) = (4, 24);
        let think = f64::from(users) / (rho * f64::from(size)) - 1.0;
        let load = format!(
            "clients = {users}\nthink = {{ exponential = \"{:.0}us\" }}\n{}",
            think * HOLD_MS * 1000.0,
            hold(exponential)
        );
        let theory = formulas::finite_source(users, size, think);
        let per_second = open(size, rho);
        cells.push(Cell {
            name: format!("M/M/{size}//{users} (finite source)"),
            rho,
            of: Of::Wait,
            theory,
            size,
            pool: String::new(),
            load: load.clone(),
            per_second,
        });
        cells.push(Cell {
            name: format!("Engset, {users} users, {size} servers, refused"),
            rho,
            of: Of::Refused,
            theory: formulas::engset_blocked(users, size, think),
            size,
            pool: "max_queue = 0".to_owned(),
            load,
            per_second,
        });
    }
    // What hardly ever happens takes too long to be counted to within a fiftieth.
    cells.retain(|cell| cell.theory >= RAREST);
    cells
}

impl Cell {
    fn text(&self, seed: u64) -> String {
        format!(
            "[scenario]\nname = \"theory\"\nseed = {seed}\nduration = \"{:.0}s\"\n[postgres]\nconnect = \"1us\"\n\
             [pool]\nbudget = {size}\nsize = {size}\nmin_size = {size}\nmax_wait = \"24h\"\nlifetime = \"0s\"\n{}\n\
             [[load]]\nname = \"web\"\n{}\n",
            (RUN + WARM) / self.per_second,
            self.pool,
            self.load,
            size = self.size
        )
    }

    /// Runs until it is close enough.
    fn play(&self, part: f64, first_seed: u64) -> Found {
        let (mut means, mut residual, mut requests) = (Vec::new(), 0.0_f64, 0);
        loop {
            let text = self.text(first_seed + means.len() as u64);
            let scenario = scenario::read(&text).unwrap_or_else(|faults| panic!("{faults:#?}\n{text}"));
            // First come, first served: that is what the formulas are about.
            let text = format!("[poolwarden]\nguard = \"observe\"\n{}", scenario.pooler);
            let (config, findings) = Config::parse(&text, |_| Err("no secrets".to_owned()));
            let config = config.unwrap_or_else(|| panic!("{findings:#?}\n{text}"));
            let warm_up = Duration::from_secs_f64(WARM / self.per_second);
            let played = play_after(&scenario, &config, warm_up).unwrap_or_else(|why| panic!("{why}"));
            let pool = &played.course.pools[0];
            means.push(self.measured(pool));
            requests += pool.asked;
            residual = residual.max(little(pool, played.course.step));
            let (mean, half) = interval(&means);
            let enough = means.len() >= FEWEST_RUNS && half <= HALF * part * mean;
            if enough || means.len() == MOST_RUNS {
                return Found { mean, half, runs: means.len(), requests, residual };
            }
        }
    }

    fn measured(&self, pool: &PoolCourse) -> f64 {
        match self.of {
            Of::Wait => {
                pool.waits.mean().as_secs_f64() * 1000.0 / HOLD_MS * (pool.waits.count() as f64 / pool.granted as f64)
            }
            Of::Refused => pool.refusals() as f64 / pool.asked as f64,
        }
    }

    fn holds(&self, found: &Found) -> bool {
        (self.theory - found.mean).abs() <= found.half
    }

    fn said(&self, found: &Found, again: bool) -> String {
        format!(
            "{} rho {}: theory {:.5}, simulated {:.5} +- {:.5} ({} runs{}): {}",
            self.name,
            self.rho,
            self.theory,
            found.mean,
            found.half,
            found.runs,
            if again { ", again" } else { "" },
            if self.holds(found) { "inside" } else { "OUTSIDE" }
        )
    }

    fn json(&self, found: &Found, again: bool) -> String {
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = write!(
            out,
            "{{\"queue\":\"{}\",\"rho\":{},\"theory\":{:.6},\"simulated\":{:.6},\"half_width\":{:.6},\"runs\":{},\"requests\":{},\
             \"little_residual\":{:.6},\"again\":{again},\"inside\":{}}}",
            self.name,
            self.rho,
            self.theory,
            found.mean,
            found.half,
            found.runs,
            found.requests,
            found.residual,
            self.holds(found)
        );
        out
    }
}

/// By how much what waited on average differs from the rate times the mean wait, as a part of it.
fn little(pool: &PoolCourse, step: Duration) -> f64 {
    let lasted = step.as_secs_f64() * pool.moments.len() as f64;
    let waiting: u64 = pool.waited.iter().sum();
    let by_time = waiting as f64 / 1e9 / lasted;
    let by_requests = pool.waits.mean().as_secs_f64() * pool.waits.count() as f64 / lasted;
    if by_requests == 0.0 { 0.0 } else { (by_time / by_requests - 1.0).abs() }
}

/// The mean of independent runs and half of its 99 % interval (Student's t, by its expansion about the normal quantile).
fn interval(means: &[f64]) -> (f64, f64) {
    const Z: f64 = 2.575_829_3;
    let count = means.len() as f64;
    let mean = means.iter().sum::<f64>() / count;
    if means.len() < 2 {
        return (mean, f64::INFINITY);
    }
    let variance = means.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let free = count - 1.0;
    let t = Z + (Z.powi(3) + Z) / (4.0 * free) + (5.0 * Z.powi(5) + 16.0 * Z.powi(3) + 3.0 * Z) / (96.0 * free * free);
    (mean, t * (variance / count).sqrt())
}
