//! One file per verb.

pub(crate) mod drill;
pub(crate) mod import;
pub(crate) mod run;
pub(crate) mod shed;
pub(crate) mod simulate;
