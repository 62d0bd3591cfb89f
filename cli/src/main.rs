//! The command `s3insights`: starts the machines of the platform and reads what they record,
//! consolidates reports without it, shows the catalogue of queries, and replays messages that were given
//! up. It decides nothing about a run.

mod arguments;
mod deadletters;
mod exit;
mod inventory;
mod local;
mod output;
mod platform;
mod progress;
mod queries;
mod report;
mod run;
mod run_input;
mod trouble;

use clap::Parser as _;

use arguments::{Arguments, Noun};

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let done = match Arguments::parse().noun {
        Noun::Run(arguments) => run::run(arguments).await,
        Noun::Report(arguments) => report::report(arguments).await,
        Noun::Inventory(arguments) => inventory::inventory(arguments).await,
        Noun::Queries(arguments) => queries::queries(arguments),
        Noun::DeadLetters(arguments) => deadletters::deadletters(arguments).await,
        Noun::Local(arguments) => local::local(arguments).await,
    };
    done.unwrap_or_else(|error| trouble::report(&error)).into()
}
