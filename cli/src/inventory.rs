//! `s3insights inventory`: reports without a platform.

mod consolidate;
mod destination;
mod report;
mod verify;
mod workers;

use anyhow::Result;
use serde::Serialize;

use crate::arguments::{InventoryArguments, InventoryVerb};
use crate::exit::Exit;
use crate::output;

/// Does what was asked for.
pub(crate) async fn inventory(arguments: InventoryArguments) -> Result<Exit> {
    match arguments.verb {
        InventoryVerb::Consolidate { report, to } => consolidate::consolidate(report, to).await,
        InventoryVerb::Verify { report } => verify::verify(report).await,
    }
}

/// A file that is not what its manifest says.
#[derive(Debug, Serialize)]
struct Difference {
    /// Key of the file in the manifest; the place of the manifest for itself.
    file: String,
    /// What differs.
    problem: String,
}

/// Tells what differs.
fn differs(manifest: &str, differences: &[Difference], json: bool) -> Result<Exit> {
    if json {
        output::json(&serde_json::json!({ "verified": false, "differences": differences }))?;
    }
    for Difference { file, problem } in differences {
        output::note(&output::lines_visible(&format!("{file}: {problem}")));
    }
    output::note(&format!(
        "error: the report {manifest} does not verify: {} of it {}",
        count(differences.len() as u64, "file"),
        if differences.len() == 1 {
            "differs"
        } else {
            "differ"
        },
    ));
    Ok(Exit::Failed)
}

/// A number of things.
fn count(number: u64, thing: &str) -> String {
    match number {
        1 => format!("1 {thing}"),
        several => format!("{several} {thing}s"),
    }
}

/// The most memory the process has held, where the system tells.
fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
