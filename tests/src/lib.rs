//! What whole-run tests share: one embedded AWS with the platform deployed in it, and the steps of
//! a run as a test takes them. Account ids and run ids keep the tests of one binary apart.

mod checks;
mod command;
pub mod costs;
mod fault_runs;
mod platform;
mod queue;
mod reports;
mod sample_runs;
pub mod scale;
mod synthetic;

pub use checks::{
    Snapshot, check_done_buckets, check_outcome, configurations, keep_versions, leftovers,
    objects_under, query, rows_in_table, snapshot_of, unfinished_uploads,
};
pub use fault_runs::{FaultRun, check_fault_runs, fault_plan, fault_run, fault_table};
pub use platform::{DEPLOYMENT, EXISTING_REPORTS, EXTERNAL_ID, Ended, Platform, repository, test};
pub use queue::{FileQueue, NotificationQueue};
pub use reports::{MadeReport, ReportsBucket};
pub use sample_runs::{HOSTILE, HOSTILE_MARK, SampleRun};
pub use synthetic::{Sums, SyntheticFile, SyntheticRows};
