//! The command `s3insights`: starts the machines of the platform and reads what they record,
//! consolidates reports without it, and shows the catalogue of queries. It decides nothing about a run.

mod arguments;
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
        Noun::Local(arguments) => local::local(arguments).await,
    };
    done.unwrap_or_else(|error| trouble::report(&error)).into()
}
