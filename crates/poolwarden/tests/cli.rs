//! The command line from outside: exit codes, help, and what a refused configuration says.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn poolwarden(directory: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_poolwarden")).args(args).current_dir(directory).output().expect("it runs")
}

fn error(output: &Output) -> String {
    assert!(output.stdout.is_empty(), "diagnostics belong on standard error");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn help_and_version_are_clean_and_show_an_example() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for args in [&["--help"][..], &["run", "--help"]] {
        let output = poolwarden(dir.path(), args);
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8_lossy(&output.stdout).contains("Example"), "{args:?}");
    }
    let output = poolwarden(dir.path(), &["--version"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("poolwarden {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_usage_and_unreadable_input_are_exit_code_2() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let table: [(&[&str], &str); 7] = [
        (&[], "Usage"),
        (&["frobnicate"], "frobnicate"),
        (&["run", "--frobnicate"], "--frobnicate"),
        (&["run", "-c", "a.toml", "--database", "postgres://h/db"], "cannot be used with"),
        (&["run", "-c", "missing.toml"], "missing.toml"),
        (&["run", "--pgbouncer", "no-such.ini"], "no-such.ini"),
        (&["run", "--database", "postgres://app:hunter2@host:port/db"], "port"),
    ];
    for (args, expected) in table {
        let output = poolwarden(dir.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let error = error(&output);
        assert!(error.contains(expected) && !error.contains("hunter2"), "{args:?}: {error}");
    }
}

#[test]
fn a_broken_file_is_found_refused_and_every_fault_is_shown_with_its_place() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let text = "[servers.main]\nhost = \"db\"\n[pools.app]\nmax_wiat = \"2s\"\nlifetime = 60\n";
    fs::write(dir.path().join("poolwarden.toml"), text).expect("a file");
    let output = poolwarden(dir.path(), &["run"]);
    assert_eq!(output.status.code(), Some(2));
    let error = error(&output);
    for expected in ["poolwarden.toml:4:1", "did you mean `max_wait`?", "poolwarden.toml:5:12", "write \"60s\""] {
        assert!(error.contains(expected), "{expected} is missing:\n{error}");
    }
}
