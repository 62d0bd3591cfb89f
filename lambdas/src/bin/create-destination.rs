//! Task `create-destination`: makes the inventory destination of one Region.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambdas::serve(lambdas::create_destination::handle).await
}
