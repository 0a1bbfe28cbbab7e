//! MOD: pool modes.

use super::Rule;

rules! {
    mod_01,
    mod_02,
    mod_03,
}
