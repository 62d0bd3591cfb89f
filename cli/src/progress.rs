//! Showing that something goes on: a line that changes in a terminal, else plain lines, one
//! whenever something has changed.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use shared::outcome::{Coverage, coverage};
use shared::run::SourceBucket;
use shared::status::InventoryStatus;
use shared::summary::visible;

use crate::output;

/// Where a run stands while it goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The state its execution entered last.
    pub(crate) state: Option<String>,
    /// Its source buckets by status, without those just discovered.
    pub(crate) coverage: Coverage,
    /// Source buckets just discovered, of which nothing is known yet.
    pub(crate) discovered: u64,
    /// Files of reports that are consolidated.
    pub(crate) files_consolidated: u64,
    /// Files of the reports that have come.
    pub(crate) files: u64,
}

impl Standing {
    pub(crate) fn new(state: Option<String>, buckets: &[SourceBucket]) -> Self {
        let files = buckets.iter().filter_map(|bucket| bucket.files).sum();
        let pending: u64 = buckets
            .iter()
            .filter_map(|bucket| bucket.files_pending)
            .sum();
        let is_new = |bucket: &SourceBucket| {
            bucket.status == InventoryStatus::InventoryConfigurationNotCreated
                && bucket.reason.is_none()
        };
        Self {
            state,
            coverage: coverage(buckets.iter().filter(|bucket| !is_new(bucket))),
            discovered: buckets.iter().filter(|bucket| is_new(bucket)).count() as u64,
            files,
            files_consolidated: files.saturating_sub(pending),
        }
    }

    /// Buckets by status in words; empty before there are any.
    pub(crate) fn buckets(&self) -> String {
        let counted = InventoryStatus::ALL
            .into_iter()
            .filter_map(|status| Some(format!("{} {status}", self.coverage.get(&status)?)));
        let discovered = (self.discovered > 0).then(|| format!("{} discovered", self.discovered));
        discovered
            .into_iter()
            .chain(counted)
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Files in words; empty before there are any.
    pub(crate) fn files(&self) -> String {
        match self.files {
            0 => String::new(),
            files => format!("{} of {files} files consolidated", self.files_consolidated),
        }
    }

    /// All of it in one line.
    pub(crate) fn line(&self) -> String {
        let state = self
            .state
            .as_deref()
            .map_or_else(|| "starting".to_owned(), visible);
        let parts = [state, self.buckets(), self.files()];
        parts
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" | ")
    }
}

/// A span of time as `h:mm:ss`.
pub(crate) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!(
        "{}:{:02}:{:02}",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// Shows one line of progress on standard error, with the time since its start.
#[derive(Debug)]
pub(crate) struct Display {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Terminal(ProgressBar),
    Plain {
        started: std::time::Instant,
        before: Duration,
        shown: Mutex<String>,
    },
}

impl Display {
    /// A display of something that has been going on for `elapsed`.
    pub(crate) fn new(elapsed: Duration) -> Self {
        if !std::io::stderr().is_terminal() {
            let started = std::time::Instant::now();
            return Self {
                kind: Kind::Plain {
                    started,
                    before: elapsed,
                    shown: Mutex::default(),
                },
            };
        }
        let bar = ProgressBar::new_spinner().with_elapsed(elapsed);
        bar.set_style(
            ProgressStyle::with_template("{spinner} {elapsed_precise} {wide_msg}")
                .expect("the template is a constant"),
        );
        bar.enable_steady_tick(Duration::from_millis(120));
        Self {
            kind: Kind::Terminal(bar),
        }
    }

    /// Shows a line in place of the one before.
    pub(crate) fn show(&self, line: &str) {
        match &self.kind {
            Kind::Terminal(bar) => bar.set_message(visible(line)),
            Kind::Plain {
                started,
                before,
                shown,
            } => {
                let mut shown = shown
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                if *shown != line {
                    output::note(&format!("{} {line}", clock(*before + started.elapsed())));
                    line.clone_into(&mut shown);
                }
            }
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Kind::Terminal(bar) = &self.kind {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::ids::{AccountId, BucketName, Region};

    use super::*;

    fn bucket(status: InventoryStatus, files: Option<(u64, u64)>) -> SourceBucket {
        let mut bucket = SourceBucket::discovered(
            AccountId::try_from("111111111111").unwrap(),
            BucketName::try_from("photos").unwrap(),
            Region::try_from("eu-west-1").unwrap(),
        );
        bucket.status = status;
        (bucket.files, bucket.files_pending) = files.unzip();
        bucket
    }

    #[test]
    fn a_line_tells_state_buckets_and_files() {
        let buckets = [
            bucket(InventoryStatus::InProgress, Some((5, 3))),
            bucket(InventoryStatus::InProgress, None),
            bucket(InventoryStatus::Done, Some((2, 0))),
            bucket(InventoryStatus::BucketIsEmpty, None),
        ];
        let standing = Standing::new(Some("Wait for the inventory reports".into()), &buckets);
        assert_eq!(
            standing.line(),
            "Wait for the inventory reports | 1 done, 1 bucket_is_empty, 2 in_progress | \
             4 of 7 files consolidated"
        );
    }

    #[test]
    fn what_is_not_known_yet_is_left_out() {
        assert_eq!(Standing::default().line(), "starting");
        assert_eq!(
            Standing::new(Some("Initialize\u{7}".into()), &[]).line(),
            "Initialize\\u{7}"
        );
    }

    #[test]
    fn hours_do_not_end_at_a_day() {
        for (seconds, text) in [(0, "0:00:00"), (61, "0:01:01"), (180_000, "50:00:00")] {
            assert_eq!(clock(Duration::from_secs(seconds)), text);
        }
    }
}
