//! Task `dead-letter-keeper`: keeps messages that a queue gave up, with the reason.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambdas::serve(lambdas::dead_letter_keeper::handle).await
}
