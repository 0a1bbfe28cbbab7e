//! `prove casebook`: who says what of the things that happened.
//!
//! Each case below `tests/review/casebook` is given to `poolwarden check`, its pgbouncer.ini to the installed PgBouncer, which is
//! started and watched for a moment, and its numbers to poolsim, which reads no configuration of others, so that they stand
//! written for it in `others/`. Other poolers have check modes of their own files; what of them is in no package is shown by
//! the answer of the package manager.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::bench::commit;
use crate::bench::place::{Place, on_path, output};

const CASEBOOK: &str = "crates/config/tests/review/casebook";
/// What is no input of a review.
const OURS: [&str; 4] = ["README.md", "codes.txt", "expected.txt", "userlist.txt"];
/// A PgBouncer has read its files and says so within milliseconds; what it would say of them later, it says in this time.
const WATCHED: Duration = Duration::from_secs(3);
/// Poolers with a check mode that were looked for, and how.
const LOOKED_FOR: [(&str, &str); 5] = [
    ("Odyssey (odyssey --test)", "apt-cache policy odyssey"),
    ("pgagroal", "apt-cache policy pgagroal"),
    ("PgCat", "cargo info pgcat"),
    ("PgDog (pgdog configcheck)", "cargo info pgdog"),
    ("pg_doorman (pg_doorman -t)", "cargo info pg_doorman"),
];

/// The programs.
struct Programs {
    poolwarden: PathBuf,
    pgbouncer: PathBuf,
    poolsim: PathBuf,
}

pub(super) fn run(file: Option<&str>, root: &Path) -> Result<()> {
    let named = std::env::var_os("POOLWARDEN_BIN").context("POOLWARDEN_BIN names no poolwarden: build it first")?;
    let programs = Programs {
        poolwarden: fs::canonicalize(&named).with_context(|| format!("no poolwarden at {}", named.display()))?,
        pgbouncer: on_path("pgbouncer").context("pgbouncer is not installed: scripts/setup.sh prove")?,
        poolsim: on_path("poolsim-cli").context("poolsim-cli is not installed: scripts/setup.sh prove")?,
    };
    let mut rows = Vec::new();
    for folder in folders(&root.join(CASEBOOK))? {
        let row = case(&folder, &programs)?;
        eprintln!("prove: casebook: {}", row["case"]);
        rows.push(row);
    }
    let first = |program: &Path| -> Result<String> {
        Ok(output(Command::new(program).arg("--version"))?.lines().next().unwrap_or_default().to_owned())
    };
    let found = json!({
        "versions": { "pgbouncer": first(&programs.pgbouncer)?, "poolsim": first(&programs.poolsim)? },
        "rows": rows,
        "looked_for": LOOKED_FOR.iter().map(|(what, line)| looked_for(what, line)).collect::<Result<Vec<_>>>()?,
    });
    let proof =
        json!({ "schema": 1, "commit": commit(root)?, "command": "cargo xtask prove casebook", "found": found });
    match file {
        Some(file) => fs::write(file, format!("{proof:#}\n")).with_context(|| format!("cannot write {file}")),
        None => {
            eprintln!("{proof:#}");
            Ok(())
        }
    }
}

fn folders(of: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(of).with_context(|| format!("cannot read {}", of.display()))?;
    let mut all = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    all.sort();
    Ok(all)
}

fn text(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn case(folder: &Path, programs: &Programs) -> Result<Value> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let readme = text(&folder.join("README.md"))?;
    let codes: Vec<String> = text(&folder.join("codes.txt"))?.lines().map(str::to_owned).collect();
    let findings = checked(folder, &programs.poolwarden).with_context(|| name.clone())?;
    if let Some(silent) = codes.iter().find(|code| !findings.iter().any(|finding| finding["code"] == **code)) {
        bail!("{name}: poolwarden check says nothing of {silent}");
    }
    let bouncers = folders(folder)?.into_iter().filter(|path| path.extension().is_some_and(|end| end == "ini"));
    Ok(json!({
        "case": name,
        "title": readme.lines().next().unwrap_or_default().trim_start_matches("# "),
        "happened": told(&readme, "happened"),
        "when": told(&readme, "when"),
        "source": told(&readme, "source"),
        "codes": codes,
        "poolwarden": findings,
        "pgbouncer": bouncers.map(|ini| started(&ini, folder, programs)).collect::<Result<Vec<_>>>()?,
        "poolsim": simulated(&folder.join("others"), &programs.poolsim)?,
    }))
}

