//! The HTTP side over real sockets.
#![allow(clippy::unwrap_used)] // a test may end where its premise fails

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use poolwarden_console::history::History;
use poolwarden_console::http::{
    Acted, Applied, ApplyOrder, ConfirmOrder, Doing, Done, LeaseAct, LeaseOrder, Meant, Past, PlanOrder, Planned,
    PlannedChange, PoolAct, PoolOrder, PoolsActed, Refused, RefusedKind, RollbackOrder,
};
use poolwarden_console::http::{Held, MAX_CONNECTIONS, Operate, Scraping, Shed, ShedOrder, Source, Telling, serve};
use poolwarden_console::metrics::{CONTENT_TYPE, Scrape};
use poolwarden_console::review::Reviewed;
use poolwarden_console::standing::Standing;
use poolwarden_store::{Version, VersionState};
use poolwarden_watch::why::{Holder, PoolState, PoolWhy, Why};
use poolwarden_watch::{LeaseView, View};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

#[derive(Default)]
struct MadeUp {
    stuck: AtomicBool,
    draining: AtomicBool,
    /// 0: there is nothing to review; 1: no review has come to an end; 2: one has.
    reviews: AtomicU8,
}

impl Source for MadeUp {
    fn scrape(&self) -> Scraping {
        let view = View { version: "0.1.0".into(), ..View::default() };
        Box::pin(async { Scrape { view, ..Scrape::default() } })
    }

    fn why(&self, pool: Option<String>) -> Telling<Why> {
        let holders = vec![holder()];
        let state = PoolState::Saturated;
        let told =
            move |pool: String| PoolWhy { pool, state, next_step: "raise it".into(), holders, ..PoolWhy::default() };
        Box::pin(async move {
            match pool {
                Some(name) if name == "nope" => Err(("no such pool: nope".into(), "the pools are: app".into())),
                Some(_) | None => {
                    Ok(Why { at_ms: 0, pools: vec![told(pool.unwrap_or("app".into()))], ..Why::default() })
                }
            }
        })
    }

    fn holders(&self, pool: Option<String>) -> Telling<Held> {
        let holders = if pool.is_none() { vec![holder()] } else { Vec::new() };
        Box::pin(async { Ok(Held { at_ms: 0, holders }) })
    }

    fn now_ms(&self) -> u64 {
        61_000
    }

    fn standing(&self) -> Standing {
        Standing { version: Some(7), ..Standing::default() }
    }

    fn history(&self, asked: Past) -> Telling<History> {
        Box::pin(async move {
            let version = |n| Version {
                n,
                at_ms: 0,
                by: "alice".into(),
                reason: None,
                changes: Vec::new(),
                text: "[pools.app]".into(),
                hash: String::new(),
                state: VersionState::Superseded,
                effect: None,
            };
            let (standing, audit) = (Standing { version: Some(7), ..Standing::default() }, Vec::new());
            let numbers = match (asked.version, asked.before) {
                (Some(9), _) => return Err(("there is no version 9".into(), "poolwarden history lists them".into())),
                (Some(n), _) => vec![n],
                (None, before) => (1..before.unwrap_or(8)).rev().take(asked.limit as usize).collect(),
            };
            let versions = numbers.into_iter().map(version).collect();
            Ok(History { versions, audit, standing, texts: asked.version.is_some() })
        })
    }

    fn review(&self) -> Option<Arc<Reviewed>> {
        let (at_ms, document) = (Some(1_000), json!({"schema": 1, "findings": []}));
        match self.reviews.load(Ordering::SeqCst) {
            0 => None,
            1 => Some(Arc::new(Reviewed { file: "p.toml".into(), failed: Some("no".into()), ..Reviewed::default() })),
            _ => Some(Arc::new(Reviewed { file: "p.toml".into(), at_ms, document, ..Reviewed::default() })),
        }
    }

    fn healthy(&self) -> Result<(), String> {
        if self.stuck.load(Ordering::SeqCst) { Err("loop 1 has not turned for 3s".into()) } else { Ok(()) }
    }

    fn ready(&self) -> Result<(), String> {
        if self.draining.load(Ordering::SeqCst) { Err("draining".into()) } else { Ok(()) }
    }
}

