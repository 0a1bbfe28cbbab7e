//! Mean waits by theory, in units of the mean hold. Nothing here knows the simulator.

/// Probability that everybody is busy, B(c, a): A. K. Erlang 1917, by its recursion.
fn erlang_b(servers: u32, load: f64) -> f64 {
    (1..=servers).fold(1.0, |b, c| load * b / (f64::from(c) + load * b))
}

/// M/M/c: W = C(c, a) / (c (1 - rho)); Gross, Shortle, Thompson and Harris, "Fundamentals of Queueing Theory", 2.3.
pub(crate) fn mmc(servers: u32, rho: f64) -> f64 {
    let (c, load) = (f64::from(servers), f64::from(servers) * rho);
    let b = erlang_b(servers, load);
    b / (1.0 - rho * (1.0 - b)) / (c * (1.0 - rho))
}

/// M/D/c: C. D. Crommelin, "Delay probability formulae when the holding times are constant" (1932):
/// W = sum over i >= 1 of P(N_i >= ic) - P(N_i >= ic + 1) / rho, where N_i is Poisson with mean i c rho.
pub(crate) fn mdc(servers: u32, rho: f64) -> f64 {
    let mut sum = 0.0;
    for i in 1..100_000_u32 {
        let mean = f64::from(i) * f64::from(servers) * rho;
        let least = u64::from(i) * u64::from(servers);
        let term = poisson_tail(mean, least) - poisson_tail(mean, least + 1) / rho;
        sum += term;
        if term.abs() < 1e-13 {
            break;
        }
    }
    sum
}

/// P(N >= n) of a Poisson number.
fn poisson_tail(mean: f64, n: u64) -> f64 {
    let log_factorial: f64 = (1..=n).map(|k| (k as f64).ln()).sum();
    let mut term = (-mean + n as f64 * mean.ln() - log_factorial).exp();
    let (mut sum, mut k) = (term, n);
    while term > sum * 1e-17 || (k as f64) < mean {
        k += 1;
        term *= mean / k as f64;
        sum += term;
    }
    sum
}

/// M/G/1: Pollaczek and Khinchine, W = rho (1 + cs²) / (2 (1 - rho)), `variation` being cs².
pub(crate) fn mg1(rho: f64, variation: f64) -> f64 {
    rho * (1.0 + variation) / (2.0 * (1.0 - rho))
}

/// M/M/c/K: the mean wait of who gets in, and the share that does not; Gross et al., 2.5.
pub(crate) fn mmck(servers: u32, places: u32, rho: f64) -> (f64, f64) {
    let load = f64::from(servers) * rho;
    let mut weights = vec![1.0];
    for n in 1..=places {
        let last = weights[weights.len() - 1];
        weights.push(last * load / f64::from(n.min(servers)));
    }
    let all: f64 = weights.iter().sum();
    let blocked = weights[places as usize] / all;
    let queued: f64 = (servers..=places).map(|n| f64::from(n - servers) * weights[n as usize] / all).sum();
    (queued / (load * (1.0 - blocked)), blocked)
}

/// A finite source (T. O. Engset 1918, with waiting: the machine repair model, Gross et al., 2.8): `users`, each of whom thinks for
/// `think` holds on average.
pub(crate) fn finite_source(users: u32, servers: u32, think: f64) -> f64 {
    let mut weights = vec![1.0];
    for n in 1..=users {
        let last = weights[weights.len() - 1];
        weights.push(last * f64::from(users - n + 1) / think / f64::from(n.min(servers)));
    }
    let all: f64 = weights.iter().sum();
    let mean = |of: &dyn Fn(u32) -> f64| (0..=users).map(|n| of(n) * weights[n as usize]).sum::<f64>() / all;
    let queued = mean(&|n| f64::from(n.saturating_sub(servers)));
    let asked = mean(&|n| f64::from(users - n)) / think;
    queued / asked
}

/// The same where nobody waits: the share of requests that finds everybody busy, as Engset had it.
pub(crate) fn engset_blocked(users: u32, servers: u32, think: f64) -> f64 {
    // Who asks sees the others as if it were not there: a source of one user fewer.
    let mut weights = vec![1.0];
    for n in 1..=servers {
        let last = weights[weights.len() - 1];
        weights.push(last * f64::from(users - n) / think / f64::from(n));
    }
    weights[servers as usize] / weights.iter().sum::<f64>()
}
