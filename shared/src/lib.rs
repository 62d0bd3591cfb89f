//! What all parts of the platform share: the words of the domain as types, and every decision as a
//! plain function. Only [`aws`] talks to AWS and only [`settings`] reads the environment; the rest
//! is pure and takes data, limits and the time as arguments.

pub mod aws;
pub mod catalogue;
pub mod consolidation;
pub mod dead_letter;
pub mod derived;
pub mod error;
pub mod foreign_text;
#[cfg(test)]
mod hostile;
pub mod ids;
pub mod input;
pub mod manifest;
pub mod metrics;
pub mod naming;
pub mod outcome;
pub mod protocol;
pub mod remedy;
pub mod report;
pub mod run;
pub mod run_ended;
pub mod runtime;
pub mod s3_event;
pub mod sample;
pub mod settings;
pub mod smoke_report;
pub mod snapshot_schema;
pub mod status;
pub mod summary;
mod templates;
pub mod top_prefixes;
pub mod totals;
