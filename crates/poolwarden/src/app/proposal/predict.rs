//! What requests would wait before and after a change: the traffic of the last minutes, simulated under both.
//!
//! It is done in a process of its own, so that nothing that goes wrong in it, and none of its time, is felt here.

use std::path::Path;

use poolwarden_console::http::PlannedWait;
use serde_json::Value;

use super::super::child;

/// So much traffic: minutes of it take a second.
const TRAFFIC: &str = "last:15m";
/// What `simulate` ends with where there are too few requests to conclude from.
const TOO_FEW: i32 = 3;

/// Of the pool with the most requests; `None`: too few were recorded.
///
/// # Errors
/// Why there is no prediction.
pub(super) async fn predict(
    recordings: &Path,
    (before, after): (&str, &str),
) -> Result<Option<(PlannedWait, PlannedWait)>, String> {
    let Some(before) = simulated(recordings, before).await? else { return Ok(None) };
    let Some(after) = simulated(recordings, after).await? else { return Ok(None) };
    let asked = |pool: &&Value| pool["asked"].as_u64();
    let Some(busiest) = pools(&before).max_by_key(asked) else { return Ok(None) };
    let same = pools(&after).find(|pool| pool["pool"] == busiest["pool"]);
    Ok(same.map(|same| (wait(busiest), wait(same))))
}

async fn simulated(recordings: &Path, text: &str) -> Result<Option<Value>, String> {
    let mut command = child::myself();
    command.args(["simulate", "--quick", "--format", "json", "--recording", TRAFFIC, "--config", "/dev/stdin"]);
    command.arg("--recordings").arg(recordings);
    match child::ask(&mut command, text, child::PATIENCE).await {
        Ok(answer) => serde_json::from_slice(&answer).map(Some).map_err(|_| "its answer is not JSON".to_owned()),
        Err(child::Failed { code: Some(TOO_FEW), .. }) => Ok(None),
        Err(failed) => Err(failed.why),
    }
}

fn pools(of: &Value) -> impl Iterator<Item = &Value> {
    of["pools"].as_array().into_iter().flatten()
}

fn wait(of: &Value) -> PlannedWait {
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of_wait = |key: &str| number(&of["wait_ms"][key]);
    PlannedWait {
        pool: (text(&of["pool"]["pool"]), text(&of["pool"]["user"])),
        p50_ms: of_wait("p50"),
        p95_ms: of_wait("p95"),
        p99_ms: of_wait("p99"),
        max_ms: of_wait("max"),
        failed_share: number(&of["failed_share"]),
    }
}
