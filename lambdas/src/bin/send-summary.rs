//! Task `send-summary`: tells the recipients how the run ended.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambdas::serve(lambdas::send_summary::handle).await
}
