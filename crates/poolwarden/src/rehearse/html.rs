//! The answer as one page that needs nothing else: tables, and a chart of each pool over time.

use std::fmt::Write;

use poolwarden_sim::queueing::{Moment, PoolCourse};
use poolwarden_sim::study::Smallest;

use super::answer::{Answer, Row};
use super::chart::{Chart, Line, escaped};
use super::text::{change, limit, ms};

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1c2733; --dim: #66727f; --rule: #d9dee4; --paper: #fff;
  --c0: #1f6fb2; --c1: #c4501b; --c2: #2c8a4b; --c3: #8a4fb0; --c4: #a67c00; --c5: #b0305c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e8ee; --dim: #98a4b0; --rule: #36404a; --paper: #14191f;
  --c0: #6db3ee; --c1: #f0935f; --c2: #6cc98c; --c3: #c39be0; --c4: #d9b64a; --c5: #ea83a5; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 58rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid var(--rule); }
th:first-child, td:first-child, th.l, td.l { text-align: left; }
th { color: var(--dim); font-weight: 500; }
.warn { border-left: 4px solid var(--c1); padding: .3rem .8rem; }
.wide { overflow-x: auto; }
svg { width: 100%; height: auto; margin: .6rem 0; }
svg text { fill: var(--dim); font: 11px system-ui, sans-serif; } svg text.title { fill: var(--ink); font-weight: 600; }
svg text.y { text-anchor: end; } svg text.x { text-anchor: middle; }
svg .grid { stroke: var(--rule); stroke-width: 1; }
svg polyline { fill: none; stroke-width: 1.5; }
.c0 { stroke: var(--c0); } .c1 { stroke: var(--c1); } .c2 { stroke: var(--c2); } .c3 { stroke: var(--c3); } .c4 { stroke: var(--c4); } .c5 { stroke: var(--c5); }
svg line.c0, svg line.c1, svg line.c2, svg line.c3, svg line.c4, svg line.c5 { stroke-width: 3; }
";
/// A chart has no more lines than colours.
const COLOURS: usize = 6;

pub(crate) fn html(answer: &Answer) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n",
        title = escaped(&answer.title)
    );
    // Writing to a String does not fail, here and below.
    if let Some(why) = answer.inconclusive() {
        let _ = writeln!(out, "<p class=\"warn\"><b>Inconclusive:</b> {}</p>", escaped(&why));
    }
    for variant in answer.variants.iter().filter(|variant| variant.is_extrapolated) {
        let _ = writeln!(
            out,
            "<p class=\"warn\"><b>Extrapolated:</b> {}: {} connections at work at once, more than was ever seen.</p>",
            escaped(&variant.name),
            variant.outcome.most_lent
        );
    }
    waits(&mut out, answer);
    sensitivity(&mut out, answer);
    charts(&mut out, answer);
    out.push_str("<h2>What this rests on</h2><ul>\n");
    for note in &answer.notes {
        let _ = writeln!(out, "<li>{}</li>", escaped(note));
    }
    out.push_str(
        "<li>The very core that lends connections, in virtual time: no scheduler delay, no socket cost.</li>\n</ul></body></html>\n",
    );
    out
}

fn waits(out: &mut String, answer: &Answer) {
    out.push_str(
        "<h2>Waits</h2><div class=\"wide\"><table><tr><th class=\"l\">settings</th><th class=\"l\">pool</th><th>granted</th><th>failed</th>\
         <th>p50</th><th>p95</th><th>p99</th><th>p99 of nine in ten</th><th class=\"l\">binding limit</th><th>smallest size</th></tr>\n",
    );
    let mut row = |name: &str, row: &Row<'_>, between: String, smallest: String| {
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td class=\"l\">{}</td><td>{}</td><td>{:.2}%</td><td>{}</td><td>{}</td><td>{}</td><td>{between}</td>\
             <td class=\"l\">{}</td><td>{smallest}</td></tr>",
            escaped(name),
            escaped(&format!("{}/{}", row.key.database, row.key.user)),
            row.granted,
            row.failed * 100.0,
            ms(row.waits.p50),
            ms(row.waits.p95),
            ms(row.waits.p99),
            row.binding.unwrap_or("none")
        );
    };
    for measured in &answer.measured {
        row("measured", &Row::from(measured), String::new(), String::new());
    }
    for variant in &answer.variants {
        for (place, pool) in variant.outcome.course.pools.iter().enumerate() {
            let between = variant.interval(place).map(|of| format!("{} to {}", ms(of.wait_p99.0), ms(of.wait_p99.1)));
            let smallest = variant.smallest.get(place).map(|smallest| match smallest {
                Smallest::Size(size) => size.to_string(),
                Smallest::None(which) => format!("none: {}", limit(*which)),
            });
            row(&variant.name, &Row::from(pool), between.unwrap_or_default(), smallest.unwrap_or_default());
        }
    }
    let _ = writeln!(
        out,
        "</table></div><p>The smallest size is that with a p99 of at most {} and at most {}% failed.</p>",
        ms(answer.goal.wait_p99),
        answer.goal.failed * 100.0
    );
}

