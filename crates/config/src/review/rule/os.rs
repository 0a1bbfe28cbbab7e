//! OS: the machine.

use super::Rule;

#[cfg(test)]
mod tests;

rules! {
    os_01,
    os_02,
    os_03,
    os_04,
}
