//! Kills, power cuts, faults and damage at every place of a log.

mod crashes;
mod damage;
mod limits;
mod steps;
