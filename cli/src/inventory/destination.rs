//! Where consolidated files are written to: nothing is there before everything is.

use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use shared::aws::{ConsolidatedUpload, Objects};
use shared::consolidation::{LocalFile, Output, ReadAt};
use shared::ids::BucketName;
use tempfile::{Builder, NamedTempFile, TempPath};

use super::report::{Place, s3_clients};
use crate::arguments::PlaceArgument;
use crate::trouble::Trouble;

/// A folder on disk or in S3.
pub(super) enum Destination {
    Disk(Folder),
    S3 {
        objects: Objects,
        bucket: BucketName,
        /// Empty, or with a slash at its end.
        prefix: String,
    },
}

impl Destination {
    pub(super) async fn open(place: &PlaceArgument) -> Result<Self> {
        match place {
            PlaceArgument::Disk(path) => {
                let folder = Folder::make(path)
                    .map_err(|error| Trouble::misuse(format!("{}: {error}", path.display())))?;
                Ok(Self::Disk(folder))
            }
            PlaceArgument::S3 { bucket, key } => {
                let clients = s3_clients().await?;
                let region = clients.region_of_bucket(bucket).await?;
                let slash = if key.is_empty() || key.ends_with('/') {
                    ""
                } else {
                    "/"
                };
                Ok(Self::S3 {
                    objects: clients.objects(&region),
                    bucket: bucket.clone(),
                    prefix: format!("{key}{slash}"),
                })
            }
        }
    }

    /// Begins a file, of which the first bytes may be those of a delivered one.
    pub(super) fn begin(
        &self,
        name: &str,
        delivered: &Place,
        source: &Arc<dyn ReadAt>,
    ) -> io::Result<Pending> {
        Ok(match self {
            Self::Disk(folder) => Pending::Disk(DiskFile {
                path: folder.path.join(name),
                file: BufWriter::new(temporary(&folder.path)?),
                source: Arc::clone(source),
                delivered: match delivered {
                    Place::Disk(file) => Some(Arc::clone(file)),
                    Place::S3(_) => None,
                },
                to_copy: 0,
                bytes_written: 0,
            }),
            Self::S3 {
                objects,
                bucket,
                prefix,
            } => {
                let delivered = match delivered {
                    Place::Disk(_) => None,
                    Place::S3(file) => Some(file),
                };
                let key = format!("{prefix}{name}");
                let content_type = "application/vnd.apache.parquet";
                Pending::S3(S3Object {
                    upload: objects.upload(bucket, &key, content_type, delivered),
                    source: delivered.is_none().then(|| Arc::clone(source)),
                    place: format!("s3://{bucket}/{key}"),
                })
            }
        })
    }

    /// Writes a small file at once.
    pub(super) async fn put(&self, name: &str, content: Vec<u8>) -> Result<()> {
        match self {
            Self::Disk(folder) => {
                let path = folder.path.join(name);
                let write = || {
                    let mut file = temporary(&folder.path)?;
                    file.write_all(&content)?;
                    closed(file)?.persist(&path)?;
                    io::Result::Ok(())
                };
                write().with_context(|| path.display().to_string())
            }
            Self::S3 {
                objects,
                bucket,
                prefix,
            } => {
                let key = format!("{prefix}{name}");
                objects
                    .put(bucket, &key, "application/json", content.into())
                    .await?;
                Ok(())
            }
        }
    }
}

/// A file that is removed when it is not kept, and that nobody takes for a Parquet file before.
fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    Builder::new()
        .prefix(".s3insights-")
        .suffix(".partial")
        .tempfile_in(folder)
}

/// Closes a temporary file, which goes on to be temporary: a report may have more files than can be open.
fn closed(file: NamedTempFile) -> io::Result<TempPath> {
    // Temporary files are for their owner alone; others may read what is finished.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        file.as_file()
            .set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    Ok(file.into_temp_path())
}

/// A folder that may have been made to be written to. If nothing is, it goes away again.
pub(super) struct Folder {
    path: PathBuf,
    /// It and those it is in, as far as they were made, the innermost first.
    made: Vec<PathBuf>,
}

