//! Task `await-inventories`: stores the token that the last bucket answers.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambdas::serve(lambdas::await_inventories::handle).await
}