fn holder() -> Holder {
    Holder { conn: 5, lease: LeaseView { query: "select secret".into(), ..LeaseView::default() }, ..Holder::default() }
}

impl Operate for MadeUp {
    fn token(&self) -> &'static str {
        TOKEN
    }

    fn shed(&self, order: ShedOrder) -> Result<Shed, (String, String)> {
        assert!(order.by.starts_with("http from 127.0.0.1:"), "{order:?}");
        match (order.class.as_str(), order.length.as_str()) {
            ("batch", "10m") => Ok(Shed { class: order.class, until_ms: Some(1_723_708_800_000) }),
            ("batch", "0s") => Ok(Shed { class: order.class, until_ms: None }),
            _ => Err(("no such class: bacth".to_owned(), "did you mean batch?".to_owned())),
        }
    }

    fn lease(&self, order: LeaseOrder) -> Doing<Acted> {
        assert!(order.by.starts_with("http from 127.0.0.1:"), "{order:?}");
        let of = |conn| Done { conn, pool: "app".into(), application: order.act.name().into(), ..Done::default() };
        let done = match (&order.meant, order.act) {
            (Meant::Conn(7), _) => Ok(Acted { done: vec![of(7)], skipped: Vec::new() }),
            (Meant::Conn(8), LeaseAct::Cancel) => Err(refused(RefusedKind::Idle, "connection 8 runs nothing")),
            (Meant::Conn(_), _) => Err(refused(RefusedKind::Absent, "no such connection")),
            (Meant::Stuck(_), _) => Ok(Acted { done: Vec::new(), skipped: vec![(9, "it has ended".to_owned())] }),
        };
        Box::pin(async { done })
    }

    fn pools(&self, order: PoolOrder) -> Doing<PoolsActed> {
        assert!(order.by.starts_with("http from 127.0.0.1:"), "{order:?}");
        let lent = u32::from(order.act == PoolAct::Pause);
        let pools = order.pool.map_or_else(|| vec!["app".to_owned(), "shop".to_owned()], |name| vec![name]);
        Box::pin(async move { Ok(PoolsActed { pools, lent }) })
    }

    fn plan(&self, order: PlanOrder) -> Doing<Planned> {
        assert!(order.by.starts_with("http from 127.0.0.1:"), "{order:?}");
        if order.text.as_deref() == Some("broken") {
            return Box::pin(async { Err(refused(RefusedKind::Idle, "nothing was changed: line 1")) });
        }
        let changes = order.set.iter().map(|set| PlannedChange {
            key: set.clone(),
            from: None,
            to: order.text.clone(),
            live: true,
        });
        let planned = Planned {
            changes: changes.collect(),
            pools: Vec::new(),
            effect: "none".to_owned(),
            waits: None,
            notes: Vec::new(),
        };
        Box::pin(async { Ok(planned) })
    }

    fn apply(&self, order: ApplyOrder) -> Doing<Applied> {
        if order.force.is_none() {
            return Box::pin(async { Err(refused(RefusedKind::Idle, "nothing was changed: CAP-01")) });
        }
        Box::pin(async move { Ok(Applied { effect: format!("{order:?}"), ..Applied::default() }) })
    }

    fn confirm(&self, order: ConfirmOrder) -> Doing<Applied> {
        Box::pin(async move { Ok(Applied { effect: format!("{order:?}"), ..Applied::default() }) })
    }

    fn rollback(&self, order: RollbackOrder) -> Doing<Applied> {
        Box::pin(async move { Ok(Applied { effect: format!("{order:?}"), ..Applied::default() }) })
    }

    fn bundle(&self, _: String) -> Doing<Vec<u8>> {
        if self.draining.load(Ordering::Acquire) {
            return Box::pin(async { Err(refused(RefusedKind::Unready, "it is starting")) });
        }
        Box::pin(async { Ok(b"an archive".to_vec()) })
    }
}

fn refused(kind: RefusedKind, error: &str) -> Refused {
    Refused { kind, error: error.to_owned(), fix: "wait".to_owned() }
}

const TOKEN: &str = "0123456789abcdef";

