//! What is played: scenarios drawn from a seed, each with its truth beside it. Nothing here is known to whoever is judged.

use std::fmt::Write;

/// How something comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Over minutes: it can be foreseen.
    Gradual,
    /// Within seconds: it can be seen at once.
    Sudden,
    /// Not at all.
    Benign,
}

/// What is the case.
#[derive(Clone, Debug)]
pub(crate) struct Truth {
    pub(crate) kind: Kind,
    /// When it begins, in seconds.
    pub(crate) begins_s: f64,
    /// Any of these names it.
    pub(crate) causes: Vec<String>,
    /// By how much of itself demand grows each second, of what grows evenly; the oracle knows it.
    pub(crate) slope: Option<f64>,
}

/// One world.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) name: String,
    pub(crate) seed: u64,
    /// A scenario file.
    pub(crate) text: String,
    pub(crate) truth: Truth,
}

/// Every kind of world, in the order of the table.
pub(crate) const NAMES: [&str; 18] = [
    "leak",
    "growth",
    "regression",
    "slowdown",
    "foreign",
    "idle",
    "user_limit",
    "spike",
    "slow_step",
    "convoy",
    "retry_storm",
    "saturated",
    "blackhole",
    "steady",
    "cycle",
    "deploy",
    "batch",
    "restart",
];

/// Numbers by chance, the same for the same seed (splitmix64; Steele, Lea and Flood 2014).
struct Dice(u64);

impl Dice {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Evenly over orders of magnitude.
    fn spread(&mut self, low: f64, high: f64) -> f64 {
        self.between(low.ln(), high.ln()).exp()
    }
}

/// The most requests a second of one world: larger pools have longer holds instead.
const MOST_RATE: f64 = 300.0;

/// What all worlds have: a pool and its everyday traffic.
struct Base {
    size: f64,
    hold_s: f64,
    /// p99 of the hold over its median.
    tail: f64,
    rate: f64,
    load: f64,
    calm_s: f64,
    bursty: bool,
}

impl Base {
    fn draw(dice: &mut Dice, least_size: f64) -> Self {
        let size = dice.spread(least_size, 100.0).round();
        let rho = dice.between(0.2, 0.45);
        let load = rho * size;
        let hold_s = dice.spread(0.002, 0.2).max(load / MOST_RATE);
        let tail = dice.spread(2.0, 12.0);
        let calm_s = dice.between(2_400.0, 4_200.0).round();
        Self { size, hold_s, tail, rate: load / hold_s, load, calm_s, bursty: dice.between(0.0, 1.0) < 0.3 }
    }

    /// The median for which the mean is right, and the 99th percentile.
    fn hold(&self, times: f64) -> String {
        let sigma = self.tail.ln() / 2.326_347_874;
        let p50 = self.hold_s * times / (sigma * sigma / 2.0).exp();
        format!("p50 = \"{:.0}us\", p99 = \"{:.0}us\"", p50 * 1e6, p50 * self.tail * 1e6)
    }

    fn phases(&self, trouble_s: f64) -> [(&'static str, f64); 2] {
        [("calm", self.calm_s), ("trouble", trouble_s)]
    }

    fn head(&self, name: &str, seed: u64, phases: &[(&str, f64)], pool: &str) -> String {
        let mut text = format!("[scenario]\nname = \"{name}\"\nseed = {}\n", seed % 1_000_000);
        // Writing to a String does not fail, here and below.
        let _ = writeln!(
            text,
            "[postgres]\nmax_connections = 400\ncores = 400\n[pool]\nsize = {}\nbudget = 380",
            self.size
        );
        let _ = writeln!(text, "{pool}");
        for (name, seconds) in phases {
            let _ = writeln!(text, "[[phase]]\nname = \"{name}\"\nfor = \"{seconds:.0}s\"");
        }
        text
    }

    /// A group with a share of the traffic; `trouble`: what is different about it then.
    fn group(&self, name: &str, share: f64, trouble: &str) -> String {
        let shape = if self.bursty {
            "shape = { kind = \"bursts\", peak = 1.5, calm = \"20s\", burst = \"4s\" }\n"
        } else {
            ""
        };
        let mut text = format!(
            "[[load]]\nname = \"{name}\"\nclients = {:.0}\nrate = \"{:.4}/s\"\n{shape}hold = {{ {} }}\n",
            (self.size * 6.0).max(60.0),
            self.rate * share,
            self.hold(1.0)
        );
        if !trouble.is_empty() {
            let _ = writeln!(text, "in.trouble = {{ {trouble} }}");
        }
        text
    }
}

/// A scenario file and its truth.
type Made = (String, Truth);

/// What a world is made with.
struct Draw<'d> {
    name: &'d str,
    seed: u64,
    dice: &'d mut Dice,
}

