//! Task `check-query`: reads where one query of the run stands.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambdas::serve(lambdas::check_query::handle).await
}
