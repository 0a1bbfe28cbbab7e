//! CAP: capacity: do the limits fit into each other.

use super::Rule;

rules! {
    cap_01,
}
