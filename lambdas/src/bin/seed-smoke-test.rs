//! Task `seed-smoke-test`: puts a small report into the destination of every Region of a smoke run.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambdas::serve(lambdas::seed_smoke_test::handle).await
}
