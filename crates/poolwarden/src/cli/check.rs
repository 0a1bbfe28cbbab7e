//! The arguments of the review.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// The whole chain of limits, reviewed: what contradicts, which limit will bind, and what to write instead.
///
/// Files are poolwarden.toml, pgbouncer.ini, HikariCP's properties or Spring's YAML, SQLAlchemy's engine, DATABASE_URL,
/// Rails' database.yml, rules of Prometheus and prometheus.yml: what each is, is seen. Without any, ./poolwarden.toml or
/// /etc/poolwarden/poolwarden.toml. Rules whose inputs were not given are listed as not checked.
#[derive(Args, Clone, Debug, Default)]
#[command(
    after_help = "Examples:\n  poolwarden check\n  poolwarden check pgbouncer.ini web/application.yml topology.toml\n  \
                        poolwarden check --live postgres://monitor@db/app --live http://127.0.0.1:9432\n  \
                        poolwarden check --format sarif poolwarden.toml > poolwarden.sarif\n\n\
                        Exit codes: 0 nothing from the fail level on, 1 findings, 2 wrong usage, unreadable input or nothing to speak to, \
                        3 inconclusive: an input is incomplete, or one that --require names is missing"
)]
pub(crate) struct CheckArgs {
    /// Files to review
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// What is running, asked now: postgres://user@host/database of PostgreSQL, …/pgbouncer of a console, http://… of a
    /// poolwarden; repeatable. A password may come from PGPASSWORD
    #[arg(long, value_name = "URL")]
    pub(crate) live: Vec<String>,

    /// Recorded traffic: a file, a directory of them, last:24h, or FROM/TO as RFC 3339 has them
    #[arg(long, value_name = "R")]
    pub(crate) recording: Option<String>,

    /// Alerting rules; repeatable
    #[arg(long, value_name = "RULES")]
    pub(crate) prometheus: Vec<PathBuf>,

    /// Findings that were known before, which do not fail
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<PathBuf>,

    /// Write the findings of now into the baseline
    #[arg(long, requires = "baseline")]
    pub(crate) update_baseline: bool,

    /// Make the edits of findings that are safe, and review the result
    #[arg(long)]
    pub(crate) fix: bool,

    /// What must have been given, or the review is inconclusive
    #[arg(long, value_enum, value_delimiter = ',', value_name = "INPUT")]
    pub(crate) require: Vec<Require>,

    /// From which severity on a finding fails
    #[arg(long, value_enum, default_value_t)]
    pub(crate) fail_level: FailLevel,

    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: CheckFormat,
}

/// What a review can require.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Require {
    /// PostgreSQL's slots, and replicas and pool size of every application
    Topology,
    /// What a running process or PostgreSQL tells
    Live,
    /// Recorded traffic
    Recording,
}

/// From which severity on a finding fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailLevel {
    Error,
    #[default]
    Warning,
    Info,
}

/// How a review is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckFormat {
    #[default]
    Text,
    Json,
    /// SARIF 2.1.0
    Sarif,
    /// Annotations of GitHub's workflows
    Github,
}
