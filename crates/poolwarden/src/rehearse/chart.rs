//! A line chart as SVG, to stand in a page: axes with round numbers, a legend, and a title for who cannot see it.

use std::fmt::Write;

/// Its size in CSS pixels.
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 220.0;
/// Room beside the lines: left, right, above, below.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 12.0;
const ABOVE: f64 = 28.0;
const BELOW: f64 = 26.0;
/// Where the legend begins beside the title, and how high one of its lines is where it needs lines of its own.
const LEGEND: f64 = 260.0;
const LEGEND_LINE: f64 = 16.0;
/// A stroke before each name, and about what a letter takes.
const STROKE: f64 = 24.0;
const LETTER: f64 = 6.8;
/// About so many marks on each axis.
const MARKS: f64 = 5.0;
/// A line of more points is drawn by the largest of each of so many stretches.
const MOST_POINTS: usize = 600;

/// A chart over time.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    /// Of the values.
    pub(super) unit: &'a str,
    /// How long one step is.
    pub(super) step_s: f64,
    pub(super) lines: Vec<Line<'a>>,
}

/// One of its lines. Their colours are those of the page's classes `c0`, `c1`, …
pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    pub(super) values: Vec<f64>,
}

impl Chart<'_> {
    pub(super) fn svg(&self) -> String {
        let steps = self.lines.iter().map(|line| line.values.len()).max().unwrap_or(0);
        let (ends, most) = (steps as f64 * self.step_s, self.most());
        let (legend, lower) = self.legend();
        let height = HEIGHT + lower;
        let mut out = format!(
            "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\"><title>{title}</title>\n\
             <text class=\"title\" x=\"{LEFT}\" y=\"16\">{title}</text>\n",
            title = escaped(self.title)
        );
        out.push_str(&legend);
        // Writing to a String does not fail, here and below.
        let _ = writeln!(out, "<g transform=\"translate(0 {lower})\">");
        self.axes(&mut out, ends, most);
        for (place, line) in self.lines.iter().enumerate() {
            self.line(&mut out, place, line, (ends, most));
        }
        out.push_str("</g></svg>\n");
        out
    }

    /// Beside the title where all names fit, else in lines of their own; and by how much the chart is lower for that.
    fn legend(&self) -> (String, f64) {
        let width = |line: &Line<'_>| STROKE + (line.name.chars().count() as f64 + 3.0) * LETTER;
        let fits = self.lines.iter().map(width).sum::<f64>() <= WIDTH - RIGHT - LEFT - LEGEND;
        let (mut out, first) = (String::new(), if fits { LEFT + LEGEND } else { LEFT });
        let (mut x, mut lines) = (first, if fits { 0.0 } else { 1.0 });
        for (place, line) in self.lines.iter().enumerate() {
            if x > first && x + width(line) > WIDTH - RIGHT {
                (x, lines) = (first, lines + 1.0);
            }
            let y = 16.0 + lines * LEGEND_LINE;
            let _ = writeln!(
                out,
                "<line class=\"c{place}\" x1=\"{x:.1}\" x2=\"{:.1}\" y1=\"{}\" y2=\"{}\"/><text class=\"legend\" x=\"{:.1}\" y=\"{y}\">{}</text>",
                x + 18.0,
                y - 4.0,
                y - 4.0,
                x + STROKE,
                escaped(line.name)
            );
            x += width(line);
        }
        (out, lines * LEGEND_LINE)
    }

    /// The top of the scale: above every value, and a round number.
    fn most(&self) -> f64 {
        let most = self.lines.iter().flat_map(|line| &line.values).copied().fold(0.0, f64::max);
        let step = round_step(most);
        ((most / step).ceil() * step).max(step)
    }

    fn axes(&self, out: &mut String, ends: f64, most: f64) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BELOW);
        let mut mark = 0.0;
        let step = round_step(most);
        while mark <= most * 1.0001 {
            let y = bottom - mark / most * (bottom - ABOVE);
            let _ = writeln!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"y\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                LEFT - 6.0,
                y + 4.0,
                plain(mark)
            );
            mark += step;
        }
        let _ = writeln!(out, "<text class=\"y\" x=\"{:.1}\" y=\"16\">{}</text>", LEFT - 6.0, escaped(self.unit));
        let (mut mark, step) = (0.0, round_time(ends));
        while mark <= ends * 1.0001 && step > 0.0 {
            let x = LEFT + mark / ends * (right - LEFT);
            let _ = writeln!(out, "<text class=\"x\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>", HEIGHT - 8.0, clock(mark));
            mark += step;
        }
    }

    fn line(&self, out: &mut String, place: usize, line: &Line<'_>, (ends, most): (f64, f64)) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BELOW);
        let stretch = line.values.len().div_ceil(MOST_POINTS).max(1);
        let mut points = String::new();
        for (at, some) in line.values.chunks(stretch).enumerate() {
            let value = some.iter().copied().fold(0.0, f64::max);
            let x = LEFT + ((at * stretch) as f64 * self.step_s) / ends * (right - LEFT);
            let y = bottom - value / most * (bottom - ABOVE);
            let _ = write!(points, "{x:.1},{y:.1} ");
        }
        let _ = writeln!(out, "<polyline class=\"c{place}\" points=\"{}\"/>", points.trim_end());
    }
}

