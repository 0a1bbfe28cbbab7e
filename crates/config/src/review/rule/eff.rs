//! EFF: effect: does what is written hold.

use super::Rule;

rules! {}
