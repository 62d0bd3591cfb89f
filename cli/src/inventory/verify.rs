//! `s3insights inventory verify`.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use serde::Serialize;
use shared::consolidation;

use super::report::{Opened, Report};
use super::{count, differs, peak_rss_bytes, workers};
use crate::arguments::ReportArguments;
use crate::exit::Exit;
use crate::output;

#[derive(Serialize)]
struct Done {
    verified: bool,
    /// Whether the manifest itself was compared with a checksum.
    manifest_checksum: bool,
    files: usize,
    bytes_delivered: u64,
    bytes_hashed: u64,
    seconds: f64,
    peak_rss_bytes: Option<u64>,
}

pub(super) async fn verify(arguments: ReportArguments) -> Result<Exit> {
    let begun = Instant::now();
    let manifest = arguments.manifest.to_string();
    let report = match Report::open(&arguments.manifest).await? {
        Ok(report) => Arc::new(report),
        Err(difference) => return differs(&manifest, &[difference], arguments.json),
    };
    let verifying = workers::each_file(
        Arc::clone(&report),
        arguments.threads,
        "verifying",
        |_, file, opened| {
            let Opened {
                source,
                known_md5,
                verifying,
                ..
            } = opened;
            let work = consolidation::verify(file, known_md5, source)?;
            Ok(work.plus(verifying))
        },
    );
    let all = verifying.await?;
    if all.is_interrupted {
        output::note("interrupted");
        return Ok(Exit::Interrupted);
    }
    if let Some(error) = all.error {
        return Err(error);
    }
    if !all.differences.is_empty() {
        return differs(&manifest, &all.differences, arguments.json);
    }
    if !report.has_checksum {
        output::note(
            "note: there is no manifest.checksum, so the manifest itself is taken as it is",
        );
    }
    let done = Done {
        verified: true,
        manifest_checksum: report.has_checksum,
        files: report.manifest.files.len(),
        bytes_delivered: report.manifest.files.iter().map(|file| file.size).sum(),
        bytes_hashed: all.done.iter().map(|work| work.bytes_hashed).sum(),
        seconds: begun.elapsed().as_secs_f64(),
        peak_rss_bytes: peak_rss_bytes(),
    };
    if arguments.json {
        output::json(&done)?;
    } else {
        output::data(&format!(
            "The report about {} is whole: {}, {} bytes, as its manifest says.",
            report.manifest.source_bucket,
            count(done.files as u64, "file"),
            done.bytes_delivered
        ))?;
    }
    Ok(Exit::Done)
}
