//! MOD: pool modes.

use super::Rule;

rules! {}