/// The world of this name and seed.
pub(crate) fn world(name: &str, seed: u64) -> World {
    let place = NAMES.iter().position(|known| *known == name).expect("a known world") as u64;
    let mut dice = Dice(seed.wrapping_mul(1_000_003).wrapping_add(place));
    let (text, truth) = made(name, seed, &mut dice);
    World { name: name.to_owned(), seed, text, truth }
}

fn gradual(begins_s: f64, causes: &[&str], slope: Option<f64>) -> Truth {
    Truth { kind: Kind::Gradual, begins_s, causes: causes.iter().map(|&cause| cause.to_owned()).collect(), slope }
}

fn sudden(begins_s: f64, causes: &[&str]) -> Truth {
    Truth { kind: Kind::Sudden, ..gradual(begins_s, causes, None) }
}

fn benign() -> Truth {
    Truth { kind: Kind::Benign, ..gradual(0.0, &[], None) }
}

fn made(name: &str, seed: u64, dice: &mut Dice) -> Made {
    let base = Base::draw(dice, if name == "leak" { 6.0 } else { 3.0 });
    let draw = Draw { name, seed, dice };
    match name {
        "leak" => leak(base, draw),
        "growth" | "user_limit" => growth(base, draw),
        "regression" => regression(base, draw),
        "slowdown" => slowdown(base, draw),
        "foreign" => foreign(base, draw),
        "idle" => idle(base, draw),
        "spike" => spike(base, draw),
        "slow_step" => slow_step(base, draw),
        "convoy" => convoy(base, draw),
        "retry_storm" => retry_storm(base, draw),
        "saturated" => saturated(base, draw),
        "blackhole" => blackhole(base, draw),
        "steady" => steady(base, draw),
        "cycle" => cycle(base, draw),
        "deploy" => deploy(base, draw),
        "batch" => batch(base, draw),
        _ => restart(base, draw),
    }
}

/// Transactions are begun and never ended, one after another.
fn leak(base: Base, draw: Draw<'_>) -> Made {
    let Draw { name, seed, dice } = draw;
    let calm = base.calm_s;
    let every_s = dice.spread(60.0, 600.0);
    let trouble = every_s * base.size * 1.2;
    let leak = format!(
        "[[load]]\nname = \"batcher\"\napplication = \"batcher\"\nclients = 500\nrate = \"0.000001/s\"\nhold = {{ constant = \"5ms\" }}\n\
         in.trouble = {{ rate = \"{:.6}/s\", hold = {{ constant = \"5ms\", idle = \"48h\" }} }}\n",
        1.0 / every_s
    );
    (
        base.head(name, seed, &base.phases(trouble), "") + &base.group("web", 1.0, "") + &leak,
        gradual(calm, &["leak"], None),
    )
}

/// More and more requests come, until the pool or the user has no more.
fn growth(base: Base, draw: Draw<'_>) -> Made {
    let Draw { name, seed, dice } = draw;
    let calm = base.calm_s;
    let over_s = dice.spread(1_200.0, 7_200.0);
    let times = dice.between(1.2, 1.6) * base.size / base.load;
    let limit = (base.size * 0.7).max(2.0).round();
    let pool = if name == "user_limit" { format!("[users.app]\nmax_connections = {limit}") } else { String::new() };
    let trouble = format!("rate = \"{:.4}/s\", shape = {{ kind = \"ramp\", to = {times:.3} }}", base.rate);
    let group = Base { bursty: false, ..base };
    let text = group.head(name, seed, &[("calm", calm), ("trouble", over_s)], "")
        + &pool
        + "\n"
        + &group.group("web", 1.0, &trouble);
    (
        text,
        gradual(
            calm,
            &["demand_growth", "user_limit"][..if name == "growth" { 1 } else { 2 }],
            Some((times - 1.0) / over_s),
        ),
    )
}

