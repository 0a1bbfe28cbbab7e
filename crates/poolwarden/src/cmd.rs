//! One file per verb.

pub(crate) mod apply;
pub(crate) mod bundle;
pub(crate) mod check;
pub(crate) mod conn;
pub(crate) mod drill;
pub(crate) mod explain;
pub(crate) mod history;
pub(crate) mod holders;
pub(crate) mod import;
pub(crate) mod pause;
pub(crate) mod plan;
mod rehearse;
pub(crate) mod review;
pub(crate) mod run;
pub(crate) mod shed;
pub(crate) mod simulate;
pub(crate) mod top;
pub(crate) mod why;

mod said;
