//! The one program that libFuzzer drives: the target is named by `POOLWARDEN_FUZZ`, so that all of them are one build.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use poolwarden_fuzz::{TARGETS, Target};

static CHOSEN: OnceLock<&Target> = OnceLock::new();

fn chosen() -> &'static Target {
    CHOSEN.get_or_init(|| {
        let name = std::env::var("POOLWARDEN_FUZZ").unwrap_or_default();
        let known: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        let found = TARGETS.iter().find(|target| target.name == name);
        found.unwrap_or_else(|| panic!("POOLWARDEN_FUZZ=\"{name}\" is no target: {}", known.join(", ")))
    })
}

fuzz_target!(init: { chosen(); }, |data: &[u8]| {
    (chosen().run)(data);
});
