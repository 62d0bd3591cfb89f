//! `s3insights report`: the report page of a run as a file.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use shared::ids::RunId;
use shared::naming;
use shared::report::Report;

use crate::arguments::PageArguments;
use crate::exit::Exit;
use crate::output;
use crate::platform::Platform;
use crate::run::RunStatus;

pub(crate) async fn report(arguments: PageArguments) -> Result<Exit> {
    let PageArguments {
        run_id,
        stack,
        out,
        open,
    } = arguments;
    let platform = Platform::from_environment(&stack).await?;
    let page = page(&platform, &run_id).await?;
    let file = out.unwrap_or_else(|| format!("s3insights-report-{run_id}.html").into());
    write(&file, &page)?;
    output::data(&file.display().to_string())?;
    if open && let Err(error) = show(&file) {
        output::note(&format!(
            "note: {} was not opened: {error:#}",
            file.display()
        ));
    }
    Ok(Exit::Done)
}

/// Writes a page, and the folder it is to be in.
pub(crate) fn write(file: &Path, page: &[u8]) -> Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("making the folder {}", folder.display()))?;
    }
    std::fs::write(file, page).with_context(|| format!("writing {}", file.display()))
}

/// The page that the run has stored. A run that goes on, or was stopped, has stored none: its page
/// is made of the records as they are.
pub(crate) async fn page(platform: &Platform, run_id: &RunId) -> Result<Vec<u8>> {
    let status = RunStatus::load(platform, run_id).await?;
    if status.is_over()
        && let Some(stored) = platform.object(&naming::report_key(run_id)).await?
    {
        return Ok(stored.to_vec());
    }
    let buckets = platform.runs().buckets(run_id).await?;
    let totals = platform.stored(&naming::run_totals_key(run_id)).await?;
    let top_prefixes = platform.stored(&naming::top_prefixes_key(run_id)).await?;
    let report = Report {
        summary: &status.summary,
        buckets: &buckets,
        totals: totals.as_ref(),
        top_prefixes: top_prefixes.as_ref(),
        as_of: (!status.is_over()).then(Timestamp::now),
    };
    Ok(report.page().into_bytes())
}

/// Hands a file to whatever shows pages on this system, and does not wait for it.
fn show(file: &Path) -> Result<()> {
    let file: PathBuf = file.canonicalize()?;
    let opener = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    Command::new(opener)
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("starting {opener}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_written_where_it_is_told_also_over_an_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pages/nightly.html");
        for page in ["a longer page", "a page"] {
            write(&file, page.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), page);
        }
        let error = write(folder.path(), b"").unwrap_err();
        assert!(error.to_string().starts_with("writing "), "{error}");
    }
}
