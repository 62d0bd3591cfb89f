//! Whole runs under faults: `cargo run -p tests --bin fault-runs -- --seeds 30`, after
//! `cargo build --workspace`.
#![expect(clippy::print_stdout, reason = "it is a command")]

use anyhow::Result;
use clap::Parser;
use tests::{Platform, check_fault_runs, fault_run, fault_table};

/// Runs the platform while AWS misbehaves, once for each seed, and tells what became of each run.
/// Ends with 1 if a run broke its promise.
#[derive(Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// This seed alone.
    #[arg(long, conflicts_with_all = ["seeds", "first_seed"])]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let seeds = match arguments.seed {
        Some(seed) => seed..seed.saturating_add(1),
        None => arguments.first_seed..arguments.first_seed.saturating_add(arguments.seeds),
    };
    let platform = Platform::start().await?;
    let mut runs = Vec::new();
    for seed in seeds {
        let run = fault_run(&platform, seed).await?;
        eprintln!("{}", fault_table(std::slice::from_ref(&run)));
        for broken in &run.broken {
            eprintln!("seed {seed}: {broken}");
        }
        runs.push(run);
    }
    println!("{}", fault_table(&runs));
    check_fault_runs(&runs)
}
