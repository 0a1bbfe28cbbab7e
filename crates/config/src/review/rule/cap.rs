//! CAP: capacity: do the limits fit into each other.

use super::Rule;

rules! {
    cap_01,
    cap_02,
    cap_03,
    cap_04,
    cap_05,
    cap_06,
    cap_07,
    cap_08,
    cap_09,
    cap_10,
    cap_11,
    cap_12,
    cap_13,
    cap_14,
    cap_15,
    cap_16,
    cap_17,
    cap_18,
    cap_19,
    cap_20,
}
