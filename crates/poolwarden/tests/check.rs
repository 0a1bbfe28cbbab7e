//! `check` from outside: exit codes and their precedence, formats, safe edits, the baseline, the allow-list.

#![allow(clippy::unwrap_used)] // a test may end where its premise fails

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

struct Said {
    code: Option<i32>,
    out: String,
    errors: String,
}

fn check(dir: &TempDir, args: &[&str]) -> Said {
    check_with(dir, args, &[])
}

fn check_with(dir: &TempDir, args: &[&str], variables: &[(&str, &Path)]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_poolwarden"));
    for name in ["GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE", "PGPASSWORD"] {
        command.env_remove(name);
    }
    let output =
        command.arg("check").args(args).envs(variables.iter().copied()).current_dir(dir.path()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), out: text(output.stdout), errors: text(output.stderr) }
}

fn dir(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

/// Six instances of 1500 before 5000 slots.
const WRONG: &str = "[databases]\napp = host=db.internal dbname=app\n\n[pgbouncer]\n; ours\ndefault_pool_size = 1500\nmax_client_conn = 9000\n";
const TOPOLOGY: &str = "[topology.postgres]\nmax_connections = 5000\n\n[topology.pooler]\ninstances = 6\n";
/// The same, put right; `server_idle_timeout` and others are PgBouncer's own defaults.
const RIGHT: &str = "[databases]\napp = host=db.internal dbname=app\n\n[pgbouncer]\ndefault_pool_size = 20\nmax_db_connections = 100\n\
                     max_user_connections = 100\nquery_wait_timeout = 2\ntcp_keepidle = 30\nserver_login_retry = 2\n\
                     tcp_user_timeout = 30000\nidle_transaction_timeout = 30\n";

#[test]
fn a_finding_shows_both_files_and_what_to_write_and_fails() {
    let dir = dir(&[("pgbouncer.ini", WRONG), ("topology.toml", TOPOLOGY)]);
    let said = check(&dir, &["pgbouncer.ini", "topology.toml"]);
    assert_eq!(said.code, Some(1), "{}", said.errors);
    for expected in [
        "error[CAP-01]: ",
        "--> pgbouncer.ini:6:21",
        "::: topology.toml:2:19",
        "= why: ",
        "= help: write max_db_connections = ",
        "limits from the clients of pgbouncer.ini to db.internal",
        "<- the tightest",
        "not checked, for want of\n",
        "  pg_settings: give --live postgres://…\n      CAP-10 ",
    ] {
        assert!(said.out.contains(expected), "{expected}:\n{}", said.out);
    }
    assert!(!said.out.contains('\u{1b}'), "colour is for terminals");
    let tightest = said.out.lines().find(|line| line.contains("<- the tightest")).unwrap();
    assert!(tightest.contains("PostgreSQL slots") && tightest.contains("4997"), "{tightest}");
}

#[test]
fn what_is_right_passes_and_the_fail_level_decides() {
    let dir = dir(&[("pgbouncer.ini", RIGHT), ("topology.toml", TOPOLOGY), ("wrong.ini", WRONG)]);
    let said = check(&dir, &["pgbouncer.ini", "topology.toml"]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.errors);
    let said = check(&dir, &["wrong.ini", "--fail-level", "error"]);
    assert_eq!(said.code, Some(0), "without the topology nothing is an error: {}", said.out);
}

#[test]
fn unreadable_goes_before_findings_and_findings_before_inconclusive() {
    let dir = dir(&[
        ("pgbouncer.ini", RIGHT),
        ("topology.toml", TOPOLOGY),
        ("wrong.ini", WRONG),
        ("letter.txt", "Dear all,\n"),
    ]);
    let table: [(&[&str], i32, &str); 9] = [
        (&["wrong.ini", "topology.toml", "none.ini"], 2, "none.ini"),
        (&["letter.txt"], 2, "letter.txt"),
        (&["wrong.ini", "topology.toml", "--require", "live"], 1, ""),
        (&["pgbouncer.ini", "topology.toml", "--require", "live"], 3, ""),
        (&["pgbouncer.ini", "topology.toml", "--require", "topology,recording"], 3, ""),
        (
            &["pgbouncer.ini", "--recording", "1970-01-01T00:00:00Z/1970-01-01T01:00:00Z"],
            2,
            "no recording of that time",
        ),
        (&["pgbouncer.ini", "--live", "postgres://app:hunter2@127.0.0.1:1/app"], 2, "cannot reach 127.0.0.1:1"),
        (&["pgbouncer.ini", "--live", "mysql://app:hunter2@db"], 2, "postgres://user@host/database"),
        (&["--fail-level", "loud"], 2, "possible values"),
    ];
    for (args, code, words) in table {
        let said = check(&dir, args);
        assert_eq!(said.code, Some(code), "{args:?}: {}{}", said.out, said.errors);
        assert!(said.errors.contains(words), "{args:?}: {}", said.errors);
        assert!(!said.errors.contains("hunter2") && !said.out.contains("hunter2"), "{args:?}");
    }
    let said = check(&dir, &["pgbouncer.ini", "--require", "topology"]);
    assert!(said.out.contains("inconclusive: --require topology: max_connections is missing: "), "{}", said.out);
}

#[test]
fn without_a_file_the_usual_one_is_reviewed_or_it_is_said_that_there_is_none() {
    let empty = tempfile::tempdir().unwrap();
    if !Path::new("/etc/poolwarden/poolwarden.toml").exists() {
        let said = check(&empty, &[]);
        assert_eq!(said.code, Some(2));
        assert!(said.errors.contains("name a FILE or --live URL"), "{}", said.errors);
    }
    let dir = dir(&[("poolwarden.toml", "[servers.main]\nhots = \"db\"\n")]);
    let said = check(&dir, &[]);
    assert!(said.code == Some(1) && said.out.contains("--> poolwarden.toml:2:1"), "{}{}", said.out, said.errors);
}

#[test]
fn json_has_the_names_of_the_contract() {
    let dir = dir(&[("pgbouncer.ini", WRONG), ("topology.toml", TOPOLOGY)]);
    let said = check(&dir, &["pgbouncer.ini", "topology.toml", "--format", "json"]);
    let json: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, &json["schema"], &json["summary"]["exit_code"]), (Some(1), &1.into(), &1.into()));
    let findings = json["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["code"] == "CAP-01").unwrap();
    assert_eq!(finding["severity"], "error");
    let span = &finding["spans"][0];
    assert_eq!((&span["file"], &span["line"], &span["column"]), (&"pgbouncer.ini".into(), &6.into(), &21.into()));
    assert!(finding["spans"].as_array().unwrap().iter().any(|span| span["file"] == "topology.toml"));
    assert!(finding["fix"].as_str().unwrap().starts_with("write max_db_connections = "), "{finding}");
    let unchecked = &json["not_checked"][0];
    assert!(unchecked["code"].is_string() && unchecked["needs"][0].is_string(), "{unchecked}");
    let order: Vec<&str> = findings.iter().map(|finding| finding["severity"].as_str().unwrap()).collect();
    let rank = |severity: &&str| ["error", "warning", "info"].iter().position(|of| of == severity);
    assert!(order.is_sorted_by_key(rank), "{order:?}");
    assert!(json["chain"][0]["steps"].as_array().unwrap().iter().any(|step| step["tightest"] == true));
}

