//! What roles may do, compared with what they do in whole runs, and what they are refused.
//!
//! A platform of its own: calls are counted for a whole embedded AWS, and what other tests try would be among them.

/// The machines and templates as values.
#[path = "../static_checks/documents.rs"]
#[expect(dead_code, reason = "the static checks use the rest")]
mod documents;
/// What the templates grant.
mod granted;
/// Whatever is not granted is refused.
mod refused;
/// Calls of whole runs.
mod seen;
/// What destinations, topics and the queue take, and from whom.
mod strangers;
