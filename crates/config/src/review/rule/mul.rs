//! MUL: multiplication: pools times processes times replicas.

use super::Rule;

rules! {}
