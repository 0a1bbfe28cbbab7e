//! Screens of made-up answers, drawn to a terminal in memory.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};

use super::super::state::Flow;
use super::*;

fn pool(name: &str, state: &str, (lent, waiting): (u32, u32)) -> Value {
    let saturated = state == "saturated";
    let cause = |code: &str, verdict: &str, share: f64, text: &str| json!({"code": code, "verdict": verdict, "share": share, "evidence": [{"text": text, "numbers": {}}], "next_step": null});
    json!({
        "pool": name, "user": "web", "server": "main", "state": state,
        "lent": lent, "open": 3, "waiting": waiting, "demand": (0..120).map(|second| if saturated { second / 7 + 3 } else { lent }).collect::<Vec<_>>(),
        "oldest_wait_ms": if saturated { 1_250 } else { 0 },
        "rates": {"wait_ms": if saturated { json!(94.0) } else { json!(0.0) }, "granted_per_s": 142.0, "refused_per_s": if saturated { 38.0 } else { 0.0 }},
        "binding_limit": {"name": "user", "setting": "users.web.max_connections", "size": 3, "used": 3, "binds": saturated},
        "gains": [
            {"limit": "user", "gain": 17, "next_limit": "pool_size", "setting": "users.web.max_connections", "size": 3, "used": 3},
            {"limit": "pool_size", "gain": 0, "next_limit": "user", "setting": format!("pools.{name}.size"), "size": 20, "used": lent},
            {"limit": "host_budget", "gain": null, "next_limit": null, "setting": "servers.main.max_connections", "size": null, "used": 5},
        ],
        "causes": if saturated { json!([
            cause("user_limit", "supported", 0.97, "97 % of the wait was for user, which has 3 of 3 in use"),
            cause("upstream", "not_testable", 0.0, "no [[probe]] is configured"),
            cause("pool_too_small", "ruled_out", 0.0, "3 of 20 are lent"),
            cause("lock_convoy", "ruled_out", 0.0, "0 of 3 connections wait for a lock"),
        ]) } else { json!([]) },
        "holders": [
            {"conn": 5, "pid": 8123, "age_ms": 41_000, "state": "active", "blocked_by": [8100], "stuck": false, "application": "shop", "query": "select * from orders where customer = $1 for update"},
            {"conn": 6, "pid": null, "age_ms": 900_000, "state": "idle_in_transaction", "blocked_by": [], "stuck": true, "application": "", "query": null},
            {"conn": 7, "pid": 8125, "age_ms": 3, "state": "idle_in_transaction", "blocked_by": [], "stuck": false, "application": "a\u{1b}[2Jb", "query": null},
        ],
        "changes": [{"at": "2024-08-15T07:51:48Z", "key": "users.web.max_connections", "from": "20", "to": "3", "by": "reload"}],
        "next_step": if saturated { "raise users.web.max_connections from 3 to 9 or more; raising pools.app.size has no effect" } else { "nothing: all is served" },
    })
}

fn answer(waiting: u32) -> Value {
    let pools =
        [pool("app", "saturated", (3, waiting)), pool("calm", "calm", (1, 0)), pool("reports", "tight", (2, 0))];
    json!({"schema": 1, "at": "2024-08-15T08:00:00Z", "pools": pools, "layers": [], "not_seen": []})
}

fn state() -> State {
    let mut state = State::new(&["127.0.0.1:9432".to_owned()]);
    state.take(0, Ok(answer(16)));
    state
}

fn screen(state: &State, (width, height): (u16, u16)) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state)).unwrap();
    terminal.backend().to_string()
}

fn press(state: &mut State, keys: &[KeyCode]) {
    for code in keys {
        assert_eq!(state.key(KeyEvent::new(*code, KeyModifiers::NONE)), Flow::Stay);
    }
}

#[test]
fn the_smallest_usual_terminal_shows_pools_the_next_step_and_why() {
    insta::assert_snapshot!(screen(&state(), (80, 24)));
}

#[test]
fn a_large_terminal_shows_why_limits_and_holders_together() {
    insta::assert_snapshot!(screen(&state(), (120, 45)));
}

#[test]
fn tab_goes_from_why_to_holders_to_limits() {
    let mut state = state();
    press(&mut state, &[KeyCode::Tab]);
    insta::assert_snapshot!("holders", screen(&state, (80, 24)));
    press(&mut state, &[KeyCode::Tab]);
    insta::assert_snapshot!("limits", screen(&state, (80, 24)));
}

