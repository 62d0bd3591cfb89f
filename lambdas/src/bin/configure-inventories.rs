//! Task `configure-inventories`: asks S3 for an inventory of every source bucket of one account.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambdas::serve(lambdas::configure_inventories::handle).await
}
