//! Ring 4: whole runs on the embedded AWS, with the binaries, machines and templates that go to
//! AWS, and IAM enforced.

/// The built-in estate, end to end.
mod built_in_estate;