#[test]
fn annotations_are_bounded_and_the_page_of_the_step_has_all() {
    let pools: String = (0..15).map(|n| format!("a{n} = host=db.internal dbname=a{n} pool_size=9{n:02}\n")).collect();
    let ini = format!("[databases]\n{pools}[pgbouncer]\nquery_wait_timeout = 0\n");
    let dir = dir(&[("my,pg:bouncer.ini", &ini), ("topology.toml", "[topology.postgres]\nmax_connections = 100\n")]);
    let page = dir.path().join("page.md");
    fs::write(&page, "# before\n").unwrap();
    let args = ["my,pg:bouncer.ini", "topology.toml", "--format", "github"];
    let said = check_with(&dir, &args, &[("GITHUB_STEP_SUMMARY", &page)]);
    assert_eq!(said.code, Some(1));
    for kind in ["::error ", "::warning "] {
        let count = said.out.lines().filter(|line| line.starts_with(kind)).count();
        assert!((1..=10).contains(&count), "{kind}: {count}\n{}", said.out);
    }
    assert!(said.out.contains("::warning file=my%2Cpg%3Abouncer.ini,line="), "{}", said.out);
    assert!(said.out.contains("are not annotations: a step shows 10"), "{}", said.out);
    assert!(said.out.find("::error ").unwrap() < said.out.find("::warning ").unwrap());
    let page = fs::read_to_string(page).unwrap();
    assert!(page.starts_with("# before\n## poolwarden check\n") && page.contains("| error | CAP-01 |"), "{page}");
    assert!(page.contains("```text\nlimits from the clients"), "{page}");
}

