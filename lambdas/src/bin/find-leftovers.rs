//! Task `find-leftovers`: finds the next run that left something.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambdas::serve(lambdas::find_leftovers::handle).await
}
