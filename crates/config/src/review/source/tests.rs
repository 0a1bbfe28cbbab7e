//! The readers, whole files at a time; and that no text makes them fall.