struct Running {
    at: SocketAddr,
    source: Arc<MadeUp>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

async fn running() -> Running {
    started(true).await
}

async fn started(operated: bool) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let source = Arc::new(MadeUp::default());
    let (stop, stopped) = oneshot::channel::<()>();
    let (told, names) = (Arc::clone(&source), vec!["pool.internal".to_owned()]);
    let operator = operated.then(|| Arc::clone(&source) as Arc<dyn Operate>);
    let task = tokio::spawn(serve(listener, told, operator, names, async {
        stopped.await.unwrap();
    }));
    Running { at, source, stop, task }
}

/// Sends one request and reads the whole answer.
async fn ask(at: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn get(at: SocketAddr, path: &str) -> String {
    ask(at, &format!("GET {path} HTTP/1.1\r\nHost: localhost:9432\r\nConnection: close\r\n\r\n")).await
}

#[tokio::test]
async fn the_history_is_told_in_pages_and_a_version_with_its_text() {
    let running = running().await;
    let numbers = |answer: &str| answer.matches("\"n\":").count();
    for (query, count) in [("", 7), ("?limit=2", 2), ("?before=4", 3), ("?limit=2000&before=3", 2)] {
        let page = get(running.at, &format!("/api/v1/history{query}")).await;
        assert!(page.starts_with("HTTP/1.1 200 ") && numbers(&page) == count, "{query}: {page}");
        assert!(!page.contains("[pools.app]"), "{page}");
    }
    let one = get(running.at, "/api/v1/history?version=7").await;
    assert!(one.contains("\"text\":\"[pools.app]\"") && one.contains("\"in_force\":true"), "{one}");
    for (query, status) in [("?version=9", 404), ("?version=x", 400), ("?since=3", 400)] {
        let refused = get(running.at, &format!("/api/v1/history{query}")).await;
        assert!(
            refused.starts_with(&format!("HTTP/1.1 {status} ")) && refused.contains("\"fix\""),
            "{query}: {refused}"
        );
    }
}

#[tokio::test]
async fn the_newest_review_is_told_with_its_age_and_in_the_answer_to_why() {
    let running = running().await;
    let none = get(running.at, "/api/v1/review").await;
    assert!(none.starts_with("HTTP/1.1 404 ") && none.contains("there is no file to review"), "{none}");
    assert!(get(running.at, "/api/v1/why").await.contains("\"review\":null"));
    assert!(!get(running.at, "/api/v1/why?format=text").await.contains("review"));
    running.source.reviews.store(1, Ordering::SeqCst);
    let failed = get(running.at, "/api/v1/review").await;
    assert!(failed.starts_with("HTTP/1.1 503 ") && failed.contains("no review has come to an end yet: no"), "{failed}");
    running.source.reviews.store(2, Ordering::SeqCst);
    let told = get(running.at, "/api/v1/review").await;
    let (_, body) = told.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        (&body["schema"], &body["age_ms"], &body["at"]),
        (&1.into(), &60_000.into(), &"1970-01-01T00:00:01Z".into())
    );
    let why = get(running.at, "/api/v1/why?format=text").await;
    assert!(why.contains("  review  nothing found, ") && why.contains("poolwarden check p.toml"), "{why}");
}

#[tokio::test]
async fn metrics_come_as_openmetrics() {
    let running = running().await;
    let answer = get(running.at, "/metrics").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.to_ascii_lowercase().contains(&format!("content-type: {CONTENT_TYPE}")), "{answer}");
    assert!(answer.contains("poolwarden_build_info{version=\"0.1.0\"} 1\n") && answer.ends_with("# EOF\n"));
    let head = ask(running.at, "HEAD /metrics HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
}

