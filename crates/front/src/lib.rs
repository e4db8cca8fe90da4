pub mod accept;
pub mod date;
pub mod fault;
pub mod forwarded;
pub mod problem;
pub mod request_id;
