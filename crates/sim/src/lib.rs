//! the same decisions in a made-up world