#[tokio::test]
async fn health_says_which_loop_stands_still_and_readiness_that_it_drains() {
    let running = running().await;
    assert!(get(running.at, "/healthz").await.starts_with("HTTP/1.1 200 "));
    assert!(get(running.at, "/readyz").await.starts_with("HTTP/1.1 200 "));
    running.source.stuck.store(true, Ordering::SeqCst);
    running.source.draining.store(true, Ordering::SeqCst);
    let health = get(running.at, "/healthz").await;
    assert!(health.starts_with("HTTP/1.1 503 ") && health.ends_with("loop 1 has not turned for 3s\n"), "{health}");
    let ready = get(running.at, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503 ") && ready.ends_with("draining\n"), "{ready}");
}

#[tokio::test]
async fn other_paths_methods_and_hosts_are_refused_with_what_there_is() {
    let running = running().await; // dropped, it would stop
    let at = running.at;
    let absent = get(at, "/nothing").await;
    assert!(absent.starts_with("HTTP/1.1 404 ") && absent.contains("/metrics, /healthz, /readyz"), "{absent}");
    for path in ["/metrics", "/nothing"] {
        let post = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        let answer = ask(at, &post).await;
        assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("GET, HEAD"), "{answer}");
    }
    for (host, status) in [
        ("evil.example", "421"),
        ("evil.example:9432", "421"),
        ("localhost.evil.example", "421"),
        ("POOL.internal:9432", "200"),
        ("127.0.0.1:9432", "200"),
        ("[::1]:9432", "200"),
        ("LocalHost", "200"),
    ] {
        let answer = ask(at, &format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {answer}");
    }
    let nameless = ask(at, "GET /healthz HTTP/1.0\r\n\r\n").await;
    assert!(nameless.starts_with("HTTP/1.0 421 "), "{nameless}");
}

#[tokio::test]
async fn silent_connections_are_bounded_and_one_that_leaves_gives_its_place_back() {
    let running = running().await; // dropped, it would stop
    let at = running.at;
    let mut silent = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut answered = [0; 12];
        stream.read_exact(&mut answered).await.unwrap(); // so this one holds a place
        assert_eq!(&answered, b"HTTP/1.1 200");
        silent.push(stream);
    }
    let mut waiting = tokio::spawn(async move { get(at, "/healthz").await });
    assert!(timeout(Duration::from_millis(200), &mut waiting).await.is_err(), "the 65th waits");
    silent.pop();
    assert!(waiting.await.unwrap().starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_shutdown_closes_idle_connections_and_ends() {
    let Running { at, stop, task, .. } = running().await;
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.unwrap();
    stop.send(()).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    task.await.unwrap().unwrap();
    assert!(TcpStream::connect(at).await.is_err());
}

/// A request to shed, with `headers` besides Host.
async fn post(at: SocketAddr, headers: &str, body: &str) -> String {
    post_to(at, "/api/v1/shed", headers, body).await
}

/// The body of an answer with the members of its objects in alphabetical order; an answer that is not JSON as it is.
fn sorted(answer: &str) -> String {
    fn put(value: &Value) -> String {
        match value {
            Value::Object(members) => {
                let ordered: std::collections::BTreeMap<_, _> = members.iter().collect();
                let one = |(name, of): (&String, &Value)| format!("{}:{}", json!(name), put(of));
                format!("{{{}}}", ordered.into_iter().map(one).collect::<Vec<_>>().join(","))
            }
            Value::Array(all) => format!("[{}]", all.iter().map(put).collect::<Vec<_>>().join(",")),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
        }
    }
    let body = answer.split_once("\r\n\r\n").map_or(answer, |(_, body)| body);
    serde_json::from_str(body).map_or_else(|_| answer.to_owned(), |value: Value| put(&value))
}

async fn post_to(at: SocketAddr, path: &str, headers: &str, body: &str) -> String {
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    ask(at, &request).await
}

const JSON: &str = "Content-Type: application/json\r\nAuthorization: Bearer 0123456789abcdef\r\n";
const BATCH: &str = "{\"class\": \"batch\", \"for\": \"10m\"}";

#[tokio::test]
async fn an_operator_with_the_token_sheds_a_class_and_ends_it() {
    let running = running().await;
    let done = post(running.at, JSON, BATCH).await;
    assert!(done.starts_with("HTTP/1.1 200 "), "{done}");
    for part in ["\"schema\":1", "\"class\":\"batch\"", "\"until\":\"2024-08-15T08:00:00Z\""] {
        assert!(done.contains(part), "{done}");
    }
    let own = format!("{JSON}Origin: http://localhost:9432\r\n");
    let ended = post(running.at, &own, "{\"class\": \"batch\", \"for\": \"0s\"}").await;
    assert!(ended.contains("\"until\":null"), "{ended}");
}

#[tokio::test]
async fn what_an_operator_may_do_is_refused_to_everybody_else_and_says_why() {
    let running = running().await;
    let at = running.at;
    let json = "Content-Type: application/json\r\n";
    let wrong = |token: &str| format!("{json}Authorization: Bearer {token}\r\n");
    let long = format!("{{\"class\": \"{}\"}}", "x".repeat(5_000));
    let cases = [
        (json.to_owned(), BATCH, "401", "not the operate token"),
        (wrong("0123456789abcdeF"), BATCH, "401", "not the operate token"),
        (wrong("0123456789abcde"), BATCH, "401", "not the operate token"),
        (wrong(""), BATCH, "401", "not the operate token"),
        (format!("{JSON}Origin: http://evil.example\r\n"), BATCH, "403", "another site"),
        (format!("{JSON}Origin: null\r\n"), BATCH, "403", "another site"),
        (JSON.replace("application/json", "text/plain"), BATCH, "415", "not JSON"),
        (JSON.to_owned(), "{\"class\": ", "400", "not JSON"),
        (JSON.to_owned(), "{\"class\": \"batch\", \"for\": 10}", "400", "its time is missing"),
        (JSON.to_owned(), &long, "413", "too long"),
        (JSON.to_owned(), "{\"class\": \"bacth\", \"for\": \"10m\"}", "422", "did you mean batch?"),
    ];
    for (headers, body, status, said) in cases {
        let answer = post(at, &headers, body).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(said),
            "{headers}{body}\n{answer}"
        );
        assert!(answer.contains("\"fix\":\"") && !answer.contains(TOKEN), "{answer}");
    }
    let elsewhere = format!(
        "POST /api/v1/shed HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n{JSON}Content-Length: 0\r\n\r\n"
    );
    assert!(ask(at, &elsewhere).await.starts_with("HTTP/1.1 421 "));
    assert!(get(at, "/api/v1/shed").await.starts_with("HTTP/1.1 405 "));
}

#[tokio::test]
async fn where_only_metrics_are_served_nobody_operates() {
    let running = started(false).await;
    let refused = post(running.at, JSON, BATCH).await;
    assert!(refused.starts_with("HTTP/1.1 405 ") && refused.contains("GET, HEAD"), "{refused}");
    let absent = get(running.at, "/nothing").await;
    assert!(absent.starts_with("HTTP/1.1 404 ") && !absent.contains("shed"), "{absent}");
}

/// A GET with the operate token.
async fn get_as_operator(at: SocketAddr, path: &str, token: &str) -> String {
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n");
    ask(at, &head).await
}

#[tokio::test]
async fn anybody_here_may_ask_why_and_statements_are_for_operators() {
    let running = running().await;
    let at = running.at;
    for path in ["/api/v1/why", "/api/v1/why?format=text", "/api/v1/holders?format=json", "/api/v1/holders?format=text"]
    {
        let open = get(at, path).await;
        assert!(open.starts_with("HTTP/1.1 200 ") && !open.contains("select"), "{path}: {open}");
        let stale = get_as_operator(at, path, "stale").await;
        assert!(stale.starts_with("HTTP/1.1 200 ") && !stale.contains("select"), "{path}: {stale}");
        let operator = get_as_operator(at, path, TOKEN).await;
        assert!(operator.contains("select secret") && !operator.contains(TOKEN), "{path}: {operator}");
    }
    let json = get(at, "/api/v1/why?pool=orders").await;
    assert!(json.contains("content-type: application/json") && json.contains("\"pool\":\"orders\""), "{json}");
    let text = get(at, "/api/v1/why?format=text&width=80&pool=orders").await;
    assert!(
        text.contains("content-type: text/plain") && text.contains("orders (user") && text.contains("NEXT"),
        "{text}"
    );
    assert!(get(at, "/api/v1/holders?pool=app&format=text").await.ends_with("no server connection is lent\n"));
    let document = get(at, "/api/v1/openapi.json").await;
    assert!(document.starts_with("HTTP/1.1 200 ") && document.contains("\"openapi\": \"3.1.0\""));
}

#[tokio::test]
async fn a_question_that_is_wrong_is_answered_with_what_may_be_asked() {
    let running = running().await;
    let cases = [
        ("/api/v1/why?pool=nope", "404", "the pools are: app"),
        ("/api/v1/why?format=xml", "400", "format=json or text"),
        ("/api/v1/why?pol=app", "400", "pool, format, width"),
        ("/api/v1/holders?width=wide", "400", "width=100"),
    ];
    for (path, status, fix) in cases {
        let answer = get(running.at, path).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(fix), "{path}: {answer}");
    }
}

