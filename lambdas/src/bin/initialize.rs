//! Task `initialize`: checks the run input and opens the run.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambdas::serve(lambdas::initialize::handle).await
}
