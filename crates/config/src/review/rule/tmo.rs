//! TMO: time limits: who gives up first.

use super::Rule;

mod hikari;
mod patience;

#[cfg(test)]
mod tests;

rules! {
    tmo_01,
    tmo_02,
    tmo_03,
    tmo_04,
    tmo_05,
    tmo_06,
    tmo_07,
    tmo_08,
    tmo_09,
    tmo_10,
    tmo_11,
    tmo_12,
    tmo_13,
    tmo_14,
    tmo_15,
}
