//! Every task against scripted answers of AWS: what it asks for, what it makes of each answer, and
//! what a repeated attempt does. No network, and no clock but the process's own or a test's.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

/// Invariants of the sources that no compiler checks.
mod architecture;
/// `dead-letter-keeper`, and what the other queue-fed functions record for it.
mod dead_letters;
/// `create-destination`, `empty-destination`, `delete-destination`.
mod destinations;
/// `initialize`, `discover-buckets`, `seed-smoke-test`.
mod discovery;
/// `send-summary`, `close-run`, `find-leftovers`.
mod endings;
/// What keeps a function within its timeout, while S3 throttles or a connection falls silent.
mod in_time;
/// `configure-inventories`, `await-inventories`, `refresh-statuses`, `remove-inventories`.
mod inventories;
/// The names under which failures reach the state machines, for every task and every request.
mod named_errors;
/// `inventory-object-processor`, `inventory-file-consolidator`.
mod queues;
/// `publish-snapshot`, `run-query`, `check-query`.
mod snapshot;
