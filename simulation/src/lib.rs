//! Whole runs, simulated: the tasks as they are, in an AWS of plain values that does whatever AWS may.
//!
//! The source files of the tasks and of the run table are compiled here a second time, unchanged.
//! What they name `shared`, `aws_sdk_dynamodb` and `tokio` is this crate: domain and decisions are
//! those of `shared`, and what would reach AWS, the clock or a thread is a double. So a schedule runs
//! the real order of calls, the real conditions and transactions, and the real decisions.
//!
//! Doubles know AWS and nothing of the protocol; what must hold is in [`checks`].

#![allow(
    clippy::needless_pass_by_value,
    clippy::result_large_err,
    clippy::unused_async,
    reason = "doubles have the signatures of what they stand for"
)]

extern crate self as aws_sdk_dynamodb;
extern crate self as shared;
extern crate self as tokio;

// The tasks, as they are.
#[path = "../../lambdas/src"]
#[allow(
    clippy::arc_with_non_send_sync,
    dead_code,
    reason = "elsewhere they run on threads, and are called by binaries"
)]
mod tasks {
    pub mod await_inventories;
    pub mod close_run;
    pub mod configure_inventories;
    pub mod create_destination;
    pub mod dead_letter_keeper;
    pub mod delete_destination;
    pub mod discover_buckets;
    pub mod empty_destination;
    pub mod find_leftovers;
    pub mod initialize;
    pub mod inventory_file_consolidator;
    pub mod inventory_object_processor;
    pub(crate) mod platform;
    pub mod publish_snapshot;
    pub mod queue;
    pub mod refresh_statuses;
    pub mod remove_inventories;
    pub mod send_summary;
    pub(crate) mod settling;
}
pub use tasks::platform::Platform;
pub use tasks::*;

// What the tasks know as `shared`, of which only what talks to AWS or is costly is a double.
#[path = "../../shared/src/aws"]
#[allow(dead_code, reason = "not all tasks are simulated")]
pub mod aws {
    mod run_table;

    pub use self::run_table::{FileContent, FileCount, Opened, ReportClaim, RunTable};
    pub use crate::services::{Clients, ConsolidatedUpload, DeliveredFile, Objects, SourceAccount};
    pub use real_shared::aws::{
        AwsError, Class, Delivery, Emptied, Execution, FoundBucket, FoundStack, Mail, Partition,
        StackState,
    };

    impl Clients {
        /// The run table by its name.
        pub fn run_table<'a>(&'a self, name: &'a str) -> RunTable<'a> {
            RunTable::new(&self.store, name)
        }
    }
}
pub mod consolidation;
pub mod report;
pub mod summary;
pub use real_shared::{
    catalogue, dead_letter, error, ids, input, manifest, metrics, naming, outcome, protocol, run,
    run_ended, runtime, s3_event, settings, status, top_prefixes, totals,
};

// What the run table knows as `aws_sdk_dynamodb`.
pub use dynamodb::Client;
pub use real_dynamodb::{operation, types};

// What both know as `tokio`.
pub mod task;
pub mod time;

// The simulation.
pub mod checks;
mod dynamodb;
mod estate;
mod expression;
mod inventory;
mod machines;
mod mutation;
mod queues;
mod samples;
mod schedule;
mod services;
mod world;

pub use dynamodb::{Key, Write};
pub use expression::Item;
pub use machines::{How, Machine, Step};
pub use mutation::Mutation;
pub use samples::Sample;
pub use schedule::{Simulated, run_table_samples, simulate};
pub use world::Figures;