/// 1, 2 or 5 times a power of ten, about a fifth of `most`.
fn round_step(most: f64) -> f64 {
    if most <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf((most / MARKS).log10().floor());
    let times = most / MARKS / power;
    power
        * if times <= 1.0 {
            1.0
        } else if times <= 2.0 {
            2.0
        } else if times <= 5.0 {
            5.0
        } else {
            10.0
        }
}

/// A round time, about a sixth of `ends` seconds.
fn round_time(ends: f64) -> f64 {
    const TIMES: [f64; 18] = [
        0.1, 0.5, 1.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0,
        21600.0, 86400.0,
    ];
    TIMES.into_iter().find(|time| ends / time <= 8.0).unwrap_or(ends / 6.0)
}

/// Seconds since the beginning, as a clock has them.
fn clock(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        _ if seconds < 10.0 && seconds.fract() > 0.01 => format!("{seconds:.1}s"),
        0..60 => format!("{whole}s"),
        60..3600 => format!("{}:{:02}", whole / 60, whole % 60),
        3600.. => format!("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60),
    }
}

fn plain(value: f64) -> String {
    if value.fract().abs() < 1e-9 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}").trim_end_matches('0').to_owned()
    }
}

/// Text within a page.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_round_and_hold_every_value() {
        for (most, top) in [(0.0, 1.0), (3.0, 3.0), (97.0, 100.0), (0.013, 0.015), (1234.0, 1500.0)] {
            let chart =
                Chart { title: "t", unit: "ms", step_s: 1.0, lines: vec![Line { name: "n", values: vec![most] }] };
            assert!((chart.most() - top).abs() < 1e-9, "{most}: {}", chart.most());
        }
        assert_eq!([5.5, 59.0, 61.0, 3661.0].map(clock), ["5.5s", "59s", "1:01", "1:01:01"]);
    }

    #[test]
    fn names_that_are_too_long_for_the_titles_line_have_lines_of_their_own() {
        let chart = |names: &[&'static str]| {
            let lines = names.iter().map(|name| Line { name, values: vec![1.0] }).collect();
            Chart { title: "t", unit: "", step_s: 1.0, lines }
        };
        let (short, lower) = chart(&["measured", "as it is"]).legend();
        assert!(short.contains("y=\"16\"") && lower == 0.0, "{short}");
        let long = [
            "measured",
            "pools.app.min_size=0 pools.app.size=15",
            "as it is",
            "pools.app.size=2000 users.app.max_connections=24",
        ];
        let (legend, lower) = chart(&long).legend();
        assert!(lower == 2.0 * LEGEND_LINE && !legend.contains("y=\"16\""), "{lower}: {legend}");
        let svg = chart(&long).svg();
        assert!(svg.contains(&format!("0 0 {WIDTH} {}", HEIGHT + lower)), "{svg}");
    }

    #[test]
    fn a_chart_draws_every_line_within_itself_and_no_markup_gets_in() {
        let values: Vec<f64> = (0..5000).map(f64::from).collect();
        let lines = vec![Line { name: "a<b", values: values.clone() }, Line { name: "c", values: vec![0.0; 5000] }];
        let svg = Chart { title: "\"x\" & y", unit: "ms", step_s: 1.0, lines }.svg();
        assert!(svg.contains("a&lt;b") && svg.contains("&quot;x&quot; &amp; y") && !svg.contains("a<b"));
        assert_eq!(svg.matches("<polyline").count(), 2);
        let points = svg.split("points=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("points");
        let all: Vec<(f64, f64)> = points
            .split(' ')
            .map(|pair| {
                let (x, y) = pair.split_once(',').expect("a pair");
                (x.parse().expect("x"), y.parse().expect("y"))
            })
            .collect();
        assert!(all.len() <= MOST_POINTS && all.len() > 500);
        assert!(all.iter().all(|(x, y)| (LEFT..=WIDTH).contains(x) && (ABOVE - 0.1..=HEIGHT - BELOW).contains(y)));
        assert!(all.last().expect("one").1 < ABOVE + 1.0, "the largest is at the top");
    }
}
