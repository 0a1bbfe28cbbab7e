//! `import`: prints the poolwarden.toml that says what a pgbouncer.ini says.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use poolwarden_config::Finding;
use poolwarden_config::pgbouncer::{Reading, Source};

use crate::app::json::quote;
use crate::cli::{Format, ImportArgs};
use crate::pgbouncer;

/// Something in the file is refused.
const REFUSED: u8 = 1;

pub(crate) fn import(args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let reading = pgbouncer::read(&args.file, &[])?;
    let printed = match args.format {
        Format::Text => {
            eprint!("{}", pgbouncer::rendered(&reading));
            reading.toml.clone()
        }
        Format::Json => json(&reading),
    };
    let mut out = std::io::stdout().lock();
    out.write_all(printed.as_bytes()).and_then(|()| out.flush()).context("standard output")?;
    Ok(if reading.config.is_some() { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}

fn json(reading: &Reading) -> String {
    let toml = if reading.config.is_some() { quote(&reading.toml) } else { "null".to_owned() };
    let all = reading.sources.iter().flat_map(|source| source.findings.iter().map(move |finding| (source, finding)));
    let findings: Vec<String> = all.map(|(source, finding)| one(source, finding)).collect();
    let variables: Vec<String> = reading.variables.iter().map(|(name, _)| quote(name)).collect();
    let (findings, variables) = (findings.join(","), variables.join(","));
    format!("{{\"schema\":1,\"toml\":{toml},\"variables\":[{variables}],\"findings\":[{findings}]}}\n")
}

fn one(source: &Source, finding: &Finding) -> String {
    let text = source.text.get(finding.span.clone()).unwrap_or_default();
    format!(
        "{{\"code\":{},\"severity\":{},\"message\":{},\"spans\":[{{\"file\":{},\"line\":{},\"column\":{},\"text\":{}}}],\"fix\":{}}}",
        quote(finding.code),
        quote(finding.severity.name()),
        quote(&finding.message),
        quote(&source.name),
        finding.line,
        finding.column,
        quote(text),
        quote(&finding.fix),
    )
}
