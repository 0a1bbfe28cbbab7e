//! OBS: sight: would anybody notice.

use super::Rule;

mod ask;
mod labels;
mod measure;
mod metrics;

#[cfg(test)]
mod tests;

rules! {
    obs_01,
    obs_02,
    obs_03,
    obs_04,
    obs_05,
}
