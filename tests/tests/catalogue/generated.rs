//! Files of the repository that are made of others: a test fails when one is not what it would be made
//! now, and writes it anew where the environment has `UPDATE_GENERATED`.

use std::path::{Path, PathBuf};

/// A file of the repository.
pub(crate) fn path(of_repository: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(of_repository)
}

/// Text of a file of the repository; empty if there is none.
pub(crate) fn text(of_repository: &str) -> String {
    std::fs::read_to_string(path(of_repository)).unwrap_or_default()
}

/// Holds a file against what it would be made now.
#[track_caller]
pub(crate) fn check(of_repository: &str, made: &str) {
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(path(of_repository), made).expect("the file can be written");
    } else {
        assert!(
            text(of_repository) == made,
            "{of_repository} is stale; make it anew with \
             `UPDATE_GENERATED=1 cargo test -p tests --test catalogue` and commit it"
        );
    }
}