#[tokio::test]
async fn where_only_metrics_are_served_nobody_asks_why() {
    let running = started(false).await;
    for path in ["/api/v1/why", "/api/v1/holders", "/api/v1/openapi.json"] {
        assert!(get(running.at, path).await.starts_with("HTTP/1.1 404 "), "{path}");
    }
}

#[tokio::test]
async fn operators_verbs_are_done_with_the_token_alone() {
    let running = running().await;
    let at = running.at;
    let paths = ["cancel", "terminate", "pause", "resume", "bundle", "plan", "apply", "confirm", "rollback"]
        .map(|verb| format!("/api/v1/{verb}"));
    let [cancel, terminate, pause, resume, bundle, plan, apply, confirm, rollback] = &paths;
    let cases = [
        (cancel, "{\"conn\": 7}", "200", "\"done\":[{\"application\":\"cancel\""),
        (terminate, "{\"conn\": 7}", "200", "\"application\":\"terminate\""),
        (terminate, "{\"stuck\": \"app\"}", "200", "\"skipped\":[{\"conn\":9,\"why\":\"it has ended\"}]"),
        (cancel, "{\"conn\": 8}", "409", "runs nothing"),
        (terminate, "{\"conn\": 8}", "404", "no such connection"),
        (cancel, "{\"conn\": 7, \"stuck\": \"app\"}", "400", "which connection is meant"),
        (cancel, "{\"conn\": \"7\"}", "400", "which connection is meant"),
        (pause, "{\"pool\": \"app\"}", "200", "\"done\":[{\"pool\":\"app\",\"state\":\"paused\"}],\"lent\":1"),
        (resume, "{\"pool\": null}", "200", "{\"pool\":\"shop\",\"state\":\"active\"}],\"lent\":0"),
        (pause, "{}", "400", "which pool is meant"),
        (bundle, "{}", "200", "an archive"),
        (
            plan,
            "{\"set\": [\"a.b=1\"]}",
            "200",
            "\"binding_after\":null,\"binding_before\":null,\"changes\":[{\"from\":null,\"key\":\"a.b=1\"",
        ),
        (plan, "{\"text\": \"\"}", "200", "\"wait_after\":null"),
        (plan, "{\"text\": \"broken\"}", "409", "line 1"),
        (plan, "{\"set\": []}", "400", "what would change"),
        (apply, "{}", "409", "CAP-01"),
        (
            apply,
            "{\"set\": [\"a=1\"], \"force\": \"now\", \"by\": \"al\\nice\"}",
            "200",
            "by: \\\"al ice, http from 127.0.0.1:",
        ),
        (
            apply,
            "{\"text\": \"[a]\", \"force\": \"f\", \"confirm_within\": \"5m\"}",
            "200",
            "confirm_within: Some(\\\"5m\\\")",
        ),
        (confirm, "{}", "200", "ConfirmOrder { by: \\\"http from 127.0.0.1:"),
        (rollback, "{}", "200", "to: None, reason: None"),
        (rollback, "{\"to\": 4, \"reason\": \"r\"}", "200", "to: Some(4), reason: Some(\\\"r\\\")"),
        (rollback, "{\"to\": \"four\"}", "400", "no number of a version"),
    ];
    for (path, body, status, said) in cases {
        let answer = post_to(at, path, JSON, body).await;
        let (starts, says) = (answer.starts_with(&format!("HTTP/1.1 {status} ")), sorted(&answer).contains(said));
        assert!(starts && says, "{path} {body}\n{answer}");
    }
    assert!(post_to(at, bundle, JSON, "{}").await.to_ascii_lowercase().contains("content-type: application/gzip"));
    running.source.draining.store(true, Ordering::Release);
    assert!(post_to(at, bundle, JSON, "{}").await.starts_with("HTTP/1.1 503 "));
    for path in &paths {
        let answer = post_to(at, path, "Content-Type: application/json\r\n", "{}").await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{path}\n{answer}");
        assert!(get(at, path).await.starts_with("HTTP/1.1 405 "), "{path}");
    }
}
