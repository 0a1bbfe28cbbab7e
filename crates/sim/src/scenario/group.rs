//! `[[load]]`: groups of clients, and what is different about them in a phase (`[load.in.PHASE]`).

use std::time::Duration;

use super::read::MOST;
use super::table::{Faults, Section};
use super::{Group, Hold, HoldKind, Law, Part, Phase, Protocol, Retry, Shape};

/// What was read before.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) phases: &'a [Phase],
    pub(super) capacity: Option<f64>,
}

/// Keys that a phase may say differently.
const OF_PHASE: [&str; 4] = ["rate", "x", "shape", "hold"];
const OF_GROUP: [&str; 11] = [
    "name",
    "class",
    "application",
    "user",
    "protocol",
    "clients",
    "retry",
    "deadline",
    "acquire",
    "tells_deadline",
    "think",
];
/// Fastest a generator of arrivals is asked to be, in requests per second.
const FASTEST: f64 = 1e6;
/// How long a stretch of counted rates is where nothing else is written.
const SECOND: Duration = Duration::from_secs(1);
/// Larger factors are slips of the keyboard.
const STEEPEST: f64 = 1e4;
/// Most retries of one request.
const MOST_RETRIES: u32 = 100;
/// Retries of the shape `retry` where nothing else is written: what many drivers do of themselves.
const STORM: u32 = 3;

pub(super) fn groups(faults: &mut Faults<'_>, root: &Section<'_>, known: Known<'_>) -> Vec<Group> {
    let sections = faults.list(root, "load");
    if sections.is_empty() && !root.has("load") {
        let message = "the scenario has no load".to_owned();
        faults.add("missing", root.span.clone(), message, "write [[load]] with name, rate and hold");
    }
    let mut groups: Vec<Group> = Vec::new();
    for section in &sections {
        let Some(group) = group(faults, section, known) else { continue };
        if groups.iter().any(|other| other.name == group.name) {
            let message = format!("two loads are named \"{}\"", group.name);
            faults.add("contradiction", section.place("name"), message, "give each a name of its own");
        }
        groups.push(group);
    }
    groups
}

fn group(faults: &mut Faults<'_>, section: &Section<'_>, known: Known<'_>) -> Option<Group> {
    faults.only(section, &[&OF_GROUP[..], &OF_PHASE[..], &["in"]].concat());
    let name = faults.text(section, "name");
    let name = faults.needed(section, "name", name, "\"web\"")?;
    let protocols = [("simple", Protocol::Simple), ("pipelined", Protocol::Pipelined)];
    let class = faults.text(section, "class");
    let application = faults.text(section, "application").unwrap_or_else(|| name.clone());
    let user = faults.text(section, "user");
    let protocol = faults.word(section, "protocol", &protocols).unwrap_or(Protocol::Simple);
    let clients = faults.count(section, "clients", 1, MOST).unwrap_or(100);
    let retry = retry(faults, section);
    let deadline = faults.span(section, "deadline");
    let acquire = faults.span(section, "acquire");
    let tells_deadline = faults.truth(section, "tells_deadline").unwrap_or(false);
    if tells_deadline && deadline.is_none() {
        let message = format!("load \"{name}\" tells a deadline and has none");
        faults.add("contradiction", section.place("tells_deadline"), message, "write deadline = \"1s\"");
    }
    let think = faults.inner(section, "think");
    let think = match &think {
        Some(inner) => Some(self::think(faults, section, inner)?),
        None => None,
    };
    let parts = parts(faults, section, (known, think.is_some()))?;
    Some(Group {
        name,
        class,
        application,
        user,
        protocol,
        clients,
        retry,
        deadline,
        acquire,
        think,
        tells_deadline,
        parts,
    })
}

/// How long users think; requests then come from nothing else.
fn think(faults: &mut Faults<'_>, section: &Section<'_>, inner: &Section<'_>) -> Option<Law> {
    faults.only(inner, &LAW);
    for key in ["rate", "x", "shape"] {
        if section.has(key) {
            let message = format!("users who think ask by themselves, and `{key}` says how often");
            faults.add("contradiction", section.place(key), message, "take it out, or think");
        }
    }
    law(faults, inner, "think")
}

