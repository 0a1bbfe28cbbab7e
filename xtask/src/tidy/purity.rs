//! Pure packages name nothing of the outside world, and iterate no hash map.
//!
//! Read on tokens, so that line breaks, comments and grouped imports change nothing. Test code is
//! free: it may use threads and files, since nothing it decides ships.

use std::collections::BTreeSet;

use super::arrow;
use super::finding::{File, Finding, Tree};
use crate::source::{Kind, Source};

/// Modules of the standard library that touch the world. Addresses are values: they come from `core::net`,
/// which has no socket.
const WORLDLY_PATHS: [&str; 8] =
    ["std::net", "std::fs", "std::thread", "std::env", "std::os", "std::process", "rand::rng", "rand::random"];
/// Shared state; `switch` alone may guard the pool with a lock.
const LOCK_PATHS: [&str; 4] = ["std::sync::Mutex", "std::sync::RwLock", "std::sync::Condvar", "std::sync::mpsc"];
/// Words that mean the world whatever path they came by.
const WORLDLY_WORDS: [&str; 11] = [
    "Instant",
    "SystemTime",
    "thread_rng",
    "getrandom",
    "OsRng",
    "tokio",
    "mio",
    "rustix",
    "socket2",
    "async",
    "await",
];
const HASHED: [&str; 2] = ["HashMap", "HashSet"];
/// On the line of a hash map, or the one above: the promise, which this scan then holds.
const PROMISE: &str = "tidy: never iterated";
/// The disallowed lists all pure packages share; `scripts/prove-walls.sh` proves each line of it.
const MODEL_LINTS: &str = "crates/pool/clippy.toml";
const ITERATING: [&str; 12] = [
    "iter",
    "iter_mut",
    "keys",
    "values",
    "values_mut",
    "into_iter",
    "into_keys",
    "into_values",
    "drain",
    "retain",
    "extract_if",
    "into_values_mut",
];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let sources: Vec<(&File, &str, Source)> = tree
        .ending(".rs")
        .filter_map(|file| {
            let folder = pure_folder(&file.path)?;
            Some((file, folder, Source::read(&file.text)))
        })
        .collect();
    let tests: BTreeSet<String> = sources.iter().flat_map(|(file, _, source)| test_files(&file.path, source)).collect();
    let mut findings = check_lints(tree);
    for (file, folder, source) in &sources {
        if !in_test_file(&file.path, &tests) {
            check_source(folder, &file.path, source, &mut findings);
        }
    }
    findings
}

/// Every pure package opts into the same disallowed lists, since clippy reads the nearest file only.
fn check_lints(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let model = tree.file(MODEL_LINTS).map(|file| file.text.as_str());
    for package in arrow::PACKAGES.iter().filter(|package| package.pure) {
        if tree.file(&format!("crates/{}/Cargo.toml", package.name)).is_none() {
            continue;
        }
        let path = format!("crates/{}/clippy.toml", package.name);
        if model.is_none() || tree.file(&path).map(|file| file.text.as_str()) != model {
            findings.push(Finding::new(&path, 0, format!("is not the list of the pure packages, {MODEL_LINTS}")));
        }
    }
    findings
}

/// The pure package whose shipped code this file is part of.
fn pure_folder(path: &str) -> Option<&str> {
    let (folder, rest) = path.strip_prefix("crates/")?.split_once('/')?;
    let shipped = rest.starts_with("src/") || rest == "build.rs";
    (shipped && arrow::package(folder).is_some_and(|package| package.pure)).then_some(folder)
}

/// The files and folders of `#[cfg(test)] mod NAME;` in this file.
pub(crate) fn test_files(path: &str, source: &Source) -> Vec<String> {
    let stem = path.strip_suffix(".rs").unwrap_or(path);
    let (folder, name) = stem.rsplit_once('/').unwrap_or(("", stem));
    let home = if matches!(name, "lib" | "main" | "mod") { folder } else { stem };
    source.test_modules.iter().map(|module| format!("{home}/{module}")).collect()
}

