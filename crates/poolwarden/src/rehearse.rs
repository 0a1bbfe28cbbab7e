//! `simulate`: what a scenario or recorded traffic would come to, under the settings there are and under others.

mod answer;
mod chart;
mod choices;
mod facts;
mod html;
mod json;
mod progress;
mod source;
mod text;

pub(crate) use answer::{Answer, Effort, Measured, sensitivity, variant};
pub(crate) use choices::choices;
pub(crate) use facts::facts;
pub(crate) use html::html;
pub(crate) use json::keys;
pub(crate) use progress::Progress;
pub(crate) use source::{Heard, NO_SECRET, at, find, read};
pub(crate) use text::text;