impl Folder {
    fn make(path: &Path) -> io::Result<Self> {
        let made = path.ancestors().take_while(|folder| {
            // The last ancestor of a relative path is no path at all.
            !folder.as_os_str().is_empty() && !folder.exists()
        });
        let folder = Self {
            path: path.to_owned(),
            made: made.map(Path::to_owned).collect(),
        };
        std::fs::create_dir_all(path)?;
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        for folder in &self.made {
            // One that is not empty stays.
            if std::fs::remove_dir(folder).is_err() {
                return;
            }
        }
    }
}

/// A file that is being written.
pub(super) enum Pending {
    Disk(DiskFile),
    S3(S3Object),
}

pub(super) struct DiskFile {
    path: PathBuf,
    file: BufWriter<NamedTempFile>,
    source: Arc<dyn ReadAt>,
    /// The delivered file, if it is on disk too.
    delivered: Option<Arc<LocalFile>>,
    /// Bytes of the delivered file that this one begins with, and that are not copied yet.
    to_copy: u64,
    bytes_written: u64,
}

pub(super) struct S3Object {
    upload: ConsolidatedUpload,
    /// What is read to be copied, if S3 cannot do it itself.
    source: Option<Arc<dyn ReadAt>>,
    place: String,
}

/// Bytes that are read at once to be copied.
const PIECE: u64 = 4 * 1024 * 1024;

impl Pending {
    /// Makes everything but the name final: what is still to be copied on disk.
    pub(super) fn finish(self) -> io::Result<Finished> {
        match self {
            Self::Disk(file) => file.finish(),
            Self::S3(object) => Ok(Finished::S3(object)),
        }
    }

    /// Takes back what was written.
    pub(super) fn abort(self) -> Result<()> {
        match self {
            Self::Disk(_) => Ok(()),
            Self::S3(object) => object.abort(),
        }
    }
}

impl S3Object {
    fn abort(mut self) -> Result<()> {
        Ok(self.upload.abort()?)
    }
}

impl DiskFile {
    fn finish(mut self) -> io::Result<Finished> {
        let begun = Instant::now();
        self.file.flush()?;
        if let Some(delivered) = &self.delivered {
            let mut to = self.file.get_ref().as_file();
            to.seek(SeekFrom::Start(0))?;
            // The system copies from file to file: the one that was verified, whatever has its name now.
            let mut from = delivered.file();
            from.seek(SeekFrom::Start(0))?;
            if io::copy(&mut from.take(self.to_copy), &mut to)? < self.to_copy {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            delivered.check_unchanged()?;
        }
        let file = self
            .file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        Ok(Finished::Disk(FinishedFile {
            path: self.path,
            file: closed(file)?,
            bytes_written: self.bytes_written,
            bytes_copied: self.to_copy,
            copying: begun.elapsed(),
        }))
    }
}

/// A file that is written, but has no name yet.
pub(super) enum Finished {
    Disk(FinishedFile),
    S3(S3Object),
}

pub(super) struct FinishedFile {
    path: PathBuf,
    file: TempPath,
    bytes_written: u64,
    bytes_copied: u64,
    copying: Duration,
}

impl Finished {
    /// Bytes made by us.
    pub(super) fn bytes_written(&self) -> u64 {
        match self {
            Self::Disk(file) => file.bytes_written,
            Self::S3(object) => object.upload.bytes_written(),
        }
    }

    /// Bytes moved without passing through us.
    pub(super) fn bytes_copied(&self) -> u64 {
        match self {
            Self::Disk(file) => file.bytes_copied,
            Self::S3(object) => object.upload.bytes_copied(),
        }
    }

    /// How long that took, on disk.
    pub(super) fn copying(&self) -> Duration {
        match self {
            Self::Disk(file) => file.copying,
            Self::S3(_) => Duration::ZERO,
        }
    }

    /// Puts the file in its place, and says where that is.
    pub(super) fn complete(self) -> Result<String> {
        match self {
            Self::Disk(FinishedFile { path, file, .. }) => {
                file.persist(&path)
                    .with_context(|| path.display().to_string())?;
                Ok(path.display().to_string())
            }
            Self::S3(mut object) => {
                object.upload.complete()?;
                Ok(object.place)
            }
        }
    }