/// One statement takes longer and longer.
fn regression(base: Base, draw: Draw<'_>) -> Made {
    let Draw { name, seed, dice } = draw;
    let calm = base.calm_s;
    let over_s = dice.spread(900.0, 3_600.0);
    let share = dice.between(0.5, 0.8);
    let times = 1.0 + (dice.between(1.2, 1.6) * base.size / base.load - 1.0) / share;
    let trouble = format!("hold = {{ {}, grows = {times:.3} }}", base.hold(1.0));
    let text = base.head(name, seed, &base.phases(over_s), "")
        + &base.group("report", share, &trouble)
        + &base.group("web", 1.0 - share, "");
    (text, gradual(calm, &["slow_query"], Some((times - 1.0) * share / over_s)))
}

/// Everything takes longer and longer.
fn slowdown(base: Base, draw: Draw<'_>) -> Made {
    let Draw { name, seed, dice } = draw;
    let calm = base.calm_s;
    let over_s = dice.spread(900.0, 3_600.0);
    let times = dice.between(1.2, 1.6) * base.size / base.load;
    let trouble = format!("hold = {{ {}, grows = {times:.3} }}", base.hold(1.0));
    let groups: String = ["list", "show", "save", "find"].iter().map(|name| base.group(name, 0.25, &trouble)).collect();
    (
        base.head(name, seed, &base.phases(over_s), "") + &groups,
        gradual(calm, &["pg_saturated"], Some((times - 1.0) / over_s)),
    )
}

/// Another application takes PostgreSQL's slots, while the pool wants more of them now and then.
fn foreign(base: Base, draw: Draw<'_>) -> Made {
    let Draw { name, seed, dice } = draw;
    let calm = base.calm_s;
    let every_s = dice.spread(2.0, 20.0);
    let free = 397.0 - 60.0;
    let trouble = every_s * free * 1.15;
    // PostgreSQL's slots run out while the pool is asked for more than it has open.
    let wave = "shape = { kind = \"sine\", period = \"900s\", depth = 0.6 }";
    let fault = format!(
        "[[fault]]\nat = \"0s\"\nkind = \"foreign_slots\"\napplication = \"reporting\"\nslots = 60\nfor = \"96h\"\n\
         [[fault]]\nat = \"{calm:.0}s\"\nkind = \"foreign_slots\"\napplication = \"nightly\"\nslots = 1\nfor = \"96h\"\nevery = \"{:.0}ms\"\ntimes = {:.0}\n",
        every_s * 1e3,
        free * 1.15
    );
    let group = Base { bursty: false, ..base };
    let load = group.group("web", 1.0, "").replace("hold =", &format!("{wave}\nhold ="));
    let pool = "idle_timeout = \"60s\"";
    (group.head(name, seed, &base.phases(trouble), pool) + &load + &fault, gradual(calm, &["pg_slots"], None))
}

/// More and more transactions lie idle for a while.
fn idle(base: Base, draw: Draw<'_>) -> Made {
    let Draw { name, seed, dice } = draw;
    let calm = base.calm_s;
    let over_s = dice.spread(900.0, 3_600.0);
    let idle_s = dice.between(0.8, 2.5);
    let most = base.size * dice.between(1.0, 1.4) / idle_s;
    let cart = format!(
        "[[load]]\nname = \"cart\"\napplication = \"shop\"\nclients = 2000\nrate = \"0.001/s\"\nhold = {{ constant = \"4ms\", idle = \"{:.0}ms\" }}\n\
         in.trouble = {{ rate = \"{:.4}/s\", shape = {{ kind = \"ramp\", to = 100 }} }}\n",
        idle_s * 1e3,
        most / 100.0
    );
    let text = base.head(name, seed, &base.phases(over_s), "") + &base.group("web", 1.0, "") + &cart;
    (text, gradual(calm, &["idle_in_transaction", "leak"], None))
}

