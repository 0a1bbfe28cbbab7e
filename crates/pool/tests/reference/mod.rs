//! The obvious pool and the random world around it and the core.

mod clients;
mod clock;
mod connects;
mod dice;
mod invent;
mod leases;
mod model;
mod records;
mod rules;
mod settle;
mod words;
mod world;

pub(crate) use world::{compare, replay};
