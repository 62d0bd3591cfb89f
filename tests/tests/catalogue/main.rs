//! The catalogue of queries: what each answers, and the files that are made of it.
//!
//! Needs the Python of the embedded AWS, which is made on first use, and no AWS.

/// Answers, in DuckDB, to rows whose answer was found by hand.
mod answers;
/// `docs/analysis-techniques.md`, and the table in `docs/run-input.md`.
mod documents;
/// Files of the repository that are made of others.
mod generated;
/// `cfn/saved-queries.yaml`.
mod saved_queries;