/// Much more is asked at once.
fn spike(base: Base, draw: Draw<'_>) -> Made {
    let Draw { name, seed, dice } = draw;
    let calm = base.calm_s;
    let times = dice.between(1.3, 2.0) * base.size / base.load;
    let trouble = format!("rate = \"{:.4}/s\"", base.rate * times);
    let group = Base { bursty: false, ..base };
    (
        group.head(name, seed, &base.phases(120.0), "") + &group.group("web", 1.0, &trouble),
        sudden(calm, &["demand_growth", "pool_too_small"]),
    )
}

/// One statement is slow at once.
fn slow_step(base: Base, draw: Draw<'_>) -> Made {
    let Draw { name, seed, dice } = draw;
    let calm = base.calm_s;
    let share = dice.between(0.5, 0.8);
    let times = 1.0 + (dice.between(1.5, 2.5) * base.size / base.load - 1.0) / share;
    let trouble = format!("hold = {{ {} }}", base.hold(times));
    let text = base.head(name, seed, &base.phases(120.0), "")
        + &base.group("report", share, &trouble)
        + &base.group("web", 1.0 - share, "");
    (text, sudden(calm, &["slow_query", "pg_saturated"]))
}

/// Somebody keeps a lock that many want.
fn convoy(base: Base, draw: Draw<'_>) -> Made {
    let Draw { name, seed, dice } = draw;
    let calm = base.calm_s;
    let lasts = dice.between(15.0, 45.0);
    let stock = base.group("stock", 0.4, "").replace("hold = {", "hold = { kind = \"lock\",");
    let small = Base { rate: base.rate.min(0.25 / base.hold_s / 0.4), ..base };
    let stock = if small.rate < base.rate {
        small.group("stock", 0.4, "").replace("hold = {", "hold = { kind = \"lock\",")
    } else {
        stock
    };
    let alter = format!(
        "[[load]]\nname = \"alter\"\napplication = \"migrate\"\nclients = 1\nrate = \"0.000001/s\"\nhold = {{ kind = \"lock\", constant = \"{lasts:.0}s\" }}\n\
         in.trouble = {{ shape = {{ kind = \"herd\" }} }}\n"
    );
    let text = base.head(name, seed, &base.phases(lasts + 60.0), "") + &base.group("web", 0.6, "") + &stock + &alter;
    (text, sudden(calm, &["lock_convoy"]))
}

/// More is asked than there is, and who is refused comes again at once.
fn retry_storm(base: Base, draw: Draw<'_>) -> Made {
    let Draw { name, seed, dice } = draw;
    let calm = base.calm_s;
    let times = dice.between(1.15, 1.4) * base.size / base.load;
    let trouble = format!("rate = \"{:.4}/s\"", base.rate * times);
    let group = Base { bursty: false, ..base };
    let load = group.group("web", 1.0, &trouble).replace("hold =", "retry = { times = 3, after = \"0s\" }\nhold =");
    (
        group.head(name, seed, &base.phases(90.0), "max_wait = \"500ms\"") + &load,
        sudden(calm, &["retry_storm", "demand_growth", "pool_too_small"]),
    )
}

/// The processors have less than everybody wants.
fn saturated(base: Base, draw: Draw<'_>) -> Made {
    let Draw { name, seed, dice } = draw;
    let calm = base.calm_s;
    // Work that shares too few processors: everything gets slower together when a little more is asked.
    let cores = (base.load * 1.3).ceil().max(1.0);
    let times = dice.between(1.5, 2.2);
    let trouble = format!("rate = \"{:.4}/s\"", base.rate * times * 0.25);
    let groups: String = ["list", "show", "save", "find"]
        .iter()
        .map(|name| base.group(name, 0.25, &trouble).replace("hold = {", "hold = { kind = \"cpu\","))
        .collect();
    let head = base.head(name, seed, &base.phases(240.0), "").replace("cores = 400", &format!("cores = {cores}"));
    (head + &groups, sudden(calm, &["pg_saturated", "demand_growth"]))
}

