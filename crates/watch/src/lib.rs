//! from facts to understanding
