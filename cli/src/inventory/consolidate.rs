//! `s3insights inventory consolidate`.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use serde::Serialize;
use shared::consolidation::{self, Consolidated, ConsolidationError, Delivered, Work};
use shared::naming;
use shared::totals::Totals;

use super::destination::{Destination, Finished};
use super::report::Report;
use super::{count, differs, peak_rss_bytes, workers};
use crate::arguments::{PlaceArgument, ReportArguments};
use crate::exit::Exit;
use crate::output;

/// What was done, as JSON.
#[derive(Serialize)]
struct Done {
    verified: bool,
    /// Whether the manifest itself was compared with a checksum.
    manifest_checksum: bool,
    rows: u64,
    files: usize,
    bytes_delivered: u64,
    /// Read for the work itself.
    bytes_read: u64,
    /// Read only to verify.
    bytes_hashed: u64,
    /// Made by us.
    bytes_written: u64,
    /// Moved without passing through us.
    bytes_copied: u64,
    /// From the first byte of the manifest until all files are made.
    seconds: f64,
    /// Of these, to verify the files; summed over the threads.
    seconds_hashing: f64,
    /// Of these, to copy delivered bytes on disk, which in S3 is S3's own work; summed over the threads.
    seconds_copying: f64,
    peak_rss_bytes: Option<u64>,
    undecodable_keys: u64,
    /// Columns of the report that snapshots do not have.
    left_out_columns: Vec<String>,
    /// Where the consolidated files are.
    written: Vec<String>,
    totals: Totals,
}

/// One file that is not in its place yet.
struct Made {
    consolidated: Consolidated,
    work: Work,
    finished: Finished,
}

pub(super) async fn consolidate(arguments: ReportArguments, to: PlaceArgument) -> Result<Exit> {
    let begun = Instant::now();
    let manifest = arguments.manifest.to_string();
    let report = match Report::open(&arguments.manifest).await? {
        Ok(report) => Arc::new(report),
        Err(difference) => return differs(&manifest, &[difference], arguments.json),
    };
    let destination = Arc::new(Destination::open(&to).await?);
    let shared_destination = Arc::clone(&destination);
    let making = workers::each_file(
        Arc::clone(&report),
        arguments.threads,
        "consolidating",
        move |report, file, opened| {
            let name = format!("{}.parquet", naming::file_stem(&file.key));
            let mut pending = shared_destination
                .begin(&name, &opened.place, &opened.source)
                .map_err(ConsolidationError::Write)?;
            let made = consolidation::consolidate_verified(
                Delivered::from(&report.manifest),
                file,
                opened.known_md5,
                opened.source,
                &mut pending,
            );
            let (consolidated, work) = match made {
                Ok(made) => made,
                Err(error) => {
                    take_back(pending.abort());
                    return Err(error);
                }
            };
            Ok(Made {
                consolidated,
                work: work.plus(opened.verifying),
                finished: pending.finish().map_err(ConsolidationError::Write)?,
            })
        },
    );
    let all = making.await?;
    let seconds = begun.elapsed();
    if all.is_interrupted || all.error.is_some() || !all.differences.is_empty() {
        let made = all.done.into_iter().map(|made| made.finished);
        let abort = move || made.for_each(|finished| take_back(finished.abort()));
        tokio::task::spawn_blocking(abort).await?;
        if all.is_interrupted {
            output::note("interrupted; nothing is written");
            return Ok(Exit::Interrupted);
        }
        if let Some(error) = all.error {
            return Err(error);
        }
        return differs(&manifest, &all.differences, arguments.json);
    }
    let done = tokio::task::spawn_blocking(move || put_in_place(&report, all.done)).await??;
    let totals = serde_json::to_vec_pretty(&done.totals)?;
    destination.put("totals.json", totals).await?;
    let done = Done {
        seconds: seconds.as_secs_f64(),
        peak_rss_bytes: peak_rss_bytes(),
        ..done
    };
    if !done.manifest_checksum {
        output::note(
            "note: there is no manifest.checksum, so the manifest itself is taken as it is",
        );
    }
    if arguments.json {
        output::json(&done)?;
    } else {
        output::data(&in_words(&done, &to))?;
    }
    Ok(Exit::Done)
}

/// Everything has verified: the files get their names.
fn put_in_place(report: &Report, made: Vec<Made>) -> Result<Done> {
    let files = &report.manifest.files;
    let mut done = Done {
        verified: true,
        manifest_checksum: report.has_checksum,
        rows: 0,
        files: files.len(),
        bytes_delivered: files.iter().map(|file| file.size).sum(),
        bytes_read: 0,
        bytes_hashed: 0,
        bytes_written: 0,
        bytes_copied: 0,
        seconds: 0.0,
        seconds_hashing: 0.0,
        seconds_copying: 0.0,
        peak_rss_bytes: None,
        undecodable_keys: 0,
        left_out_columns: Vec::new(),
        written: Vec::new(),
        totals: Totals::default(),
    };
    for Made {
        consolidated,
        work,
        finished,
    } in made
    {
        done.rows += consolidated.rows;
        done.bytes_read += work.bytes_read;
        done.bytes_hashed += work.bytes_hashed;
        done.bytes_written += finished.bytes_written();
        done.bytes_copied += finished.bytes_copied();
        done.seconds_copying += finished.copying().as_secs_f64();
        done.seconds_hashing += work.hashing.as_secs_f64();
        done.undecodable_keys += consolidated.undecodable_keys;
        done.left_out_columns.extend(consolidated.left_out_columns);
        done.totals.merge(consolidated.totals);
        done.written.push(finished.complete()?);
    }
    done.totals.compact();
    done.left_out_columns.sort_unstable();
    done.left_out_columns.dedup();
    Ok(done)
}

/// What cannot be taken back is said; it is invisible, and the bucket's lifecycle rule may end it.
fn take_back(taken_back: Result<()>) {
    if let Err(error) = taken_back {
        output::note(&format!("warning: an unfinished upload stays: {error:#}"));
    }
}

fn in_words(done: &Done, to: &PlaceArgument) -> String {
    let mut lines = vec![format!(
        "{} of {}, verified and consolidated in {to}.",
        count(done.rows, "row"),
        count(done.files as u64, "file")
    )];
    let all = &done.totals.all;
    lines.push(format!(
        "{} of {} bytes, {} of {} bytes, {}.",
        count(all.objects, "object"),
        all.object_bytes,
        count(all.versions, "version"),
        all.version_bytes,
        count(done.totals.delete_markers, "delete marker")
    ));
    if done.undecodable_keys > 0 {
        lines.push(format!(
            "Not UTF-8, and with U+FFFD in place of what cannot be decoded: {}.",
            count(done.undecodable_keys, "key")
        ));
    }
    if !done.left_out_columns.is_empty() {
        lines.push(format!(
            "Left out, since snapshots do not have them: {}.",
            done.left_out_columns.join(", ")
        ));
    }
    lines.push(format!(
        "Of {} delivered bytes, {} were read, {} more only to verify, and {} made, in {:.2} s.",
        done.bytes_delivered, done.bytes_read, done.bytes_hashed, done.bytes_written, done.seconds
    ));
    lines.join("\n")
}
