//! What anybody on this host may look at: why requests wait, who holds the server connections, and the settings in force.
//!
//! Reading needs no token; the statements of applications are shown only with it. A wrong token shows as much as none:
//! who looks at night with an old one still gets the answer.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use poolwarden_watch::why::{Holder, Why};
use poolwarden_watch::{ConfigView, View};
use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use tokio::time::timeout;

use super::{Operate, Source, VIEW_TIMEOUT};
use crate::history;
use crate::review::{self, Reviewed};
use crate::standing::{self, Standing};
use crate::why::{self, Layout, Texts};

pub(super) const WHY: &str = "/api/v1/why";
pub(super) const HOLDERS: &str = "/api/v1/holders";
pub(super) const CONFIG: &str = "/api/v1/config";
pub(super) const REVIEW: &str = "/api/v1/review";
pub(super) const HISTORY: &str = "/api/v1/history";
pub(super) const OPENAPI: &str = "/api/v1/openapi.json";

/// Everything that is served under `/api/v1`, for programs.
pub const OPENAPI_DOCUMENT: &str = include_str!("openapi.json");

/// Why something cannot be told, and what to do instead.
pub type Untold = (String, String);

/// Everybody who holds a server connection, and when that was.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Held {
    /// In milliseconds since 1970 UTC.
    pub at_ms: u64,
    /// Longest first.
    pub holders: Vec<Holder>,
}

#[derive(Clone)]
struct Desk {
    source: Arc<dyn Source>,
    operator: Arc<dyn Operate>,
}

/// How it is asked: `?pool=app&format=text&width=120`.
#[derive(Debug, Default)]
struct Asked {
    pool: Option<String>,
    text: bool,
    width: Option<usize>,
}

pub(super) fn router(source: Arc<dyn Source>, operator: Arc<dyn Operate>) -> Router {
    let desk = Desk { source, operator };
    Router::new()
        .route(WHY, get(tell_why))
        .route(HOLDERS, get(tell_holders))
        .route(CONFIG, get(tell_config))
        .route(REVIEW, get(tell_review))
        .route(HISTORY, get(tell_history))
        .route(OPENAPI, get(|| async { ([(header::CONTENT_TYPE, "application/json")], OPENAPI_DOCUMENT) }))
        .with_state(desk)
}

async fn tell_why(State(desk): State<Desk>, headers: HeaderMap, query: Query<Vec<(String, String)>>) -> Response {
    let texts = desk.texts(&headers);
    desk.tell(query.0, |asked| {
        let answer = desk.source.why(asked.pool.clone());
        let (review, standing) = (desk.source.review(), desk.source.standing());
        async move {
            let why: Why = answer.await?;
            let beside = Beside { review: review.as_deref(), standing: &standing };
            Ok(if asked.text {
                plain(why_text(&why, beside, Layout::new(asked.width, texts)))
            } else {
                answered(StatusCode::OK, &why_json(&why, beside, texts))
            })
        }
    })
    .await
}

async fn tell_holders(State(desk): State<Desk>, headers: HeaderMap, query: Query<Vec<(String, String)>>) -> Response {
    let texts = desk.texts(&headers);
    desk.tell(query.0, |asked| {
        let answer = desk.source.holders(asked.pool.clone());
        async move {
            let held: Held = answer.await?;
            Ok(if asked.text {
                plain(why::holders_text(&held.holders, Layout::new(asked.width, texts)))
            } else {
                answered(StatusCode::OK, &why::holders_json(held.at_ms, &held.holders, texts))
            })
        }
    })
    .await
}

/// What is told beside the pools.
#[derive(Clone, Copy, Debug)]
pub struct Beside<'a> {
    /// The newest review; `None`: there is nothing to review.
    pub review: Option<&'a Reviewed>,
    /// How the configuration in force stands.
    pub standing: &'a Standing,
}

/// The answer to "why?", and below it what is odd about the configuration and what the newest review has found.
#[must_use]
pub fn why_text(why: &Why, beside: Beside<'_>, layout: Layout) -> String {
    let mut text = why::text(why, layout);
    standing::lines(beside.standing, layout.width, &mut text);
    text.extend(beside.review.map(|of| review::line(of, why.at_ms, layout.width)));
    text
}

/// The same for programs: `review` is null where there is nothing to review.
#[must_use]
pub fn why_json(why: &Why, beside: Beside<'_>, texts: Texts) -> Value {
    let mut json = why::json(why, texts);
    json["review"] = beside.review.map_or(Value::Null, |of| review::brief(of, why.at_ms));
    json["running"] = standing::brief(beside.standing);
    json
}

/// Versions of the configuration: `?limit=20&before=7`, or `?version=5` with its text.
async fn tell_history(State(desk): State<Desk>, query: Query<Vec<(String, String)>>) -> Response {
    let asked = match Past::read(&query.0) {
        Ok(asked) => asked,
        Err((error, fix)) => return refused(StatusCode::BAD_REQUEST, &error, &fix),
    };
    match timeout(VIEW_TIMEOUT, desk.source.history(asked)).await {
        Ok(Ok(of)) => answered(StatusCode::OK, &history::page(&of)),
        Ok(Err((error, fix))) => refused(StatusCode::NOT_FOUND, &error, &fix),
        Err(_) => late(),
    }
}

