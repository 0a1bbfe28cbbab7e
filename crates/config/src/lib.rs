//! the configuration file and its faults
