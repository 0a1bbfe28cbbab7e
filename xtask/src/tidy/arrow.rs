//! Who may import whom: the table, and its comparison with the manifests.
//!
//! The table is the only copy; ARCHITECTURE.md prints it (`docs` keeps the two alike).
//! Development dependencies are free: a test may look at anything.

use toml::{Table, Value};

use super::finding::{Finding, Tree};

/// One package: its folder, its floor, what it may import.
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) floor: u8,
    pub(crate) pure: bool,
    pub(crate) imports: Imports,
}

pub(crate) enum Imports {
    Only(&'static [&'static str]),
    Any,
}

/// The floors from the ground up. A package that does not exist yet has its walls already.
pub(crate) const PACKAGES: [Package; 11] = [
    Package { name: "pgwire", floor: 1, pure: true, imports: Imports::Only(&[]) },
    Package { name: "pool", floor: 1, pure: true, imports: Imports::Only(&[]) },
    Package { name: "relay", floor: 2, pure: true, imports: Imports::Only(&["pgwire"]) },
    Package { name: "watch", floor: 2, pure: true, imports: Imports::Only(&["pool"]) },
    Package { name: "switch", floor: 3, pure: true, imports: Imports::Only(&["relay", "pool"]) },
    Package { name: "config", floor: 3, pure: true, imports: Imports::Only(&["watch", "pool"]) },
    Package { name: "store", floor: 3, pure: false, imports: Imports::Only(&["watch", "pool"]) },
    Package { name: "sim", floor: 4, pure: true, imports: Imports::Only(&["config", "watch", "switch"]) },
    Package { name: "proxy", floor: 4, pure: false, imports: Imports::Only(&["switch"]) },
    Package { name: "console", floor: 4, pure: false, imports: Imports::Only(&["store", "config", "watch"]) },
    Package { name: "poolwarden", floor: 5, pure: false, imports: Imports::Any },
];

/// Where the table is printed, and where each dependency has its sentence.
pub(crate) const ARCHITECTURE: &str = "ARCHITECTURE.md";
/// Tests against real servers: imports anything, and only tests import it.
const TESTBED: &str = "testbed";

/// Crates that bring a runtime, a socket, a clock or randomness of the system with them.
const WORLDLY: [&str; 20] = [
    "tokio",
    "tokio-util",
    "mio",
    "rustix",
    "socket2",
    "getrandom",
    "libc",
    "nix",
    "polling",
    "io-uring",
    "async-std",
    "smol",
    "futures",
    "async-trait",
    "chrono",
    "jiff",
    "time",
    "parking_lot",
    "crossbeam",
    "rayon",
];

pub(crate) fn package(folder: &str) -> Option<&'static Package> {
    PACKAGES.iter().find(|package| package.name == folder)
}

/// The folder of a package: `poolwarden-pool` lives in `crates/pool`.
fn folder_of(dependency: &str) -> Option<&str> {
    match dependency {
        "poolwarden" | "xtask" => Some(dependency),
        TESTBED => Some(TESTBED),
        _ => dependency.strip_prefix("poolwarden-"),
    }
}

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.ending("/Cargo.toml") {
        let Some(folder) = file.path.strip_prefix("crates/").and_then(|rest| rest.strip_suffix("/Cargo.toml")) else {
            continue;
        };
        if folder == TESTBED {
            continue;
        }
        let Some(package) = package(folder) else {
            findings.push(Finding::new(&file.path, 0, format!("package \"{folder}\" is not in the table of arrows")));
            continue;
        };
        match file.text.parse::<Table>() {
            Ok(manifest) => check_manifest(package, &file.path, &manifest, &mut findings),
            Err(fault) => {
                findings.push(Finding::new(&file.path, 0, format!("unreadable manifest: {}", fault.message())))
            }
        }
    }
    findings
}

/// Every crate from outside has its row in ARCHITECTURE.md, with the reason it is worth having.
pub(crate) fn check_reasons(tree: &Tree) -> Vec<Finding> {
    let reasons = tree.file(ARCHITECTURE).map_or("", |file| file.text.as_str());
    let mut findings = Vec::new();
    for file in tree.ending("Cargo.toml") {
        let Ok(manifest) = file.text.parse::<Table>() else { continue };
        let keys = [&SHIPPED[..], &TESTS[..]].concat();
        for name in dependencies(&manifest, &keys).iter().filter(|name| folder_of(name).is_none()) {
            if !reasons.lines().any(|line| line.starts_with(&format!("| `{name}` |"))) {
                let message = format!("{name} has no sentence under \"Dependencies\" in {ARCHITECTURE}");
                findings.push(Finding::new(&file.path, 0, message));
            }
        }
    }
    findings
}

fn check_manifest(package: &Package, path: &str, manifest: &Table, findings: &mut Vec<Finding>) {
    let expected =
        if package.name == "poolwarden" { "poolwarden".to_owned() } else { format!("poolwarden-{}", package.name) };
    let named = manifest.get("package").and_then(|p| p.get("name")).and_then(Value::as_str).unwrap_or("");
    if named != expected {
        findings.push(Finding::new(
            path,
            0,
            format!("package in folder \"{}\" is named \"{named}\", not \"{expected}\"", package.name),
        ));
    }
    for dependency in dependencies(manifest, &SHIPPED) {
        match folder_of(&dependency) {
            Some(imported) if !allows(package, imported) => findings.push(Finding::new(
                path,
                0,
                format!("arrow {} → {imported} is not in the table of arrows", package.name),
            )),
            None if package.pure && WORLDLY.contains(&dependency.as_str()) => {
                findings.push(Finding::new(path, 0, format!("pure package {} depends on {dependency}", package.name)));
            }
            Some(_) | None => {}
        }
    }
}