fn sensitivity(out: &mut String, answer: &Answer) {
    if answer.sensitivity.is_empty() {
        return;
    }
    out.push_str(
        "<h2>What it hangs on</h2><div class=\"wide\"><table><tr><th class=\"l\">change</th><th class=\"l\">pool</th><th>p99</th>\
         <th>nine in ten</th><th>failed</th><th>nine in ten</th></tr>\n",
    );
    for row in &answer.sensitivity {
        let of = row.interval;
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td class=\"l\">{}</td><td>{}</td><td>{} to {}</td><td>{:.2}%</td><td>{:.2}% to {:.2}%</td></tr>",
            change(row.change),
            escaped(&format!("{}/{}", row.key.database, row.key.user)),
            ms(row.wait_p99),
            ms(of.wait_p99.0),
            ms(of.wait_p99.1),
            row.failed * 100.0,
            of.failed.0 * 100.0,
            of.failed.1 * 100.0
        );
    }
    out.push_str("</table></div>\n");
}

fn charts(out: &mut String, answer: &Answer) {
    let Some(first) = answer.variants.first() else { return };
    let step_s = first.outcome.course.step.as_secs_f64();
    for pool in &first.outcome.course.pools {
        let name = format!("{}/{}", pool.key.database, pool.key.user);
        let _ = writeln!(out, "<h2>Pool {}</h2>", escaped(&name));
        let each = |read: fn(&Moment) -> f64| pool.moments.iter().map(read).collect::<Vec<f64>>();
        let per_second = |values: Vec<f64>| values.into_iter().map(|value| value / step_s).collect::<Vec<f64>>();
        let demand = vec![
            Line { name: "asked", values: per_second(each(|moment| moment.asked as f64)) },
            Line { name: "failed", values: per_second(each(|moment| moment.failed as f64)) },
        ];
        out.push_str(&Chart { title: "Requests", unit: "/s", step_s, lines: demand }.svg());
        let lent = vec![
            Line { name: "lent", values: each(|moment| moment.lent) },
            Line { name: "size", values: each(|moment| f64::from(moment.size)) },
        ];
        out.push_str(&Chart { title: "Server connections", unit: "", step_s, lines: lent }.svg());
        let of_all = |title: &'static str, unit: &'static str, read: fn(&Moment) -> f64| {
            let of = |course: &PoolCourse| course.moments.iter().map(read).collect::<Vec<f64>>();
            let measured = answer.measured.iter().filter(|measured| measured.key == pool.key);
            let measured = measured.map(|of| Line { name: "measured", values: of.moments.iter().map(read).collect() });
            let lines = answer
                .variants
                .iter()
                .filter_map(|variant| Some(Line { name: &variant.name, values: of(variant.outcome.pool(&pool.key)?) }));
            Chart { title, unit, step_s, lines: measured.chain(lines).take(COLOURS).collect() }.svg()
        };
        out.push_str(&of_all("Waiting", "", |moment| moment.waiting));
        out.push_str(&of_all("Wait, p99", "ms", |moment| moment.waits.p99.as_secs_f64() * 1e3));
        binding(out, pool, step_s);
    }
}

/// Which limit bound when, as stretches of time.
fn binding(out: &mut String, pool: &PoolCourse, step_s: f64) {
    let mut stretches = Vec::new();
    for (at, moment) in pool.moments.iter().enumerate() {
        match (stretches.last_mut(), moment.binding) {
            (Some((limit, _, until)), Some(now)) if *limit == now && *until == at => *until = at + 1,
            (_, Some(now)) => stretches.push((now, at, at + 1)),
            (_, None) => {}
        }
    }
    if stretches.is_empty() {
        out.push_str("<p>Nobody waited for any limit.</p>\n");
        return;
    }
    out.push_str("<table><tr><th class=\"l\">limit that bound</th><th>from</th><th>until</th></tr>\n");
    for (limit, from, until) in stretches.iter().take(MOST_STRETCHES) {
        let at = |step: usize| format!("{:.1}s", step as f64 * step_s);
        let _ = writeln!(out, "<tr><td>{}</td><td>{}</td><td>{}</td></tr>", limit.name(), at(*from), at(*until));
    }
    out.push_str("</table>\n");
    if stretches.len() > MOST_STRETCHES {
        let _ = writeln!(out, "<p>and {} stretches more</p>", stretches.len() - MOST_STRETCHES);
    }
}

/// More rows than this nobody reads.
const MOST_STRETCHES: usize = 40;
