//! What every task's binary does, once: logging, reading the input, opening the span, naming the
//! error.

use std::sync::Arc;

use lambda_runtime::tracing::{self, Instrument};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::TaskError;

/// Serves one task: hands each event's payload to `handle` and answers with its result, or with
/// the error by its name.
///
/// # Errors
/// When the runtime API cannot be served.
pub async fn serve<D, I, O, H, F>(
    dependencies: Arc<D>,
    handle: H,
) -> Result<(), lambda_runtime::Error>
where
    D: Send + Sync + 'static,
    I: DeserializeOwned + Send + 'static,
    O: Serialize + Send + 'static,
    H: Fn(Arc<D>, I) -> F + Clone + 'static,
    F: Future<Output = Result<O, TaskError>>,
{
    tracing::init_default_subscriber();
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| {
        let dependencies = Arc::clone(&dependencies);
        let handle = handle.clone();
        async move {
            let span = tracing::info_span!("task", run_id = run_id_of(&event.payload));
            let result = async {
                let input = parse::<I>(event.payload)?;
                // Boxed, or the futures of a task nest deeper than the compiler goes.
                Box::pin(handle(dependencies, input)).await
            }
            .instrument(span.clone())
            .await;
            result.map_err(|error| {
                span.in_scope(|| {
                    tracing::error!(error = error.name(), message = %error, "task failed");
                });
                Diagnostic::from(error)
            })
        }
    }))
    .await
}

/// Reads a task's input; the error names the field.
pub fn parse<I: DeserializeOwned>(payload: Value) -> Result<I, TaskError> {
    serde_path_to_error::deserialize(payload).map_err(|error| {
        TaskError::InvalidInput(format!("task input at {}: {}", error.path(), error.inner()))
    })
}

fn run_id_of(payload: &Value) -> &str {
    payload
        .get("run_id")
        .and_then(Value::as_str)
        .unwrap_or_default()
}
