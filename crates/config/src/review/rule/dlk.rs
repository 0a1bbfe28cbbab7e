//! DLK: deadlocks through the pool.

use super::Rule;

rules! {
    dlk_01,
    dlk_02,
}
