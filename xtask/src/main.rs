//! The house's own chores: `tidy` (walls, sizes, documents), `bench` (beside PgBouncer),
//! `instructions` (what a transaction costs in user instructions), `prove` (long searches for faults).
//!
//! Knows the repository's folders and other people's programs; of the product only the lists it prints pages from.

mod bench;
mod instructions;
mod matrix;
mod mutants;
mod prove;
mod source;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "usage: cargo xtask COMMAND

  tidy [--write]    check walls, sizes, headers, words and generated text; --write brings them up to date
  bench [--pairs 7] [--seconds 5] [--protocols simple,extended,prepared] [--json FILE]
        [--binary FILE] [--engine NAME] [--engine-cmd COMMAND]
                    poolwarden (or COMMAND, with {port}, {postgres}, {folder} filled in) beside PgBouncer
  instructions [--write] [--json FILE]
                    user instructions of one transaction, against the ratchet in bench/instructions.toml
  mutants [CODE | --json FILE]
                    each rule of the review silenced, each of its constants nudged: a test must fail
  prove soak STEPS --json FILE
                    the core against its reference for so many random steps
  prove matrix --json FILE [--seeds 2000]
                    the corpus and the live tests of the protocol against PostgreSQL 13 to 18
  prove logins COUNT --json FILE
                    what a login costs, and whom a storm of logins or wrong passwords slows
  prove worlds COUNT --json FILE
                    so many simulated worlds beyond those of the tests
  prove transfer RUNS [LOAD] --json FILE
                    what `simulate` foretells against what comes, live; of one load alone, the others as FILE has them
  prove fuzz SECONDS [TARGET] --json FILE
                    libFuzzer over every target, or one, for so long each; the cost is added to FILE's
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let Some((command, rest)) = arguments.split_first() else { bail!("{USAGE}") };
    match command.as_str() {
        "tidy" => match rest {
            [] => tidy::run(&root(), false),
            [flag] if flag == "--write" => tidy::run(&root(), true),
            _ => bail!("{USAGE}"),
        },
        "instructions" => instructions::run(rest, &root()),
        "prove" if rest.first().is_some_and(|what| what == "matrix") => matrix::run(&rest[1..], &root()),
        "prove" => prove::run(rest, &root()),
        "mutants" => mutants::run(rest, &root()),
        "bench" => bench::run(&bench::Options::read(rest, &root())?, &root()),
        _ => bail!("{USAGE}"),
    }
}

/// The repository this binary was built from.
fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}
