//! OS: the machine.

use super::Rule;

rules! {}