fn allows(package: &Package, imported: &str) -> bool {
    if imported == TESTBED || imported == "xtask" || imported == package.name {
        return false;
    }
    match package.imports {
        Imports::Only(names) => names.contains(&imported),
        Imports::Any => true,
    }
}

/// What ends in the shipped code, and what only tests see.
const SHIPPED: [&str; 2] = ["dependencies", "build-dependencies"];
const TESTS: [&str; 1] = ["dev-dependencies"];

/// Names of the dependencies under these keys, renamed ones by their true name.
fn dependencies(manifest: &Table, keys: &[&str]) -> Vec<String> {
    let mut names = Vec::new();
    let mut collect = |table: &Table| {
        for key in keys {
            let Some(listed) = table.get(*key).and_then(Value::as_table) else { continue };
            for (name, value) in listed {
                let renamed = value.get("package").and_then(Value::as_str);
                names.push(renamed.unwrap_or(name).to_owned());
            }
        }
    };
    collect(manifest);
    let targets = manifest.get("target").and_then(Value::as_table);
    for target in targets.iter().flat_map(|targets| targets.values()).filter_map(Value::as_table) {
        collect(target);
    }
    names
}

/// The table as ARCHITECTURE.md prints it.
pub(crate) fn table() -> String {
    let mut text = String::from("| floor | package | | may import |\n|---|---|---|---|\n");
    for package in PACKAGES.iter().rev() {
        let purity = if package.pure { "pure" } else { "rim" };
        let imports = match package.imports {
            Imports::Only([]) => "nothing".to_owned(),
            Imports::Only(names) => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
            Imports::Any => "any".to_owned(),
        };
        text.push_str(&format!("| {} | `{}` | {purity} | {imports} |\n", package.floor, package.name));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::plant::Plant;

    const POOL: &str = "[package]\nname = \"poolwarden-pool\"\n";

    fn messages(plant: &Plant) -> Vec<String> {
        check(&plant.tree()).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn an_arrow_outside_the_table_fires() {
        let plant = Plant::new();
        plant.write(
            "crates/pool/Cargo.toml",
            &format!("{POOL}[dependencies]\npoolwarden-watch = {{ path = \"../watch\" }}\n"),
        );
        assert_eq!(messages(&plant), ["arrow pool → watch is not in the table of arrows"]);
    }

    #[test]
    fn a_renamed_or_target_specific_arrow_fires_too() {
        let plant = Plant::new();
        plant.write(
            "crates/pool/Cargo.toml",
            &format!("{POOL}[target.'cfg(unix)'.dependencies]\nw = {{ package = \"poolwarden-relay\", path = \"../relay\" }}\n"),
        );
        assert_eq!(messages(&plant), ["arrow pool → relay is not in the table of arrows"]);
    }

    #[test]
    fn tests_may_import_anything() {
        let plant = Plant::new();
        plant.write(
            "crates/pool/Cargo.toml",
            &format!("{POOL}[dev-dependencies]\ntestbed.workspace = true\ntokio = \"1\"\n"),
        );
        assert!(messages(&plant).is_empty());
    }

    #[test]
    fn shipped_code_never_imports_the_testbed() {
        let plant = Plant::new();
        plant.write(
            "crates/poolwarden/Cargo.toml",
            "[package]\nname = \"poolwarden\"\n[dependencies]\npoolwarden-testbed.workspace = true\n",
        );
        assert_eq!(messages(&plant), ["arrow poolwarden → testbed is not in the table of arrows"]);
    }

    #[test]
    fn a_runtime_in_a_pure_package_fires() {
        let plant = Plant::new();
        plant.write("crates/pool/Cargo.toml", &format!("{POOL}[dependencies]\ntokio = \"1\"\n"));
        assert_eq!(messages(&plant), ["pure package pool depends on tokio"]);
    }

    #[test]
    fn a_package_without_a_place_in_the_table_fires() {
        let plant = Plant::new();
        plant.write("crates/misc/Cargo.toml", "[package]\nname = \"poolwarden-misc\"\n");
        assert_eq!(messages(&plant), ["package \"misc\" is not in the table of arrows"]);
    }

    #[test]
    fn a_dependency_without_its_sentence_fires() {
        let plant = Plant::new();
        plant.write(
            "crates/pool/Cargo.toml",
            &format!("{POOL}[dependencies]\nslab = \"1\"\n[dev-dependencies]\ninsta = \"1\"\n"),
        );
        assert_eq!(check_reasons(&plant.tree()).len(), 2);
        plant.write("ARCHITECTURE.md", "| `slab` | pool | ids |\n| `insta` | tests | snapshots |\n");
        assert!(check_reasons(&plant.tree()).is_empty());
    }

    #[test]
    fn every_arrow_points_to_a_lower_floor() {
        for from in &PACKAGES {
            if let Imports::Only(names) = from.imports {
                assert!(
                    names.iter().all(|name| package(name).is_some_and(|to| to.floor < from.floor)),
                    "{}",
                    from.name
                );
            }
        }
    }
}
