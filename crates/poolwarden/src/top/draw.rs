//! Draws the screen: a function of the state and the size alone.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table, TableState, Wrap};

use poolwarden_console::why::span;

use super::pool::{Holder, Limit, Pool, State as PoolState};
use super::sparkline;
use super::state::{Detail, State};

/// With less there is no place for a pool and its answer.
const MIN: (u16, u16) = (60, 12);
/// Numbers that make the sparkline: two minutes, one a second.
const HISTORY: usize = 120;
/// A detail this tall has place for why, holders and limits together.
const TALL: u16 = 26;
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
const WARN: Style = Style::new().fg(Color::Yellow);

pub(super) fn draw(frame: &mut Frame<'_>, state: &State) {
    let area = frame.area();
    if area.width < MIN.0 || area.height < MIN.1 {
        let text =
            format!("{}x{} is too small: make it {}x{} or more; q leaves", area.width, area.height, MIN.0, MIN.1);
        frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
        return;
    }
    let rows = state.rows();
    // the list takes what it needs, and two fifths at most
    let wanted = u16::try_from(rows.len()).unwrap_or(u16::MAX).saturating_add(2);
    let list = wanted.min(area.height * 2 / 5).max(4);
    let faults = u16::try_from(faults(state).len()).unwrap_or(0).min(3);
    let parts = [
        Constraint::Length(1),
        Constraint::Length(faults),
        Constraint::Length(list),
        Constraint::Min(4),
        Constraint::Length(1),
    ];
    let [title, fault, list, detail, keys] = Layout::vertical(parts).areas(area);
    frame.render_widget(heading(state), title);
    frame.render_widget(Paragraph::new(faults_text(state)), fault);
    pools(frame, list, state, &rows);
    match rows.get(state.selected(&rows)) {
        Some(pool) => details(frame, detail, state, pool),
        None => frame.render_widget(Paragraph::new(nothing(state)), detail),
    }
    frame.render_widget(last_line(state), keys);
}

fn heading(state: &State) -> Line<'static> {
    let (all, troubled) = state.counts();
    let places: Vec<&str> = state.instances.iter().map(|of| of.at.as_str()).collect();
    let at = state.instances.iter().map(|of| of.answered.as_str()).max().unwrap_or_default();
    let time = at.split_once('T').map_or(at, |(_, time)| time);
    let mut spans = vec![Span::styled("poolwarden top ", BOLD), Span::raw(format!("{} {time} ", places.join(", ")))];
    spans.push(Span::raw(format!("{all} pool{}, ", if all == 1 { "" } else { "s" })));
    spans.push(match troubled {
        0 => Span::raw("all calm"),
        _ => Span::styled(format!("{troubled} not calm"), BAD),
    });
    spans.push(Span::raw(format!(", by {}", state.sort.name())));
    let marks = [(state.frozen, "frozen"), (state.only_troubled, "calm hidden")];
    for (_, mark) in marks.iter().filter(|(set, _)| *set) {
        spans.push(Span::styled(format!(" [{mark}]"), WARN));
    }
    if !state.filter.is_empty() {
        spans.push(Span::styled(format!(" /{}", state.filter), WARN));
    }
    Line::from(spans)
}

/// Instances that do not answer, and what around the pools is at fault.
fn faults(state: &State) -> Vec<String> {
    let of = state.instances.iter().flat_map(|of| of.fault.iter().chain(&of.layers));
    of.cloned().collect()
}

fn faults_text(state: &State) -> Vec<Line<'static>> {
    faults(state).into_iter().map(|fault| Line::styled(fault, BAD)).collect()
}

fn nothing(state: &State) -> &'static str {
    if state.counts().0 == 0 {
        "no pool yet: nobody has asked for a server connection"
    } else {
        "no pool is like that: Esc clears the filter, t shows calm ones"
    }
}

