//! One file per verb.

pub(crate) mod import;
pub(crate) mod run;
pub(crate) mod shed;