fn retry(faults: &mut Faults<'_>, section: &Section<'_>) -> Retry {
    let Some(inner) = faults.inner(section, "retry") else {
        let shape = faults.inner(section, "shape");
        let storm = shape
            .is_some_and(|shape| shape.table.get("kind").is_some_and(|kind| kind.get_ref().as_str() == Some("retry")));
        return Retry { times: if storm { STORM } else { 0 }, after: Duration::ZERO, factor: 1.0 };
    };
    faults.only(&inner, &["times", "after", "factor"]);
    let times = faults.count(&inner, "times", 0, MOST_RETRIES);
    Retry {
        times: faults.needed(&inner, "times", times, "3").unwrap_or(0),
        after: faults.duration(&inner, "after").unwrap_or(Duration::ZERO),
        factor: faults.number(&inner, "factor", 10.0).unwrap_or(1.0),
    }
}

/// One part for each phase: the group's own keys, and over them the phase's.
fn parts(faults: &mut Faults<'_>, section: &Section<'_>, (known, thinks): (Known<'_>, bool)) -> Option<Vec<Part>> {
    let special = faults.inner(section, "in");
    let names: Vec<&str> = known.phases.iter().map(|phase| phase.name.as_str()).collect();
    if let Some(special) = &special {
        faults.only(special, &names);
    }
    let mut parts = Vec::new();
    for name in names {
        let own = special.as_ref().and_then(|special| faults.inner(special, name));
        if let Some(own) = &own {
            faults.only(own, &OF_PHASE);
        }
        parts.push(part(faults, (section, own.as_ref()), known.capacity, thinks));
    }
    parts.into_iter().collect()
}

fn part<'s>(
    faults: &mut Faults<'_>,
    (section, own): (&Section<'s>, Option<&Section<'s>>),
    capacity: Option<f64>,
    thinks: bool,
) -> Option<Part> {
    let says = |keys: &[&str]| own.filter(|own| keys.iter().any(|key| own.has(key))).unwrap_or(section).clone();
    let shape = match faults.inner(&says(&["shape"]), "shape") {
        Some(inner) => shape(faults, &inner)?,
        None => Shape::Step,
    };
    let rate = if thinks { 0.0 } else { rate(faults, &says(&["rate", "x"]), capacity, &shape)? };
    let of_hold = says(&["hold"]);
    let hold = faults.inner(&of_hold, "hold");
    let hold = faults.needed(&of_hold, "hold", hold, "{ constant = \"20ms\" }")?;
    Some(Part { rate, shape, hold: self::hold(faults, &hold)? })
}

fn rate(faults: &mut Faults<'_>, section: &Section<'_>, capacity: Option<f64>, shape: &Shape) -> Option<f64> {
    let (rate, times) = (faults.rate(section, "rate"), faults.number(section, "x", STEEPEST));
    let rate = match (rate, times, capacity) {
        (Some(_), Some(_), _) => {
            faults.add(
                "contradiction",
                section.place("x"),
                "rate and x say the same thing twice".to_owned(),
                "keep one of them",
            );
            return None;
        }
        (Some(rate), None, _) => rate,
        (None, Some(times), Some(capacity)) => times * capacity,
        (None, Some(_), None) => {
            let message = "x is a multiple of the capacity, which nothing says".to_owned();
            faults.add(
                "missing",
                section.place("x"),
                message,
                "write capacity = \"1000/s\" in [pool], or rate instead of x",
            );
            return None;
        }
        (None, None, _) if shape.gathers() => 0.0,
        (None, None, _) => {
            faults.needed(section, "rate", None::<f64>, "\"300/s\", or x = 0.3 of the pool's capacity")?;
            return None;
        }
    };
    if rate * shape.most() > FASTEST {
        let message = format!("{:.0} requests per second", rate * shape.most());
        faults.add("wrong-value", section.span.clone(), message, "stay below 1000000/s");
    }
    Some(rate)
}

/// Keys of a [`Law`].
const LAW: [&str; 4] = ["constant", "p50", "p99", "exponential"];

fn hold(faults: &mut Faults<'_>, inner: &Section<'_>) -> Option<Hold> {
    faults.only(inner, &[&["kind", "grows", "idle"], &LAW[..]].concat());
    let kinds = [HoldKind::Sleep, HoldKind::Cpu, HoldKind::Lock].map(|kind| (kind.name(), kind));
    let kind = faults.word(inner, "kind", &kinds).unwrap_or(HoldKind::Sleep);
    let grows = faults.number(inner, "grows", STEEPEST).unwrap_or(1.0);
    let idle = faults.span(inner, "idle").unwrap_or(Duration::ZERO);
    Some(Hold { kind, law: law(faults, inner, "a hold")?, grows, idle })
}

