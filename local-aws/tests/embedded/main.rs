//! The embedded AWS as its users meet it: processes, the S3 Inventory service, reports, estates.

mod support;

mod inventory;
mod lifecycle;