const FIXABLE: &str = "# our pooler\n[servers.main]\nhost = \"db\"   # the big one\nmax_connections = 80\n\n[users.app]\nscram_file = \"app\"\n\n\
                       [pools.app]\nserver = \"main\"\nsize = 500     # never enough\nmax_connections = 50\nusers = [\"app\"]\n\n\
                       [topology.postgres]\nmax_connections = 100\n";

#[test]
fn safe_edits_change_what_they_say_and_nothing_else() {
    let text = FIXABLE.replace("users = [\"app\"]\n", "");
    let dir = dir(&[("poolwarden.toml", &text), ("app", "hunter2\n")]);
    let path = dir.path().join("poolwarden.toml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let said = check(&dir, &["poolwarden.toml", "--fix"]);
    let now = fs::read_to_string(&path).unwrap();
    assert_eq!(now, text.replace("size = 500 ", "size = 50 "), "{}{}", said.out, said.errors);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(said.out.contains("\n-size = 500     # never enough\n+size = 50     # never enough\n"), "{}", said.out);
    assert!(!said.out.contains("CAP-04"), "the result is reviewed: {}", said.out);
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    let again = check(&dir, &["poolwarden.toml", "--fix"]);
    assert!(!again.out.contains("--- poolwarden.toml") && fs::read_to_string(&path).unwrap() == now, "{}", again.out);
}

#[test]
fn a_baseline_knows_findings_when_lines_move_and_tells_what_has_vanished() {
    let dir = dir(&[("pgbouncer.ini", WRONG), ("topology.toml", TOPOLOGY)]);
    let args = ["pgbouncer.ini", "topology.toml", "--baseline", "known"];
    let said = check(&dir, &args);
    assert!(said.code == Some(2) && said.errors.contains("--update-baseline writes one"), "{}", said.errors);
    let write = ["pgbouncer.ini", "topology.toml", "--baseline", "known", "--update-baseline"];
    assert_eq!(check(&dir, &write).code, Some(0));
    let known = fs::read_to_string(dir.path().join("known")).unwrap();
    assert!(known.contains(" CAP-01 pgbouncer.ini: "), "{known}");
    let moved = WRONG.replace("; ours\n", "; ours\n; and\n; moved\n").replace("1500", "1600");
    fs::write(dir.path().join("pgbouncer.ini"), moved).unwrap();
    let said = check(&dir, &args);
    assert!(said.code == Some(0) && said.out.contains(" known from the baseline"), "{}", said.out);
    assert!(!said.out.contains("error["), "{}", said.out);
    fs::write(dir.path().join("pgbouncer.ini"), format!("{WRONG}query_wait_timeout = 0\n")).unwrap();
    let said = check(&dir, &args);
    assert!(said.code == Some(1) && said.out.contains("[TMO-01]") && !said.out.contains("[CAP-01]"), "{}", said.out);
    fs::write(dir.path().join("pgbouncer.ini"), RIGHT).unwrap();
    let said = check(&dir, &args);
    assert!(said.code == Some(0) && said.out.contains("vanished: CAP-01 pgbouncer.ini: "), "{}", said.out);
    fs::write(dir.path().join("known"), "what is this\n").unwrap();
    assert!(check(&dir, &args).errors.contains("known: line 1: "));
}

#[test]
fn what_is_allowed_with_a_reason_does_not_fail_until_its_day() {
    let allow = |more: &str| format!("{TOPOLOGY}[[review.allow]]\ncode = \"TMO-01\"\n{more}\n");
    let ini = format!("{RIGHT}\n").replace("query_wait_timeout = 2", "query_wait_timeout = 0");
    let dir = dir(&[("pgbouncer.ini", &ini)]);
    let table = [
        ("reason = \"ticket 7\"", 0, "allowed: TMO-01: "),
        ("reason = \"ticket 7\"\nuntil = \"2999-12-31\"", 0, "because: ticket 7"),
        (
            "reason = \"ticket 7\"\nuntil = \"2001-01-01\"",
            1,
            "warning[allow-expired]: TMO-01 was allowed until 2001-01-01",
        ),
        ("", 1, "error[allow-reason]: TMO-01 is allowed without a reason"),
    ];
    for (more, code, words) in table {
        fs::write(dir.path().join("topology.toml"), allow(more)).unwrap();
        let said = check(&dir, &["pgbouncer.ini", "topology.toml"]);
        assert!(
            said.code == Some(code) && said.out.contains(words),
            "{more}: {:?}\n{}{}",
            said.code,
            said.out,
            said.errors
        );
    }
}