/// `- KEY: value` of a README.
fn told<'a>(readme: &'a str, key: &str) -> Option<&'a str> {
    readme.lines().find_map(|line| line.strip_prefix("- ")?.strip_prefix(key)?.strip_prefix(": "))
}

/// What `poolwarden check` says of all files of a case.
fn checked(folder: &Path, program: &Path) -> Result<Vec<Value>> {
    let files = folders(folder)?.into_iter().filter(|path| path.is_file());
    let names = files.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    let names = names.filter(|name| !OURS.contains(&name.as_str()));
    let said =
        Command::new(program).current_dir(folder).arg("check").args(names).args(["--format", "json"]).output()?;
    let report: Value = serde_json::from_slice(&said.stdout)
        .with_context(|| format!("poolwarden check: {}", String::from_utf8_lossy(&said.stderr)))?;
    let one = |finding: &Value| {
        json!({ "code": finding["code"], "severity": finding["severity"], "message": finding["message"],
                "files": files_of(finding) })
    };
    Ok(report["findings"].as_array().context("no findings[]")?.iter().map(one).collect())
}

/// The files a finding shows, each once.
fn files_of(finding: &Value) -> Vec<&str> {
    let mut files: Vec<&str> = Vec::new();
    for file in finding["spans"].as_array().into_iter().flatten().filter_map(|span| span["file"].as_str()) {
        if !files.contains(&file) {
            files.push(file);
        }
    }
    files
}

/// A PgBouncer with that file: only where it listens is another place.
fn started(ini: &Path, folder: &Path, programs: &Programs) -> Result<Value> {
    let place = Place::new()?;
    let port = place.free_port()?;
    let here = "listen_addr = 127.0.0.1\nunix_socket_dir =\nlogfile =\npidfile =\n";
    let settings = place.write("pgbouncer.ini", &format!("{}\n{here}listen_port = {port}\n", text(ini)?))?;
    place.write("userlist.txt", &text(&folder.join("userlist.txt"))?)?;
    let log = place.write("log", "")?;
    let files = folders(folder)?.into_iter().find(|path| path.extension().is_some_and(|end| end == "service"));
    let limit = match files {
        Some(unit) => text(&unit)?.lines().find_map(|line| Some(line.strip_prefix("LimitNOFILE=")?.to_owned())),
        None => None,
    };
    let mut command = match &limit {
        Some(limit) => {
            let mut command = place.command(Path::new("prlimit"));
            // the soft limit is the one that holds; nobody may raise the hard one
            command.arg(format!("--nofile={}:", limit.split(':').next().unwrap_or(limit))).arg(&programs.pgbouncer);
            command
        }
        None => place.command(&programs.pgbouncer),
    };
    command.arg(&settings).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.stderr(fs::File::create(&log)?).spawn().context("cannot start pgbouncer")?;
    std::thread::sleep(WATCHED);
    let ended = child.try_wait()?;
    if ended.is_none() {
        child.kill().context("cannot stop pgbouncer")?;
        child.wait()?;
    }
    let said = fs::read_to_string(&log)?;
    // what ended without a word of its own was ended by something else than its settings
    let proofs: &[&str] = if ended.is_none() { &["listening on 127.0.0.1"] } else { &[" FATAL ", " ERROR "] };
    if !proofs.iter().any(|proof| said.contains(proof)) {
        bail!("{}: pgbouncer neither listened nor refused:\n{said}", ini.display());
    }
    Ok(json!({
        "file": ini.file_name().unwrap_or_default().to_string_lossy(),
        "open_files": limit,
        "starts": ended.is_none(),
        "said": of_settings(&said),
    }))
}

