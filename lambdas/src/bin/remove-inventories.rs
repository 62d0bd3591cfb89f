//! Task `remove-inventories`: deletes our inventory configurations from the buckets of one account.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambdas::serve(lambdas::remove_inventories::handle).await
}
