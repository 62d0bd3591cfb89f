//! Runs many schedules, or shows what happens in one.
#![expect(clippy::print_stdout, reason = "it is a command")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use anyhow::bail;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use simulation::{Figures, simulate};

/// Simulates whole runs in which everything goes wrong that may.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many schedules to run.
    #[arg(long, default_value_t = 100_000)]
    schedules: u64,
    /// Seed of the first; the others follow.
    #[arg(long, default_value_t = 0)]
    first_seed: u64,
    /// Runs only the schedule of this seed and shows all that happens.
    #[arg(long, conflicts_with_all = ["schedules", "first_seed"])]
    seed: Option<u64>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.seed {
        Some(seed) => show(seed),
        None => run(arguments.first_seed, arguments.schedules),
    }
}

fn show(seed: u64) -> anyhow::Result<()> {
    let simulated = simulate(seed, None, true);
    for line in &simulated.trace {
        println!("{line}");
    }
    println!("{:#?}", simulated.figures);
    if let Some(violation) = simulated.violations.first() {
        bail!("seed {seed}: {violation}");
    }
    Ok(())
}

fn run(first: u64, schedules: u64) -> anyhow::Result<()> {
    let style = "{bar:40} {human_pos}/{human_len} schedules, {per_sec}, {eta} left";
    let bar = ProgressBar::new(schedules).with_style(ProgressStyle::with_template(style)?);
    let began = Instant::now();
    let (next, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut figures = Figures::default();
        let mut found = None;
        while !is_over.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= schedules {
                break;
            }
            let seed = first + number;
            let simulated = simulate(seed, None, false);
            figures.add(&simulated.figures);
            bar.inc(1);
            if !simulated.violations.is_empty() {
                is_over.store(true, Ordering::Relaxed);
                found = Some(seed);
            }
        }
        (figures, found)
    };
    let done: Vec<(Figures, Option<u64>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let threads = threads.into_iter();
        threads
            .map(|thread| thread.join().expect("schedules do not panic"))
            .collect()
    });
    bar.finish_and_clear();
    let mut figures = Figures::default();
    for (part, _) in &done {
        figures.add(part);
    }
    if let Some(seed) = done.iter().filter_map(|(_, found)| *found).min() {
        return show(seed);
    }
    println!("{figures:#?}");
    println!(
        "no violation, first seed {first}, {:.1} s",
        began.elapsed().as_secs_f64()
    );
    Ok(())
}
