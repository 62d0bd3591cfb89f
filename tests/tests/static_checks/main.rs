//! What a linter cannot know about the state machines and the templates: that they agree with each
//! other, with the tasks and with the limits of AWS. Reads the files, needs no network.
//!
//! - `documents`: the machines and templates as values
//! - `machines`: errors, retries, timeouts, loops, payloads
//! - `history`: the events of the longest execution
//! - `spellings`: one task, one name, five spellings; substitutions on both sides
//! - `permissions`: roles, policies, principals
//! - `templates`: names, sizes, queues, what is kept
//! - `watching`: alarms, dashboard, metrics

mod documents;
mod history;
mod machines;
mod permissions;
mod spellings;
mod templates;
mod watching;
