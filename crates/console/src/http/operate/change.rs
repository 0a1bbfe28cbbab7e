//! Changes of the configuration over HTTP: apply, confirm, rollback.

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::order::{Applied, ApplyOrder, ConfirmOrder, RollbackOrder};
use super::{Asker, Door, MAX_FILE_BODY, answer, by, settled};
use crate::history::version_json;
use crate::standing;

/// A name longer than this is cut: it is for people.
const MAX_NAME: usize = 64;
/// A reason likewise.
const MAX_REASON: usize = 500;

pub(super) async fn apply(
    State(door): State<Door>,
    Extension(Asker(peer)): Extension<Asker>,
    request: Request,
) -> Response {
    const FIX: &str =
        "send {\"text\": \"the whole file\"}, {\"set\": [\"pools.app.size=40\"]}, or {} for the file as it is";
    let done = async {
        let asked = door.asked_of(request, MAX_FILE_BODY, FIX).await?;
        let (text, set) = proposed(&asked);
        let order = ApplyOrder {
            text,
            set,
            reason: words(&asked, "reason", MAX_REASON),
            confirm_within: words(&asked, "confirm_within", MAX_NAME),
            force: words(&asked, "force", MAX_REASON),
            by: who(&asked, peer),
        };
        settled(door.operator.apply(order)).await
    };
    told(done.await)
}

pub(super) async fn confirm(
    State(door): State<Door>,
    Extension(Asker(peer)): Extension<Asker>,
    request: Request,
) -> Response {
    let done = async {
        let asked = door.asked(request, "send {}").await?;
        settled(door.operator.confirm(ConfirmOrder { by: who(&asked, peer) })).await
    };
    told(done.await)
}

pub(super) async fn rollback(
    State(door): State<Door>,
    Extension(Asker(peer)): Extension<Asker>,
    request: Request,
) -> Response {
    const FIX: &str = "send {\"to\": 4}, or {} for the version before";
    let done = async {
        let asked = door.asked(request, FIX).await?;
        let to = match asked.get("to") {
            None | Some(Value::Null) => None,
            Some(to) => match to.as_u64() {
                Some(n) => Some(n),
                None => return Err(super::refused(StatusCode::BAD_REQUEST, "it is no number of a version", FIX)),
            },
        };
        let order = RollbackOrder { to, reason: words(&asked, "reason", MAX_REASON), by: who(&asked, peer) };
        settled(door.operator.rollback(order)).await
    };
    told(done.await)
}

/// The text and the settings that are proposed.
pub(super) fn proposed(asked: &Value) -> (Option<String>, Vec<String>) {
    let text = asked.get("text").and_then(Value::as_str).map(str::to_owned);
    let set = asked.get("set").and_then(Value::as_array).into_iter().flatten();
    (text, set.filter_map(Value::as_str).map(str::to_owned).collect())
}

/// What was said under this name, on one line and not too long; `None`: nothing.
fn words(asked: &Value, key: &str, most: usize) -> Option<String> {
    let said = asked.get(key)?.as_str()?;
    let line: String = said.chars().map(|of| if of.is_control() { ' ' } else { of }).take(most).collect();
    let line = line.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// Who asks: what they call themselves, and where from. Whoever has the token may call themselves anything.
fn who(asked: &Value, peer: std::net::SocketAddr) -> String {
    match words(asked, "by", MAX_NAME) {
        Some(name) => format!("{name}, {}", by(peer)),
        None => by(peer),
    }
}

fn told(done: Result<Applied, Box<Response>>) -> Response {
    match done {
        Ok(of) => answer(
            StatusCode::OK,
            &json!({
                "schema": 1,
                "versions": of.version.iter().map(|version| version_json(version, &of.standing)).collect::<Vec<_>>(),
                "running": standing::brief(&of.standing),
                "file": of.file,
                "effect": of.effect,
                "notes": of.notes,
            }),
        ),
        Err(refused) => *refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_one_line_of_a_bounded_length() {
        let asked = json!({"reason": " more\nroom\u{7} ", "by": "x".repeat(100), "force": " ", "set": ["a=1", 2]});
        assert_eq!(words(&asked, "reason", MAX_REASON).as_deref(), Some("more room"));
        assert_eq!(words(&asked, "force", MAX_REASON), None);
        assert_eq!(words(&asked, "none", MAX_REASON), None);
        let who = who(&asked, "127.0.0.1:5".parse().unwrap());
        assert_eq!(who, format!("{}, http from 127.0.0.1:5", "x".repeat(MAX_NAME)));
        assert_eq!(proposed(&asked), (None, vec!["a=1".to_owned()]));
    }
}