fn pools(frame: &mut Frame<'_>, area: Rect, state: &State, rows: &[&Pool]) {
    // what is left of the line beside the columns of numbers is the name's and the sparkline's
    let rest = area.width.saturating_sub(58);
    let spark = (rest / 3).clamp(8, 60);
    let widths = [
        Constraint::Min(12),
        Constraint::Length(9),
        Constraint::Length(7),
        Constraint::Length(5),
        Constraint::Length(6),
        Constraint::Length(6),
        Constraint::Length(6),
        Constraint::Length(11),
        Constraint::Length(spark),
    ];
    let titles = ["POOL/USER", "STATE", "LENT", "WAIT", "FOR", "OK/S", "REF/S", "BINDS", "DEMAND"];
    let several = state.instances.len() > 1;
    let lines = rows.iter().map(|pool| row(pool, usize::from(spark), several));
    let table = Table::new(lines, widths)
        .header(Row::new(titles).style(DIM))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
        .block(Block::new().borders(Borders::BOTTOM).border_style(DIM));
    let mut selection = TableState::default().with_selected(Some(state.selected(rows)).filter(|_| !rows.is_empty()));
    frame.render_stateful_widget(table, area, &mut selection);
}

fn row(pool: &Pool, spark: usize, several: bool) -> Row<'static> {
    let (instance, name, user, _) = &pool.key;
    let number = if several { format!("{}:", instance + 1) } else { String::new() };
    let wait = if pool.waiting > 0 { Some(pool.oldest_ms as f64) } else { pool.wait_ms.filter(|wait| *wait > 0.0) };
    let demand = sparkline::line(pool.demand.iter().copied(), HISTORY, spark, pool.size);
    Row::new([
        Cell::new(format!("{number}{name}/{user}")),
        Cell::new(Span::styled(pool.state.name(), colour(pool.state))),
        Cell::new(format!("{}/{}", pool.lent, pool.size)),
        Cell::new(pool.waiting.to_string()),
        Cell::new(wait.map_or_else(|| "-".to_owned(), short)),
        Cell::new(per_second(pool.served)),
        Cell::new(per_second(pool.refused)),
        Cell::new(pool.binds.clone().unwrap_or_else(|| "-".to_owned())),
        Cell::new(demand),
    ])
}

const fn colour(state: PoolState) -> Style {
    match state {
        PoolState::Down | PoolState::Saturated => BAD,
        PoolState::Paused | PoolState::Tight => WARN,
        PoolState::Calm | PoolState::Unknown => Style::new(),
    }
}

/// A length of time in at most six characters.
fn short(ms: f64) -> String {
    match span(ms * 1_000.0).split_once(' ') {
        Some((number, unit)) => format!("{number}{unit}"),
        None => "?".to_owned(),
    }
}

fn per_second(rate: f64) -> String {
    match rate {
        ..0.05 => "0".to_owned(),
        0.05..9.95 => format!("{rate:.1}"),
        9.95..99_999.5 => format!("{rate:.0}"),
        _ => format!("{:.0}k", rate / 1_000.0),
    }
}

fn details(frame: &mut Frame<'_>, area: Rect, state: &State, pool: &Pool) {
    let (_, name, user, server) = &pool.key;
    let tall = area.height >= TALL;
    let tab = |detail: Detail, word: &str| {
        let shown = tall || state.detail == detail;
        let word = if shown { format!("[{word}] ") } else { format!(" {word}  ") };
        Span::styled(word, if shown { BOLD } else { DIM })
    };
    let title = Line::from(vec![
        Span::styled(format!("{name} (user {user}, server {server})  "), BOLD),
        tab(Detail::Why, "why"),
        tab(Detail::Holders, "holders"),
        tab(Detail::Limits, "limits"),
    ]);
    let next = Line::from(vec![Span::styled("NEXT    ", BOLD), Span::raw(pool.next_step.clone())]);
    // A sentence longer than two lines is not the next step.
    let parts = [Constraint::Length(1), Constraint::Length(2), Constraint::Min(1)];
    let [first, second, rest] = Layout::vertical(parts).areas(area);
    frame.render_widget(title, first);
    frame.render_widget(Paragraph::new(next).wrap(Wrap { trim: false }), second);
    if tall {
        let limits = u16::try_from(pool.limits.len()).unwrap_or(u16::MAX).saturating_add(2).min(rest.height / 3);
        let lines = pool.why.iter().map(|(_, text)| (8 + text.chars().count()).div_ceil(usize::from(rest.width)));
        let lines = u16::try_from(lines.sum::<usize>()).unwrap_or(u16::MAX).saturating_add(1).min(rest.height / 2);
        let parts = [Constraint::Length(lines), Constraint::Length(limits), Constraint::Fill(1)];
        let [top, middle, bottom] = Layout::vertical(parts).areas(rest);
        why(frame, top, pool);
        limits_table(frame, middle, &pool.limits);
        holders(frame, bottom, &pool.holders);
        return;
    }
    match state.detail {
        Detail::Why => why(frame, rest, pool),
        Detail::Holders => holders(frame, rest, &pool.holders),
        Detail::Limits => limits_table(frame, rest, &pool.limits),
    }
}

