//! `tokio::task`, as far as the consolidator names it.

use std::convert::Infallible;

/// Does the work at once, on the one thread that there is.
pub async fn spawn_blocking<T>(work: impl FnOnce() -> T) -> Result<T, Infallible> {
    Ok(work())
}
