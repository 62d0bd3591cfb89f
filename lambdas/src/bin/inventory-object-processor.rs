//! Task `inventory-object-processor`: turns delivered reports into messages, one for each file.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambdas::serve(lambdas::inventory_object_processor::handle).await
}