/// PostgreSQL stands still.
fn blackhole(base: Base, draw: Draw<'_>) -> Made {
    let Draw { name, seed, dice } = draw;
    let calm = base.calm_s;
    let lasts = dice.between(20.0, 90.0);
    let fault = format!("[[fault]]\nat = \"{calm:.0}s\"\nkind = \"stall\"\nfor = \"{lasts:.0}s\"\n");
    (
        base.head(name, seed, &base.phases(lasts + 60.0), "") + &base.group("web", 1.0, "") + &fault,
        sudden(calm, &["pg_down", "network"]),
    )
}

/// Nothing.
fn steady(base: Base, draw: Draw<'_>) -> Made {
    let Draw { name, seed, .. } = draw;
    (base.head(name, seed, &[("calm", 21_600.0)], "") + &base.group("web", 1.0, ""), benign())
}

/// Nights, mornings, weekends.
fn cycle(base: Base, draw: Draw<'_>) -> Made {
    let Draw { name, seed, dice } = draw;
    // A week: nights and days, a morning that rises within two hours, a weekend.
    let peak = dice.between(1.1, 1.6);
    let mut factors = Vec::new();
    for at in 0..2_016 {
        let (day, hour) = (at / 288, f64::from(at % 288) / 12.0);
        let work =
            0.25 + 0.75 * (1.0 / (1.0 + (-(hour - 8.5) * 2.2).exp())) * (1.0 / (1.0 + ((hour - 19.0) * 1.2).exp()));
        let weekend = if day >= 5 { 0.55 } else { 1.0 };
        factors.push(format!("{:.3}", peak * work * weekend * dice.between(0.97, 1.03)));
    }
    let shape = format!("shape = {{ kind = \"rates\", every = \"5m\", factors = [{}] }}", factors.join(", "));
    let group = Base { bursty: false, rate: base.rate.min(40.0), ..base };
    let group = Base { hold_s: group.load / group.rate, ..group };
    let load = group.group("web", 1.0, "").replace("hold =", &format!("{shape}\nhold ="));
    (group.head(name, seed, &[("week", 604_800.0)], "") + &load, benign())
}

/// Every client goes and another one comes; a few more than before.
fn deploy(base: Base, draw: Draw<'_>) -> Made {
    let Draw { name, seed, dice } = draw;
    // The new clients come while the old ones go; then more of them than before, for good.
    let more = dice.between(1.0, 1.35);
    let trouble = format!("rate = \"{:.4}/s\", shape = {{ kind = \"reconnect\" }}", base.rate * more);
    let group = Base { bursty: false, ..base };
    (group.head(name, seed, &base.phases(7_200.0), "") + &group.group("web", 1.0, &trouble), benign())
}

/// Every hour or so a batch takes its part.
fn batch(base: Base, draw: Draw<'_>) -> Made {
    let Draw { name, seed, dice } = draw;
    let extra = dice.between(0.15, 0.3);
    let every_s = dice.between(1_800.0, 3_600.0);
    let width_s = dice.between(300.0, 1_200.0);
    let batch = format!(
        "[[load]]\nname = \"batch\"\napplication = \"batch\"\nclients = 300\nrate = \"{:.5}/s\"\nshape = {{ kind = \"comb\", peak = {:.1}, every = \"{every_s:.0}s\", width = \"{width_s:.0}s\" }}\nhold = {{ p50 = \"900ms\", p99 = \"4s\" }}\n",
        base.size * extra / 1.1 / 40.0,
        40.0
    );
    (base.head(name, seed, &[("day", 21_600.0)], "") + &base.group("web", 0.8, "") + &batch, benign())
}

/// PostgreSQL goes and comes back.
fn restart(base: Base, draw: Draw<'_>) -> Made {
    let Draw { name, seed, dice } = draw;
    let calm = base.calm_s;
    let fault =
        format!("[[fault]]\nat = \"{calm:.0}s\"\nkind = \"restart\"\nfor = \"{:.0}s\"\n", dice.between(1.0, 4.0));
    (
        base.head(name, seed, &base.phases(3_600.0), "") + &base.group("web", 1.0, "") + &fault,
        sudden(calm, &["pg_down", "connect_limited", "network"]),
    )
}
