//! MUL: multiplication: pools times processes times replicas.

use super::Rule;

rules! {
    mul_01,
    mul_02,
    mul_03,
    mul_04,
    mul_05,
    mul_06,
    mul_07,
    mul_08,
}

pub(super) use mul_06::is_starved;
