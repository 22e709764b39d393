//! The planner against a simulated world: rows, a cluster snapshot and a forge in memory.
//!
//! `world` holds it and plays the people, the pods and the pollers; `simulate`
//! applies plans to it as the apply room would; `steps` are what happens to random
//! worlds and `properties` the laws over them; `scripts` plays `tests/scripts/*.txt` and compares.

mod check;
mod mutation;
mod people;
mod pods;
mod preview;
mod properties;
mod restore;
mod reviews;
mod scripts;
mod show;
mod simulate;
mod standing;
mod steps;
mod upkeep;
mod world;
