//! Task `run-query`: starts one query of the run in Athena.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambdas::serve(lambdas::run_query::handle).await
}
