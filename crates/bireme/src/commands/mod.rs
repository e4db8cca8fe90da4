//! One module a command.

pub mod check;
pub mod config;
pub mod doctor;
pub mod reload;
pub mod serve;
pub mod status;
