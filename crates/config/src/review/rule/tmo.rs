//! TMO: time limits: who gives up first.

use super::Rule;

rules! {}
