//! What every input from outside must hold: one function per kind of input, which panics where it does not.
//!
//! libFuzzer drives them in search of inputs (`make fuzz`); the tests replay every seed and thousands of mutations of them.
//! They know no sockets and no randomness: an input is all there is, so that a finding is a file.

mod input;
pub mod mutation;
mod target;

/// One kind of input.
#[derive(Debug)]
pub struct Target {
    /// Its name, and that of its folder in `seeds`.
    pub name: &'static str,
    /// Takes one input; panics where something does not hold.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 10] = [
    Target { name: "frames", run: target::frames::run },
    Target { name: "startup", run: target::startup::run },
    Target { name: "login", run: target::login::run },
    Target { name: "scram", run: target::scram::run },
    Target { name: "relay", run: target::relay::run },
    Target { name: "lease", run: target::lease::run },
    Target { name: "statement", run: target::statement::run },
    Target { name: "ini", run: target::ini::run },
    Target { name: "toml", run: target::toml::run },
    Target { name: "hba", run: target::hba::run },
];
