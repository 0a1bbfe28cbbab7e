//! Files of examples are configurations that are accepted without a remark: people copy them.

use poolwarden_config::{Config, Severity};

use super::finding::{Finding, Tree};

const FOLDER: &str = "examples/";
/// Loads to hold against, no configurations: the simulation's own tests read and run each of them.
const SCENARIOS: &str = "examples/scenarios/";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_example = |path: &str| path.starts_with(FOLDER) && !path.starts_with(SCENARIOS);
    let examples = tree.ending(".toml").filter(|file| is_example(&file.path));
    for file in examples {
        let (_, faults) = Config::parse(&file.text, |_| Ok("a secret".to_owned()));
        for fault in faults.iter().filter(|fault| fault.severity > Severity::Info) {
            let message = format!("{}: {}; {}", fault.severity.name(), fault.message, fault.fix);
            findings.push(Finding::new(&file.path, fault.line, message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::plant::Plant;

    #[test]
    fn an_example_with_a_fault_fires() {
        let plant = Plant::new();
        plant.write("examples/good.toml", "[servers.main]\nhost = \"db\"\n[users.app]\npassword_env = \"X\"\n");
        assert!(check(&plant.tree()).is_empty());
        plant.write("examples/bad.toml", "[servers.main]\nhost = \"db\"\n[limits]\nmax_client = 5\n");
        plant.write("examples/scenarios/spike.toml", "[[load]]\nrate = 5\n");
        let findings = check(&plant.tree());
        assert_eq!((findings.len(), findings[0].line), (1, 4), "{findings:?}");
        assert!(findings[0].message.contains("max_client"), "{findings:?}");
    }
}
