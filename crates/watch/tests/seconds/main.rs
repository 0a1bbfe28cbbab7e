//! Made-up seconds of one server's pools, told to the watcher one by one: what it answers, what it foresees, and whom it wakes.

mod alert;
mod forecast;
mod why;
mod world;
