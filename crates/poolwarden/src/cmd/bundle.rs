//! `bundle`: has an archive of state, facts and log gathered, and writes it.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use serde_json::{Value, json};

use super::said::{Answers, print};
use crate::cli::{BundleArgs, Format};
use crate::remote::Remote;

/// Every gzip file begins so.
const GZIP: [u8; 2] = [0x1f, 0x8b];

pub(crate) fn bundle(args: &BundleArgs) -> anyhow::Result<ExitCode> {
    let remote = Remote::find(&args.to)?;
    let asked = remote.places().len();
    let ask = |at: &str| {
        let said = remote.post_patiently(at, "/api/v1/bundle", &json!({}))?.bytes()?;
        let archive = said.body.as_ref().is_ok_and(|body| body.starts_with(&GZIP));
        anyhow::ensure!(archive || said.body.is_err(), "{at}: the answer is no archive");
        Ok(said)
    };
    let mut answers = Answers::gather(&remote, ask);
    let mut written: Vec<Value> = Vec::new();
    for (number, (at, archive)) in std::mem::take(&mut answers.good).into_iter().enumerate() {
        let file = named(&args.out, number, asked);
        match write(&file, &archive) {
            Ok(()) => written.push(json!({"at": at, "file": file.display().to_string(), "bytes": archive.len()})),
            Err(why) => {
                eprintln!("poolwarden: {why:#}");
                answers.wrong();
            }
        }
    }
    print(&match args.format {
        Format::Text => written.iter().map(line).collect(),
        Format::Json => format!("{}\n", json!({"schema": 1, "written": written})),
    })?;
    Ok(answers.exit())
}

fn line(of: &Value) -> String {
    let (at, file) = (of["at"].as_str().unwrap_or_default(), of["file"].as_str().unwrap_or_default());
    format!("{at}: wrote {file} ({} bytes)\n", of["bytes"])
}

/// `x.tar.gz` of one instance; of several `x-1.tar.gz` and so on.
fn named(out: &Path, number: usize, asked: usize) -> PathBuf {
    if asked <= 1 {
        return out.to_owned();
    }
    let name = out.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let (stem, rest) =
        name.split_once('.').map_or((name.as_str(), String::new()), |(stem, rest)| (stem, format!(".{rest}")));
    out.with_file_name(format!("{stem}-{}{rest}", number + 1))
}

/// For our eyes only, and over nobody's file.
fn write(file: &Path, archive: &[u8]) -> anyhow::Result<()> {
    let said = || format!("cannot write {} (name another with --out)", file.display());
    let mut opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).with_context(said)?;
    opened.write_all(archive).and_then(|()| opened.sync_all()).with_context(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_instances_each_has_a_file_of_its_own() {
        assert_eq!(named(Path::new("a/b.tar.gz"), 0, 1), Path::new("a/b.tar.gz"));
        assert_eq!(named(Path::new("a/b.tar.gz"), 1, 2), Path::new("a/b-2.tar.gz"));
        assert_eq!(named(Path::new("b"), 0, 2), Path::new("b-1"));
    }

    #[test]
    fn a_file_that_is_there_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.tar.gz");
        write(&file, b"one").unwrap();
        assert!(format!("{:#}", write(&file, b"two").unwrap_err()).contains("--out"));
        assert_eq!(std::fs::read(&file).unwrap(), b"one");
    }
}
