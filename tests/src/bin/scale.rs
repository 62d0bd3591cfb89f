//! Measures what runs over estates of several sizes do, and writes it to `docs/scale.json`.
#![expect(clippy::print_stdout, reason = "it is a command")]

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use tests::Platform;
use tests::scale::{Measurement, cases, measure, tables};

/// Measures what runs over estates of several sizes do, on the embedded AWS. Every case replaces its
/// own entry in docs/scale.json; the others stay.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only the cases that take less than some minutes.
    #[arg(long)]
    quick: bool,
    /// Only these cases.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Prints the measurements as JSON rather than as tables.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let known = cases();
    for name in &arguments.only {
        let names: Vec<&str> = known.iter().map(|case| case.name.as_str()).collect();
        ensure!(
            names.contains(&name.as_str()),
            "no case {name} in {names:?}"
        );
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scale.json");
    let mut measured: Vec<Measurement> = match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).context("docs/scale.json")?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error).context("docs/scale.json"),
    };
    let mut platform = Platform::start().await?;
    // The largest cases take most of an hour.
    platform.patience = Duration::from_hours(3);
    for case in &known {
        let is_asked = arguments.only.is_empty() || arguments.only.contains(&case.name);
        if !is_asked || (arguments.quick && case.is_long) {
            continue;
        }
        eprintln!("{}", case.name);
        let measurement = measure(&platform, case).await?;
        measured.retain(|known| known.case != case.name);
        measured.push(measurement);
        measured.sort_by_key(|one| known.iter().position(|case| case.name == one.case));
        // After each case: a long one that fails takes nothing with it.
        let mut text = serde_json::to_string_pretty(&measured)?;
        text.push('\n');
        std::fs::write(&path, text)?;
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&measured)?);
    } else {
        print!("{}", tables(&measured));
    }
    Ok(())
}
