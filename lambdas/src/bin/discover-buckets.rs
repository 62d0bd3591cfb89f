//! Task `discover-buckets`: records the source buckets of one account.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambdas::serve(lambdas::discover_buckets::handle).await
}