/// Lines of its log that are about the settings: complaints, and the sum of files it may need.
fn of_settings(log: &str) -> Vec<String> {
    let line = |line: &str| {
        let (_, said) = line.split_once("] ")?;
        let level = said.split(' ').next()?;
        let complains = ["NOTICE", "WARNING", "ERROR", "FATAL"].contains(&level);
        let resolver = ["dns", "resolv", "getaddrinfo"].iter().any(|word| said.to_lowercase().contains(word));
        (complains && !resolver || said.contains("file descriptor limit")).then(|| said.to_owned())
    };
    log.lines().filter_map(line).collect()
}

/// The commands that are written down for it, and what each says.
fn simulated(others: &Path, program: &Path) -> Result<Vec<Value>> {
    let one = |line: &str| -> Result<Value> {
        let said = Command::new(program).current_dir(others).args(line.split(' ')).output()?;
        let text = format!("{}\n{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
        if said.stdout.is_empty() {
            bail!("poolsim-cli {line}: {text}");
        }
        Ok(json!({ "command": format!("poolsim-cli {line}"), "exit": said.status.code(), "said": warned(&text) }))
    };
    text(&others.join("poolsim.args"))?.lines().map(one).collect()
}

/// Its findings and warnings, without its advice.
fn warned(text: &str) -> Vec<String> {
    let line = |line: &str| {
        let said = line.strip_prefix("finding: ").or_else(|| line.strip_prefix("- "))?;
        Some(said.split(" -> ").next().unwrap_or(said).to_owned())
    };
    text.lines().filter_map(line).collect()
}

/// What the package manager answers when it is asked for a program.
fn looked_for(what: &str, line: &str) -> Result<Value> {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    let said = command.args(words).output().with_context(|| format!("cannot run {line}"))?;
    let all = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    // which index was asked is the machine's affair
    let lines = all.lines().filter(|line| !line.trim_start().starts_with("Updating"));
    let answer = lines.map(|line| line.split(" in registry").next().unwrap_or(line)).collect::<Vec<_>>().join("\n");
    let unknown = answer.is_empty() || answer.contains("could not find");
    Ok(json!({ "what": what, "command": line, "answer": answer, "in_packages": !unknown }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_log_its_complaints_about_settings_are_kept() {
        let log = "2026-11-23 02:30:11.123 UTC [17] LOG kernel file descriptor limit: 1024 (hard: 4096); max_client_conn: 2000\n\
                   2026-11-23 02:30:11.123 UTC [17] WARNING unknown parameter: pool_sise\n\
                   2026-11-23 02:30:11.124 UTC [17] WARNING DNS lookup failed: db.internal\n\
                   2026-11-23 02:30:11.125 UTC [17] LOG process up: PgBouncer 1.18.0\n";
        assert_eq!(
            of_settings(log),
            [
                "LOG kernel file descriptor limit: 1024 (hard: 4096); max_client_conn: 2000",
                "WARNING unknown parameter: pool_sise"
            ]
        );
    }

    #[test]
    fn of_a_simulation_its_findings_are_kept() {
        let text =
            "status: Unsafe\nfinding: LIMIT [Critical] 9000 exceed 4989 -> lower it\nwarnings:\n- 100 but only 97\n";
        assert_eq!(warned(text), ["LIMIT [Critical] 9000 exceed 4989", "100 but only 97"]);
    }

    #[test]
    fn a_readme_tells_by_key() {
        assert_eq!(told("# t\n- happened: it broke\n- when: 2025\n", "when"), Some("2025"));
        assert_eq!(told("- whenever: no\n", "when"), None);
    }

    #[test]
    fn a_program_nobody_packages_is_told_by_the_answer() {
        let one = looked_for("x", "echo could not find `x`").unwrap();
        assert_eq!((one["in_packages"].as_bool(), one["answer"].as_str()), (Some(false), Some("could not find `x`")));
        assert_eq!(looked_for("x", "echo x 1.0").unwrap()["in_packages"], true);
    }
}
