//! DLK: deadlocks through the pool.

use super::Rule;

rules! {}
