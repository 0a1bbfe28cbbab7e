//! Bounds of use.
