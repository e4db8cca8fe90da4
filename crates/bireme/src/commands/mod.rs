//! One module a command.

pub mod broker;
pub mod call;
pub mod check;
pub mod compare;
pub mod config;
pub mod dev;
pub mod doctor;
pub mod reload;
pub mod run;
pub mod serve;
pub mod status;
pub mod types;
