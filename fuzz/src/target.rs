//! The targets, one file each.

pub(crate) mod answer;
pub(crate) mod frames;
pub(crate) mod hba;
pub(crate) mod ini;
pub(crate) mod lease;
pub(crate) mod login;
pub(crate) mod relay;
pub(crate) mod scram;
pub(crate) mod startup;
pub(crate) mod statement;
pub(crate) mod toml;
