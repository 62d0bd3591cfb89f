//! The embedded AWS as its users meet it: processes, the S3 Inventory service, reports, stacks, estates.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

mod deploy;
mod estate;
mod faults;
mod formats;
mod gate;
mod inventory;
mod lifecycle;
mod proxy;
mod redelivery;
mod report;
