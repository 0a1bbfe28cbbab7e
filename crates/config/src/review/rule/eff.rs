//! EFF: effect: does what is written hold.

use super::Rule;

mod change;

#[cfg(test)]
mod tests;

rules! {
    eff_01,
    eff_02,
    eff_03,
    eff_04,
    eff_05,
    eff_06,
    eff_07,
    eff_08,
    eff_09,
}
