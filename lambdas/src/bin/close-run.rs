//! Task `close-run`: records how the run ended and removes what must not stay.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambdas::serve(lambdas::close_run::handle).await
}