#[test]
fn an_instance_that_does_not_answer_and_a_layer_at_fault_stand_on_top() {
    let mut state = State::new(&["10.0.0.2:9432".to_owned(), "10.0.0.3:9432".to_owned()]);
    let mut of = answer(17);
    of["layers"] = json!([
        {"name": "web tier", "verdict": "supported", "evidence": {"text": "9 of 10 probes failed", "numbers": {}}},
        {"name": "network", "verdict": "ruled_out", "evidence": {"text": "fine", "numbers": {}}},
    ]);
    state.take(0, Ok(of));
    state.take(1, Err("10.0.0.3:9432: no answer within 10s".to_owned()));
    let shown = screen(&state, (100, 24));
    assert!(
        shown.contains("web tier: 9 of 10 probes failed") && shown.contains("10.0.0.3:9432: no answer within 10s"),
        "{shown}"
    );
    assert!(!shown.contains("network") && shown.contains("1:app/web"), "{shown}");
    state.take(1, Ok(answer(0)));
    let shown = screen(&state, (100, 24));
    assert!(shown.contains("2:app/web") && !shown.contains("no answer"), "{shown}");
}

#[test]
fn keys_select_sort_filter_hide_and_freeze() {
    let mut state = state();
    let names = |state: &State| state.rows().iter().map(|pool| pool.key.1.clone()).collect::<Vec<_>>().join(" ");
    assert_eq!(names(&state), "app reports calm", "the worst first");
    press(&mut state, &[KeyCode::Down, KeyCode::Down, KeyCode::Char('k')]);
    assert_eq!(state.selected(&state.rows()), 1);
    press(&mut state, &[KeyCode::Char('r')]);
    assert_eq!(
        (names(&state).as_str(), state.selected(&state.rows())),
        ("calm reports app", 1),
        "the selection stays on its pool"
    );
    press(&mut state, &[KeyCode::Char('r'), KeyCode::Char('t')]);
    assert_eq!(names(&state), "app reports");
    press(
        &mut state,
        &[
            KeyCode::Char('t'),
            KeyCode::Char('/'),
            KeyCode::Char('q'),
            KeyCode::Backspace,
            KeyCode::Char('C'),
            KeyCode::Enter,
        ],
    );
    assert_eq!(names(&state), "calm", "what is typed commands nothing");
    assert!(screen(&state, (80, 24)).contains("/C"));
    press(&mut state, &[KeyCode::Esc]);
    for sorted in [
        "app calm reports",
        "app reports calm",
        "app calm reports",
        "app calm reports",
        "app calm reports",
        "app reports calm",
    ] {
        press(&mut state, &[KeyCode::Char('s')]);
        assert_eq!(names(&state), sorted, "by {}", state.sort.name());
    }
    press(&mut state, &[KeyCode::End, KeyCode::Char('f')]);
    state.take(0, Ok(json!({"at": "x", "pools": []})));
    assert_eq!((state.rows().len(), state.selected(&state.rows())), (3, 2), "frozen");
    press(&mut state, &[KeyCode::Char('f'), KeyCode::Home]);
    state.take(0, Ok(json!({"at": "x", "pools": []})));
    assert!(screen(&state, (80, 24)).contains("no pool yet"));
    assert_eq!(state.key(KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE)), Flow::Leave);
    state.typing = true;
    assert_eq!(state.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Flow::Leave);
}

#[test]
fn it_is_drawn_at_any_size_and_nothing_of_a_client_reaches_the_terminal() {
    let mut state = state();
    for detail in 0..3 {
        for width in (1..140).step_by(7) {
            for height in [1, 2, 11, 12, 13, 24, 40, 60] {
                let shown = screen(&state, (width, height));
                assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{width}x{height}, detail {detail}");
            }
        }
        press(&mut state, &[KeyCode::Tab]);
    }
    assert!(screen(&state, (40, 10)).contains("too small"));
}

#[test]
fn an_answer_of_another_shape_is_no_panic() {
    let mut state = State::new(&["a:1".to_owned()]);
    for odd in [
        json!(null),
        json!([]),
        json!({"pools": [null, {"pool": 7, "gains": "x", "holders": [1], "demand": ["x", null]}]}),
    ] {
        state.take(0, Ok(odd));
        screen(&state, (80, 24));
    }
    state.take(9, Ok(answer(1)));
}

#[test]
fn many_pools_scroll_to_the_selected_one() {
    let mut state = State::new(&["a:1".to_owned()]);
    let pools: Vec<Value> = (0..500).map(|at| pool(&format!("p{at:03}"), "calm", (1, 0))).collect();
    state.take(0, Ok(json!({"at": "x", "pools": pools})));
    press(&mut state, &[KeyCode::End]);
    assert!(screen(&state, (80, 24)).contains("p499/web"));
}

#[test]
fn rates_and_times_keep_to_their_columns() {
    assert_eq!(
        [0.0, 0.04, 0.34, 9.94, 142.4, 99_000.0, 1_230_000.0].map(per_second),
        ["0", "0", "0.3", "9.9", "142", "99000", "1230k"]
    );
    assert_eq!([0.4, 12.0, 1_250.0, 72_000.0].map(short), ["400us", "12ms", "1.2s", "1m12s"]);
}
