//! What the binary of every task does.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::aws::Clients;
use shared::error::TaskError;
use shared::runtime;
use shared::settings::Settings;

use crate::Platform;

/// Serves one task with the platform that the environment describes.
///
/// # Errors
/// When the environment is incomplete or the runtime API cannot be served.
pub async fn serve<I, O, H, F>(handle: H) -> Result<(), lambda_runtime::Error>
where
    I: DeserializeOwned + Send + 'static,
    O: Serialize + Send + 'static,
    H: Fn(Arc<Platform>, I) -> F + Clone + 'static,
    F: Future<Output = Result<O, TaskError>>,
{
    let platform = Platform {
        settings: Settings::from_environment()?,
        clients: Clients::from_environment().await,
    };
    runtime::serve(Arc::new(platform), handle).await
}
