//! Ring 4: whole runs on the embedded AWS, with the binaries, machines and templates that go to
//! AWS, and IAM enforced.
//!
//! All tests share one platform and run at the same time, so each has accounts, buckets and run
//! ids of its own. The host account's own buckets are in the run over the built-in estate only.

/// Run inputs that are refused, and those that are only doubtful.
mod bad_inputs;
/// Buckets and accounts that change, or are closed, under way.
mod bucket_fates;
/// The built-in estate, end to end.
mod built_in_estate;
/// The whole catalogue of queries.
mod catalogue;
/// Inventory configurations go as soon as their report is there.
mod configurations;
/// Messages that fail until their queue gives them up, and come back.
mod dead_letters;
/// Reports that have not come whole by the deadline.
mod deadline;
/// Reports and notifications that come twice, out of order, or from strangers.
mod delivery_disorder;
/// Reports that existed before their run.
mod existing_reports;
/// Buckets that somebody makes with their own tools.
mod own_tools;
/// The run input of the predecessor.
mod predecessor_input;
/// Reports in every format, and reports of large files.
mod report_formats;
/// What other systems, logs and metrics tell of the end of runs.
mod run_ended;
/// What the simulation of the run table makes of writes, compared.
mod run_table;
/// What does not grow with the estate.
mod scale;
/// Smoke runs.
mod smoke;
/// Executions that are stopped.
mod stopping;
/// Runs at the same time.
mod two_runs;
/// Reports that are not what their manifest says.
mod verification;
