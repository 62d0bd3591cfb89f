//! Working on several files of a report at a time.

use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use shared::aws::AwsError;
use shared::consolidation::{ConsolidationError, FILES_TOGETHER, ReadAt, verify_together};
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
    /// Whether the user had enough of it, so that not all files are among the others.
    pub(super) is_interrupted: bool,
}

/// Works on all files of a report, or on some if the process is asked to end meanwhile.
///
/// Files on disk are opened and verified a few at a time, since they are hashed faster together. Those
/// in S3 are taken one by one, and verified while they are worked on: they are fetched once.
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
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let mut working = tokio::task::spawn_blocking(move || {
        let files = &report.manifest.files;
        let progress = Progress {
            bar: bar(what, files.iter().map(|file| file.size).sum()),
            stop: stopped,
        };
        let together = if report.is_on_disk() {
            files.len().div_ceil(threads).clamp(1, FILES_TOGETHER)
        } else {
            1
        };
        let next = AtomicUsize::new(0);
        let done: Mutex<Vec<(usize, Done<T>)>> = Mutex::default();
        std::thread::scope(|scope| {
            for _ in 0..threads.min(files.len()) {
                scope.spawn(|| {
                    let _entered = runtime.enter();
                    while !progress.stop.load(Ordering::Relaxed) {
                        let first = next.fetch_add(together, Ordering::Relaxed);
                        let last = files.len().min(first.saturating_add(together));
                        if first >= last {
                            return;
                        }
                        let files = &files[first..last];
                        let opened = open(&report, files, &runtime, &progress);
                        for (number, (file, opened)) in files.iter().zip(opened).enumerate() {
                            let result = opened.and_then(|opened| work(&report, file, opened));
                            done.lock()
                                .unwrap_or_else(PoisonError::into_inner)
                                .push((first + number, result));
                        }
                    }
                });
            }
        });
        progress.bar.finish_and_clear();
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(index, _)| *index);
        let mut all = All {
            done: Vec::new(),
            differences: Vec::new(),
            error: None,
            is_interrupted: progress.stop.load(Ordering::Relaxed),
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
    });
    let all = tokio::select! {
        all = &mut working => all,
        () = interrupted() => {
            stop.store(true, Ordering::Relaxed);
            working.await
        }
    };
    all.map_err(anyhow::Error::new)
}

/// Waits until the process is asked to end.
async fn interrupted() {
    let asked = async {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let mut terminate = signal(SignalKind::terminate())?;
            tokio::select! {
                asked = tokio::signal::ctrl_c() => asked,
                _ = terminate.recv() => Ok(()),
            }
        }
        #[cfg(not(unix))]
        tokio::signal::ctrl_c().await
    };
    let asked: io::Result<()> = asked.await;
    if asked.is_err() {
        // It is not told, so it ends as processes do.
        std::future::pending::<()>().await;
    }
}

/// Opens files, and verifies them if they are several.
fn open(
    report: &Report,
    files: &[ManifestFile],
    runtime: &Handle,
    progress: &Progress,
) -> Vec<Done<Opened>> {
    let open = |file| {
        let opened = report.open_file(file, runtime)?;
        let opened = opened.ok_or(ConsolidationError::Missing)?;
        let source = Arc::new(Watched {
            inner: opened.source,
            progress: progress.clone(),
            furthest: AtomicU64::new(0),
        });
        Ok(Opened { source, ..opened })
    };
    let mut all: Vec<Done<Opened>> = files.iter().map(open).collect();
    if all.len() == 1 {
        return all;
    }
    let there: Vec<_> = files
        .iter()
        .zip(&all)
        .filter_map(|(file, opened)| Some((file, Arc::clone(&opened.as_ref().ok()?.source))))
        .collect();
    let mut verified = verify_together(&there).into_iter();
    for (file, place) in files.iter().zip(&mut all) {
        let Ok(opened) = place else { continue };
        match verified.next() {
            Some(Ok(work)) => {
                opened.known_md5 = Some(file.md5);
                opened.verifying = work;
            }
            Some(Err(error)) => *place = Err(error),
            None => {}
        }
    }
    all
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

/// What all threads share.
#[derive(Clone)]
struct Progress {
    bar: ProgressBar,
    /// Whether to stop as soon as possible.
    stop: Arc<AtomicBool>,
}

/// A file that shows how far it has been read, and that cannot be read after an interruption.
struct Watched {
    inner: Arc<dyn ReadAt>,
    progress: Progress,
    furthest: AtomicU64,
}

impl ReadAt for Watched {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        if self.progress.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("interrupted"));
        }
        let bytes = self.inner.read(range.clone())?;
        // The end of a file is read first: only what goes on from the front is progress.
        let furthest = self.furthest.load(Ordering::Relaxed);
        if range.start <= furthest + self.window() * 16 && range.end > furthest {
            self.progress.bar.inc(range.end - furthest);
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