/// Which part of the history is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past {
    /// The newest so many versions and deeds; at most 1,000.
    pub limit: u32,
    /// Versions below this number.
    pub before: Option<u64>,
    /// This version alone, with its text.
    pub version: Option<u64>,
}

impl Past {
    fn read(query: &[(String, String)]) -> Result<Self, Untold> {
        let mut past = Self { limit: 20, before: None, version: None };
        for (key, value) in query {
            let number = value.parse::<u64>().map_err(|_| {
                (format!("{key} is no number: {value}"), "write it as /api/v1/history?limit=20&before=7".to_owned())
            })?;
            match key.as_str() {
                "limit" => past.limit = u32::try_from(number.min(1_000)).unwrap_or(1_000),
                "before" => past.before = Some(number),
                "version" => past.version = Some(number),
                _ => {
                    let fix = "what may stand there: limit, before, version".to_owned();
                    return Err((format!("no such parameter: {key}"), fix));
                }
            }
        }
        Ok(past)
    }
}

/// The newest review as `check` would write it, and when it was.
async fn tell_review(State(desk): State<Desk>) -> Response {
    match desk.source.review() {
        Some(of) if of.at_ms.is_some() => answered(StatusCode::OK, &review::whole(&of, desk.source.now_ms())),
        Some(of) => {
            let why = of.failed.as_ref().map_or(String::new(), |why| format!(": {why}"));
            let fix = format!("try again in a moment, or run poolwarden check {}", of.file);
            refused(StatusCode::SERVICE_UNAVAILABLE, &format!("no review has come to an end yet{why}"), &fix)
        }
        None => {
            let fix = "start poolwarden with -c FILE: then its file is reviewed";
            refused(StatusCode::NOT_FOUND, "there is no file to review", fix)
        }
    }
}

/// Every setting in force; secrets are not among them.
async fn tell_config(State(desk): State<Desk>) -> Response {
    match timeout(VIEW_TIMEOUT, desk.source.scrape()).await {
        Ok(scrape) => answered(StatusCode::OK, &config_json(&scrape.view)),
        Err(_) => late(),
    }
}

/// Every setting in force as JSON; secrets are not among them.
#[must_use]
pub fn config_json(view: &View) -> Value {
    let setting =
        |of: &ConfigView| json!({"key": of.key, "value": of.value, "default": of.default, "live": of.changeable});
    json!({
        "schema": 1,
        "version": view.version,
        "hash": view.process.config_hash,
        "settings": view.config.iter().map(setting).collect::<Vec<_>>(),
    })
}

fn late() -> Response {
    let error = format!("the process did not tell its state within {}s", VIEW_TIMEOUT.as_secs());
    refused(StatusCode::SERVICE_UNAVAILABLE, &error, "see /healthz, which says which loop stands still")
}

impl Desk {
    async fn tell<F>(&self, query: Vec<(String, String)>, answer: impl FnOnce(Asked) -> F) -> Response
    where
        F: Future<Output = Result<Response, Untold>>,
    {
        let asked = match Asked::read(query) {
            Ok(asked) => asked,
            Err((error, fix)) => return refused(StatusCode::BAD_REQUEST, &error, &fix),
        };
        match timeout(VIEW_TIMEOUT, answer(asked)).await {
            Ok(Ok(response)) => response,
            Ok(Err((error, fix))) => refused(StatusCode::NOT_FOUND, &error, &fix),
            Err(_) => late(),
        }
    }

    fn texts(&self, headers: &HeaderMap) -> Texts {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default().trim();
        let right = bool::from(token.as_bytes().ct_eq(self.operator.token().as_bytes()));
        if right { Texts::Shown } else { Texts::Hidden }
    }
}

impl Asked {
    fn read(query: Vec<(String, String)>) -> Result<Self, Untold> {
        let mut asked = Self::default();
        for (key, value) in query {
            match key.as_str() {
                "pool" if !value.is_empty() => asked.pool = Some(value),
                "pool" => {}
                "format" if value == "json" => asked.text = false,
                "format" if value == "text" => asked.text = true,
                "format" => return Err((format!("no such format: {value}"), "ask for format=json or text".to_owned())),
                "width" => {
                    let wrong = |_| {
                        (format!("not a width: {value}"), "write the columns of the terminal: width=100".to_owned())
                    };
                    asked.width = Some(value.parse().map_err(wrong)?);
                }
                _ => {
                    let fix = "what may stand there: pool, format, width".to_owned();
                    return Err((format!("no such parameter: {key}"), fix));
                }
            }
        }
        Ok(asked)
    }
}

fn plain(text: String) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    (headers, text).into_response()
}

fn refused(status: StatusCode, error: &str, fix: &str) -> Response {
    answered(status, &json!({"schema": 1, "error": error, "fix": fix}))
}

fn answered(status: StatusCode, body: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, format!("{body}\n")).into_response()
}
