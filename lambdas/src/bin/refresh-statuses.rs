//! Task `refresh-statuses`: looks at the buckets whose report has not come.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambdas::serve(lambdas::refresh_statuses::handle).await
}
