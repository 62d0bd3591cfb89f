//! Working on several files of a report at a time.

use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use shared::aws::AwsError;
use shared::consolidation::{ConsolidationError, Source};
use shared::manifest::ManifestFile;
use tokio::runtime::Handle;

use super::Difference;
use super::report::{Opened, Report};

/// What became of one file.
type Done<T> = Result<T, ConsolidationError>;

/// What became of all of them.
pub(super) struct All<T> {
    /// What came of the files that went well, in the order of the manifest.
    pub(super) done: Vec<T>,
    /// How the report differs from its manifest.
    pub(super) differences: Vec<Difference>,
    /// What went wrong beside.
    pub(super) error: Option<anyhow::Error>,
}

/// Works on all files of a report.
pub(super) async fn each_file<T, W>(
    report: Arc<Report>,
    threads: Option<NonZeroUsize>,
    what: &'static str,
    work: W,
) -> Result<All<T>>
where
    T: Send + 'static,
    W: Fn(&Report, &ManifestFile, Opened) -> Done<T> + Send + Sync + 'static,
{
    let threads = threads
        .or_else(|| std::thread::available_parallelism().ok())
        .map_or(1, NonZeroUsize::get);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let bytes = report.manifest.files.iter().map(|file| file.size).sum();
        let bar = bar(what, bytes);
        let next = AtomicUsize::new(0);
        let done: Mutex<Vec<(usize, Done<T>)>> = Mutex::default();
        std::thread::scope(|scope| {
            for _ in 0..threads.min(report.manifest.files.len()) {
                scope.spawn(|| {
                    let _entered = runtime.enter();
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(file) = report.manifest.files.get(index) else {
                            return;
                        };
                        let result = one(&report, file, &runtime, &bar, &work);
                        done.lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push((index, result));
                    }
                });
            }
        });
        bar.finish_and_clear();
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(index, _)| *index);
        let mut all = All {
            done: Vec::new(),
            differences: Vec::new(),
            error: None,
        };
        for (index, result) in done {
            let file = &report.manifest.files[index].key;
            match result {
                Ok(result) => all.done.push(result),
                Err(error) if error.is_fault_of_the_file() => all.differences.push(Difference {
                    file: file.clone(),
                    problem: error.to_string(),
                }),
                Err(error) => {
                    all.error.get_or_insert(not_the_reports_fault(file, error));
                }
            }
        }
        all
    })
    .await
    .map_err(anyhow::Error::new)
}

fn one<T>(
    report: &Report,
    file: &ManifestFile,
    runtime: &Handle,
    bar: &ProgressBar,
    work: impl Fn(&Report, &ManifestFile, Opened) -> Done<T>,
) -> Done<T> {
    let Some(opened) = report.open_file(file, runtime)? else {
        return Err(ConsolidationError::Missing);
    };
    let watched = Arc::new(Watched {
        inner: opened.source,
        bar: bar.clone(),
        furthest: AtomicU64::new(0),
    });
    work(
        report,
        file,
        Opened {
            source: watched,
            ..opened
        },
    )
}

/// The error of AWS, with its hint, or that of the disk.
fn not_the_reports_fault(file: &str, error: ConsolidationError) -> anyhow::Error {
    let context = file.to_owned();
    match error {
        ConsolidationError::Fetch(error) | ConsolidationError::Write(error) => {
            match error.downcast::<AwsError>() {
                Ok(error) => anyhow::Error::new(error).context(context),
                Err(error) => anyhow::Error::new(error).context(context),
            }
        }
        error => anyhow::Error::new(error).context(context),
    }
}

fn bar(what: &'static str, bytes: u64) -> ProgressBar {
    let style = "{msg} {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}";
    let bar = ProgressBar::new(bytes)
        .with_message(what)
        .with_style(ProgressStyle::with_template(style).expect("the template is sound"));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A source that shows how far it has been read.
struct Watched {
    inner: Arc<dyn Source>,
    bar: ProgressBar,
    furthest: AtomicU64,
}

impl Source for Watched {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        let bytes = self.inner.read(range.clone())?;
        // The end of a file is read first: only what goes on from the front is progress.
        let furthest = self.furthest.load(Ordering::Relaxed);
        if range.start <= furthest + self.window() * 16 && range.end > furthest {
            self.bar.inc(range.end - furthest);
            self.furthest.store(range.end, Ordering::Relaxed);
        }
        Ok(bytes)
    }

    fn announce(&self, ranges: &[Range<u64>]) {
        self.inner.announce(ranges);
    }

    fn window(&self) -> u64 {
        self.inner.window()
    }
}