fn law(faults: &mut Faults<'_>, inner: &Section<'_>, what: &str) -> Option<Law> {
    let [constant, p50, p99, exponential] = LAW.map(|key| faults.span(inner, key));
    match (constant, p50, p99, exponential) {
        (Some(all), None, None, None) => Some(Law::Constant(all)),
        (None, Some(p50), Some(p99), None) if p99 > p50 => Some(Law::LogNormal(p50, p99)),
        (None, Some(p50), Some(p99), None) if p99 == p50 => Some(Law::Constant(p50)),
        (None, None, None, Some(mean)) => Some(Law::Exponential(mean)),
        (None, None, None, None) if !LAW.iter().any(|key| inner.has(key)) => {
            faults.needed(inner, "constant", None::<Duration>, "\"20ms\", or p50 and p99")?;
            None
        }
        _ => {
            let message = format!("{what} is one constant, one exponential mean, or p50 and a p99 that is not shorter");
            faults.add(
                "contradiction",
                inner.span.clone(),
                message,
                "write constant = \"20ms\", or p50 = \"4ms\" and p99 = \"60ms\", or exponential = \"20ms\"",
            );
            None
        }
    }
}

fn shape(faults: &mut Faults<'_>, inner: &Section<'_>) -> Option<Shape> {
    let kinds = ["step", "flash", "ramp", "comb", "herd", "reconnect", "retry", "sine", "rates", "bursts"]
        .map(|word| (word, word));
    let kind = faults.word(inner, "kind", &kinds);
    let kind = faults.needed(inner, "kind", kind, "\"step\"")?;
    let keys: &[&str] = match kind {
        "flash" => &["kind", "peak", "rise", "hold", "decay"],
        "ramp" => &["kind", "to"],
        "comb" => &["kind", "peak", "every", "width"],
        "sine" => &["kind", "period", "depth"],
        "rates" => &["kind", "every", "factors"],
        "bursts" => &["kind", "peak", "calm", "burst"],
        _ => &["kind"],
    };
    faults.only(inner, keys);
    let mut peak = |key: &str| {
        let peak = faults.number(inner, key, STEEPEST);
        faults.needed(inner, key, peak, "8")
    };
    Some(match kind {
        "flash" => Shape::Flash {
            peak: peak("peak")?,
            rise: faults.duration(inner, "rise").unwrap_or(Duration::ZERO),
            hold: faults.duration(inner, "hold").unwrap_or(Duration::ZERO),
            decay: faults.duration(inner, "decay").unwrap_or(Duration::ZERO),
        },
        "ramp" => Shape::Ramp { to: peak("to")? },
        "comb" => {
            let peak = peak("peak");
            let (every, width) = (faults.span(inner, "every"), faults.span(inner, "width"));
            let every = faults.needed(inner, "every", every, "\"10s\"");
            let width = faults.needed(inner, "width", width, "\"1s\"");
            Shape::Comb { peak: peak?, every: every?, width: width? }
        }
        "sine" => {
            let period = faults.span(inner, "period");
            let period = faults.needed(inner, "period", period, "\"60s\"")?;
            Shape::Sine { period, depth: faults.number(inner, "depth", 1.0).unwrap_or(1.0) }
        }
        "rates" => {
            let factors = faults.numbers(inner, "factors", FASTEST);
            let factors = faults.needed(inner, "factors", factors, "[1, 2.5, 0.5]")?;
            Shape::Rates { every: faults.span(inner, "every").unwrap_or(SECOND), factors: factors.into() }
        }
        "bursts" => {
            let peak = peak("peak");
            let (calm, burst) = (faults.span(inner, "calm"), faults.span(inner, "burst"));
            let calm = faults.needed(inner, "calm", calm, "\"9s\"");
            let burst = faults.needed(inner, "burst", burst, "\"1s\"");
            Shape::Bursts { peak: peak?, calm: calm?, burst: burst? }
        }
        "herd" => Shape::Herd,
        "reconnect" => Shape::Reconnect,
        _ => Shape::Step,
    })
}