    /// Takes back what was written.
    pub(super) fn abort(self) -> Result<()> {
        match self {
            Self::Disk(_) => Ok(()),
            Self::S3(object) => object.abort(),
        }
    }
}

impl Write for Pending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Disk(file) => {
                let written = file.file.write(bytes)?;
                file.bytes_written += written as u64;
                Ok(written)
            }
            Self::S3(object) => object.upload.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Disk(file) => file.file.flush(),
            Self::S3(object) => object.upload.flush(),
        }
    }
}

impl Output for Pending {
    fn copy_delivered(&mut self, length: u64) -> io::Result<()> {
        let source = match self {
            Self::Disk(file) if file.delivered.is_some() => {
                file.to_copy = length;
                file.file.seek(SeekFrom::Start(length))?;
                return Ok(());
            }
            Self::S3(object) if object.source.is_none() => {
                return object.upload.copy_delivered(length);
            }
            Self::Disk(file) => Arc::clone(&file.source),
            Self::S3(S3Object { source, .. }) => {
                Arc::clone(source.as_ref().ok_or(io::ErrorKind::Other)?)
            }
        };
        for from in (0..length).step_by(usize::try_from(PIECE).unwrap_or(usize::MAX)) {
            self.write_all(&source.read(from..length.min(from + PIECE))?)?;
        }
        Ok(())
    }

    fn restart(&mut self) -> io::Result<()> {
        match self {
            Self::Disk(file) => {
                file.to_copy = 0;
                file.bytes_written = 0;
                file.file.seek(SeekFrom::Start(0))?;
                file.file.get_ref().as_file().set_len(0)
            }
            Self::S3(object) => object.upload.restart(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    struct Fixture {
        folder: tempfile::TempDir,
        delivered: PathBuf,
        pending: Pending,
    }

    /// A file is opened, and becomes the beginning of another.
    fn fixture() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let delivered = folder.path().join("delivered");
        fs::write(&delivered, "delivered and its footer").unwrap();
        let file = Arc::new(LocalFile::new(File::open(&delivered).unwrap()).unwrap());
        let source: Arc<dyn ReadAt> = Arc::<LocalFile>::clone(&file);
        let to = Folder::make(&folder.path().join("out")).unwrap();
        let place = Place::Disk(file);
        let mut pending = Destination::Disk(to)
            .begin("a.parquet", &place, &source)
            .unwrap();
        pending.copy_delivered(9).unwrap();
        pending.write_all(b", derived").unwrap();
        Fixture {
            folder,
            delivered,
            pending,
        }
    }

    #[test]
    fn what_was_verified_is_copied_whatever_has_its_name_now() {
        let Fixture {
            folder,
            delivered,
            pending,
        } = fixture();
        let other = folder.path().join("other");
        fs::write(&other, "something else of any length").unwrap();
        fs::rename(&other, &delivered).unwrap();
        let finished = pending.finish().unwrap();
        assert_eq!((finished.bytes_copied(), finished.bytes_written()), (9, 9));
        let written = finished.complete().unwrap();
        assert_eq!(fs::read(written).unwrap(), b"delivered, derived");
    }

    #[test]
    fn a_file_that_is_written_to_meanwhile_is_refused() {
        let Fixture {
            folder: _folder,
            delivered,
            pending,
        } = fixture();
        fs::write(&delivered, "shorter").unwrap();
        let error = pending.finish().err().unwrap().to_string();
        assert!(
            error.contains("end of file") || error.contains("was written to"),
            "{error}"
        );
    }

    #[test]
    fn folders_that_were_made_go_away_if_nothing_is_in_them() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("a/b");
        drop(Folder::make(&path).unwrap());
        assert!(!above.path().join("a").exists());

        let folder = Folder::make(&path).unwrap();
        fs::write(path.join("file"), "").unwrap();
        drop(folder);
        assert!(path.join("file").exists());

        fs::remove_file(path.join("file")).unwrap();
        drop(Folder::make(&path).unwrap());
        assert!(path.exists(), "it was there before");
    }
}
