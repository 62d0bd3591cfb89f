//! Task `empty-destination`: deletes all objects of the destination in one Region.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambdas::serve(lambdas::empty_destination::handle).await
}
