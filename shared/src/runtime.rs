//! What every task's binary does, once: logging, reading the input, opening the span, naming the
//! error.

use std::sync::Arc;

use lambda_runtime::tracing::{self, Instrument};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::TaskError;
use crate::ids::RunId;

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
        let call = call(Arc::clone(&dependencies), handle.clone(), event.payload);
        async move { call.await.map_err(Diagnostic::from) }
    }))
    .await
}

/// One call of a task. All it logs is in a span that names the run, and so is its failure.
///
/// # Errors
/// `InvalidInput` when the payload is none of the task's, and the task's own.
pub async fn call<D, I, O, H, F>(
    dependencies: Arc<D>,
    handle: H,
    payload: Value,
) -> Result<O, TaskError>
where
    I: DeserializeOwned,
    H: Fn(Arc<D>, I) -> F,
    F: Future<Output = Result<O, TaskError>>,
{
    let span = tracing::info_span!("task", run_id = tracing::field::Empty);
    if let Some(run_id) = run_id_of(&payload) {
        span.record("run_id", run_id);
    }
    let result = async {
        let input = parse::<I>(payload)?;
        // Boxed, or the futures of a task nest deeper than the compiler goes.
        Box::pin(handle(dependencies, input)).await
    }
    .instrument(span.clone())
    .await;
    if let Err(error) = &result {
        span.in_scope(|| {
            tracing::error!(error = error.name(), message = %error, "task failed");
        });
    }
    result
}

/// Reads a task's input; the error names the field.
pub fn parse<I: DeserializeOwned>(payload: Value) -> Result<I, TaskError> {
    serde_path_to_error::deserialize(payload).map_err(|error| {
        TaskError::InvalidInput(format!("task input at {}: {}", error.path(), error.inner()))
    })
}

/// The run that a call is about, where its payload says so: as a field of its own, or, before there is
/// a run, in the run input.
fn run_id_of(payload: &Value) -> Option<&str> {
    let own = payload.get("run_id").and_then(Value::as_str);
    own.or_else(|| payload.get("input")?.get("run_id")?.as_str())
}

/// Says which run a call is about, if its payload does not.
pub fn is_about(run_id: &RunId) {
    tracing::Span::current().record("run_id", run_id.as_str());
}
