//! Task `delete-destination`: deletes the destination in one Region.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambdas::serve(lambdas::delete_destination::handle).await
}