fn why(frame: &mut Frame<'_>, area: Rect, pool: &Pool) {
    let mut before = "";
    let lines: Vec<Line<'_>> = pool
        .why
        .iter()
        .map(|(heading, text)| {
            let shown = if *heading == before { "" } else { heading };
            before = heading;
            Line::from(vec![Span::styled(format!("{shown:<8}"), BOLD), Span::raw(text.as_str())])
        })
        .collect();
    let text = if lines.is_empty() { vec![Line::raw("nothing stands out")] } else { lines };
    frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: false }), area);
}

fn holders(frame: &mut Frame<'_>, area: Rect, holders: &[Holder]) {
    let widths = [
        Constraint::Length(7),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(16),
        Constraint::Length(14),
        Constraint::Min(10),
    ];
    let row = |of: &Holder| {
        let pid = of.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let application = if of.application.is_empty() { "(no name)".to_owned() } else { of.application.clone() };
        Row::new([of.conn.to_string(), pid, short(of.age_ms as f64), of.state.clone(), application, of.query.clone()])
    };
    let titles = ["CONN", "PID", "HELD", "STATE", "APPLICATION", "STATEMENT"];
    frame.render_widget(Table::new(holders.iter().map(row), widths).header(Row::new(titles).style(DIM)), area);
}

fn limits_table(frame: &mut Frame<'_>, area: Rect, limits: &[Limit]) {
    let widths = [
        Constraint::Length(12),
        Constraint::Length(12),
        Constraint::Length(16),
        Constraint::Length(12),
        Constraint::Min(10),
    ];
    let row = |of: &Limit| {
        let size = of.size.map_or("unlimited".to_owned(), |size| size.to_string());
        let gain = match of.gain {
            Some(0) => "no effect".to_owned(),
            Some(more) => format!("+{more}"),
            None => "+ any number".to_owned(),
        };
        Row::new([of.name.clone(), format!("{}/{size}", of.used), gain, of.next.clone(), of.setting.clone()])
    };
    let titles = ["LIMIT", "USED", "RAISING GAINS", "BINDS NEXT", "SET BY"];
    frame.render_widget(Table::new(limits.iter().map(row), widths).header(Row::new(titles).style(DIM)), area);
}

fn last_line(state: &State) -> Line<'static> {
    if state.typing {
        return Line::from(vec![
            Span::styled("/", BOLD),
            Span::raw(state.filter.clone()),
            Span::raw("_  Enter keeps, Esc clears"),
        ]);
    }
    let keys = [
        ("↑↓", "select"),
        ("Tab", "view"),
        ("s", "sort"),
        ("r", "reverse"),
        ("/", "filter"),
        ("t", "troubled"),
        ("f", "freeze"),
        ("q", "quit"),
    ];
    let mut spans: Vec<Span<'_>> = Vec::new();
    for (key, does) in keys {
        spans.push(Span::styled(key, BOLD));
        spans.push(Span::raw(format!(" {does}  ")));
    }
    Line::from(spans)
}

#[cfg(test)]
mod tests;
