//! `explain`: the manual page of a limit or a cause.

use std::process::ExitCode;

use anyhow::bail;
use poolwarden_console::manual::{self, Page};

use super::said::{print, width};
use crate::cli::{ExplainArgs, Format};

/// Where the terminal does not say.
const WIDTH: usize = 80;

pub(crate) fn explain(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let width = width().map_or(WIDTH, |columns| usize::from(columns).clamp(60, 120));
    print(&explained(args.code.as_deref(), args.format, width)?)?;
    Ok(ExitCode::SUCCESS)
}

fn explained(code: Option<&str>, format: Format, width: usize) -> anyhow::Result<String> {
    let pages: Vec<&Page> = match code {
        Some(code) => found(code)?,
        None => manual::pages().collect(),
    };
    Ok(match (format, code) {
        (Format::Json, _) => format!("{}\n", manual::json(pages)),
        (Format::Text, None) => manual::list(),
        (Format::Text, Some(_)) => pages.iter().map(|page| manual::text(page, width)).collect::<Vec<_>>().join("\n"),
    })
}

fn found(code: &str) -> anyhow::Result<Vec<&'static Page>> {
    let pages = manual::find(code);
    if !pages.is_empty() {
        return Ok(pages);
    }
    match manual::nearest(code) {
        Some(near) => bail!("no such code: {code}; did you mean {near}?"),
        None => bail!("no such code: {code}; `poolwarden explain` lists all"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_its_page_a_slip_the_nearest_and_nothing_all() {
        let page = explained(Some("leak"), Format::Text, 80).unwrap();
        assert!(page.starts_with("cause leak: ") && page.contains("seen by"), "{page}");
        let both = explained(Some("host_budget"), Format::Text, 80).unwrap();
        assert!(both.contains("limit host_budget:") && both.contains("\ncause host_budget:"), "{both}");
        assert!(explained(None, Format::Text, 80).unwrap().lines().count() > 40);
        let json: serde_json::Value = serde_json::from_str(&explained(None, Format::Json, 80).unwrap()).unwrap();
        assert_eq!(json["pages"].as_array().unwrap().len(), 40);
        let slip = explained(Some("user-limt"), Format::Text, 80).unwrap_err().to_string();
        assert_eq!(slip, "no such code: user-limt; did you mean user_limit?");
        let nonsense = explained(Some("weather_forecast"), Format::Text, 80).unwrap_err().to_string();
        assert!(nonsense.contains("lists all"), "{nonsense}");
    }
}
