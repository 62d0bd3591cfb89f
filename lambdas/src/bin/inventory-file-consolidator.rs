//! Task `inventory-file-consolidator`: takes one delivered file into the snapshot.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambdas::serve(lambdas::inventory_file_consolidator::handle).await
}
