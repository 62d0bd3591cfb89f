//! Task `publish-snapshot`: makes the snapshot a table and prepares the queries.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambdas::serve(lambdas::publish_snapshot::handle).await
}