pub(crate) fn in_test_file(path: &str, tests: &BTreeSet<String>) -> bool {
    tests.iter().any(|test| path.strip_prefix(test.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/')))
}

fn check_source(folder: &str, path: &str, source: &Source, findings: &mut Vec<Finding>) {
    let mut fire = |line: usize, message: String| findings.push(Finding::new(path, line, message));
    for (line, used) in paths(source) {
        let forbidden = WORLDLY_PATHS.iter().chain(LOCK_PATHS.iter().filter(|_| folder != "switch"));
        for wall in forbidden.filter(|wall| begins_with(&used, wall)) {
            let instead = if *wall == "std::net" { ": addresses are in core::net" } else { "" };
            fire(line, format!("pure package {folder} names {wall}{instead}"));
        }
    }
    for token in source.tokens.iter().filter(|token| !token.test && token.kind == Kind::Word) {
        if WORLDLY_WORDS.contains(&token.text.as_str()) {
            fire(token.line, format!("pure package {folder} says `{}`", token.text));
        }
    }
    check_hash_maps(source, &mut fire);
}

fn begins_with(path: &str, wall: &str) -> bool {
    path.strip_prefix(wall).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Every path the shipped code names, imports unfolded, with its line.
fn paths(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < source.tokens.len() {
        let token = &source.tokens[at];
        if token.test || token.kind != Kind::Word {
            at += 1;
        } else if token.text == "use" && !source.is(at + 1, "<") {
            at = unfold(source, at + 1, String::new(), &mut found);
        } else {
            let (path, next) = path_at(source, at);
            found.push((token.line, path));
            at = next;
        }
    }
    found
}

/// `a::b::c` from `at`, and where it ends.
fn path_at(source: &Source, mut at: usize) -> (String, usize) {
    let mut path = source.tokens[at].text.clone();
    at += 1;
    while source.matches(at, &[":", ":"]) && source.tokens.get(at + 2).is_some_and(|t| t.kind == Kind::Word) {
        path.push_str("::");
        path.push_str(&source.tokens[at + 2].text);
        at += 3;
    }
    (path, at)
}

/// One branch of an import tree; answers where the branch ends.
fn unfold(source: &Source, mut at: usize, prefix: String, found: &mut Vec<(usize, String)>) -> usize {
    while source.is(at, ":") {
        at += 1;
    }
    let join = |tail: &str| if prefix.is_empty() { tail.to_owned() } else { format!("{prefix}::{tail}") };
    let Some(token) = source.tokens.get(at) else { return at };
    if token.text == "{" {
        let end = source.closing(at);
        at += 1;
        while at < end {
            at = if source.is(at, ",") { at + 1 } else { unfold(source, at, prefix.clone(), found) };
        }
        return end + 1;
    }
    if token.kind != Kind::Word {
        found.push((token.line, join("*")));
        return at + 1;
    }
    let (path, next) = path_at(source, at);
    let path = join(&path);
    if source.matches(next, &[":", ":"]) {
        return unfold(source, next, path, found);
    }
    found.push((token.line, path));
    if source.is(next, "as") { next + 2 } else { next }
}

fn check_hash_maps(source: &Source, fire: &mut impl FnMut(usize, String)) {
    let promised = |line: usize| {
        source.comments.iter().any(|c| (c.line == line || c.line + 1 == line) && c.text.contains(PROMISE))
    };
    let mut names = BTreeSet::new();
    let mut importing = false;
    for (at, token) in source.tokens.iter().enumerate().filter(|(_, token)| !token.test) {
        if source.is(at, "use") {
            importing = true;
        } else if source.is(at, ";") {
            importing = false;
        }
        if importing || token.kind != Kind::Word || !HASHED.contains(&token.text.as_str()) {
            continue;
        }
        if !promised(token.line) {
            fire(
                token.line,
                format!("{} in a pure package without `// {PROMISE}`: use a BTreeMap or a slab", token.text),
            );
        }
        names.extend(bound_name(source, at));
    }
    for (at, token) in source.tokens.iter().enumerate().filter(|(_, token)| !token.test) {
        if token.kind == Kind::Word && names.contains(&token.text) && is_iterated(source, at) {
            fire(
                token.line,
                format!("`{}` is a hash map and is iterated: its order differs from run to run", token.text),
            );
        }
    }
}

/// The field or variable a hash map at `at` is given to: `name: HashMap<` or `name = HashMap::`.
fn bound_name(source: &Source, at: usize) -> Option<String> {
    let mut i = at;
    while i >= 3 && source.matches(i - 2, &[":", ":"]) {
        i -= 3;
    }
    while i > 0 && (source.is(i - 1, "&") || source.is(i - 1, "mut") || source.tokens[i - 1].kind == Kind::Lifetime) {
        i -= 1;
    }
    let binds = i >= 2 && (source.is(i - 1, ":") || source.is(i - 1, "=")) && !source.is(i - 2, ":");
    let name = &source.tokens.get(i.checked_sub(2)?)?;
    (binds && name.kind == Kind::Word).then(|| name.text.clone())
}

/// `name.iter()` and its like, or `for x in &name {`.
fn is_iterated(source: &Source, at: usize) -> bool {
    let called =
        source.is(at + 1, ".") && ITERATING.iter().any(|method| source.is(at + 2, method)) && source.is(at + 3, "(");
    let mut i = at;
    while i > 0 && (source.is(i - 1, ".") || source.is(i - 1, "self")) {
        i -= 1;
    }
    while i > 0 && (source.is(i - 1, "&") || source.is(i - 1, "mut")) {
        i -= 1;
    }
    called || (i > 0 && source.is(i - 1, "in") && source.is(at + 1, "{"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::plant::Plant;

    fn messages(package: &str, code: &str) -> Vec<String> {
        let plant = Plant::new();
        plant.write(&format!("crates/{package}/src/lib.rs"), code);
        check(&plant.tree()).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn every_worldly_path_fires_plain_and_grouped() {
        for wall in WORLDLY_PATHS {
            let (root, module) = wall.split_once("::").unwrap();
            let instead = if wall == "std::net" { ": addresses are in core::net" } else { "" };
            let expected = [format!("pure package pool names {wall}{instead}")];
            assert_eq!(messages("pool", &format!("use {wall}::x;")), expected);
            assert_eq!(
                messages("pool", &format!("use {root}::{{cmp, {module}::{{self, y}}}};")).first(),
                expected.first()
            );
            assert_eq!(messages("pool", &format!("fn f() {{ {root}\n ::{module}::x(); }}")), expected);
        }
    }

    #[test]
    fn every_worldly_word_fires() {
        for word in WORLDLY_WORDS {
            assert_eq!(
                messages("relay", &format!("fn f() {{ {word} }}")),
                [format!("pure package relay says `{word}`")]
            );
        }
    }

    #[test]
    fn a_lock_is_for_the_switch_alone() {
        let code = "use std::sync::{Arc, Mutex};";
        assert_eq!(messages("watch", code), ["pure package watch names std::sync::Mutex"]);
        assert!(messages("switch", code).is_empty());
    }

    #[test]
    fn a_hash_map_needs_its_promise() {
        let bare = "use std::collections::HashMap;\nstruct S { map: HashMap<u8, u8> }";
        assert_eq!(messages("pool", bare).len(), 1);
        let promised = "struct S {\n // tidy: never iterated\n map: HashMap<u8, u8>,\n}";
        assert!(messages("pool", promised).is_empty());
    }

    #[test]
    fn a_broken_promise_fires() {
        for iteration in
            ["self.map.iter()", "self\n.map\n.retain(|_, _| true)", "for x in &self.map {}", "for x in map.keys() {}"]
        {
            let code = format!(
                "struct S {{ map: std::collections::HashMap<u8, u8> }} // tidy: never iterated\nfn f() {{ {iteration} }}"
            );
            let found = messages("pool", &code);
            assert!(found.len() == 1 && found[0].contains("is iterated"), "{iteration}: {found:?}");
        }
    }

    #[test]
    fn a_pure_package_without_its_lints_fires() {
        let plant = Plant::new();
        plant.write("crates/pool/Cargo.toml", "");
        assert_eq!(check(&plant.tree()).len(), 1);
        plant.write("crates/pool/clippy.toml", "disallowed-methods = []");
        plant.write("crates/relay/Cargo.toml", "");
        plant.write("crates/relay/clippy.toml", "");
        assert_eq!(check(&plant.tree()).len(), 1);
        plant.write("crates/relay/clippy.toml", "disallowed-methods = []");
        assert!(check(&plant.tree()).is_empty());
    }

    #[test]
    fn test_code_and_the_rim_are_free() {
        let plant = Plant::new();
        plant.write(
            "crates/pool/src/lib.rs",
            "#[cfg(test)]\nmod reference;\n#[cfg(test)]\nmod tests { use std::thread; }\n// std::net\n",
        );
        plant.write("crates/pool/src/reference.rs", "use std::time::Instant;");
        plant.write("crates/pool/src/reference/deep.rs", "use std::fs;");
        plant.write("crates/pool/tests/soak.rs", "use std::env;");
        plant.write("crates/proxy/src/lib.rs", "use std::net::TcpStream;");
        assert!(check(&plant.tree()).is_empty());
    }
}
