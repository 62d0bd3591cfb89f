//! Where consolidated files are written to: nothing is there before everything is.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use shared::aws::{ConsolidatedUpload, Objects};
use shared::consolidation::{Output, Source};
use shared::ids::BucketName;
use tempfile::{Builder, NamedTempFile};

use super::report::{Place, s3_clients};
use crate::arguments::PlaceArgument;
use crate::trouble::Trouble;

/// A folder on disk or in S3.
pub(super) enum Destination {
    Disk(PathBuf),
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
                std::fs::create_dir_all(path)
                    .map_err(|error| Trouble::misuse(format!("{}: {error}", path.display())))?;
                Ok(Self::Disk(path.clone()))
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
        source: &Arc<dyn Source>,
    ) -> io::Result<Pending> {
        Ok(match self {
            Self::Disk(folder) => Pending::Disk(DiskFile {
                path: folder.join(name),
                file: BufWriter::new(temporary(folder)?),
                source: Arc::clone(source),
                delivered: match delivered {
                    Place::Disk(path) => Some(path.clone()),
                    Place::S3(_) => None,
                },
                to_copy: 0,
                bytes_written: 0,
                bytes_copied: 0,
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
                let mut file = temporary(folder)?;
                file.write_all(&content)?;
                let path = folder.join(name);
                keep(file, &path).with_context(|| path.display().to_string())
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

/// Gives a temporary file its name.
fn keep(file: NamedTempFile, path: &Path) -> io::Result<()> {
    // Temporary files are for their owner alone; others may read what is finished.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        file.as_file()
            .set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// A file that is written, but not there yet.
pub(super) enum Pending {
    Disk(DiskFile),
    S3(S3Object),
}

pub(super) struct DiskFile {
    path: PathBuf,
    file: BufWriter<NamedTempFile>,
    source: Arc<dyn Source>,
    /// The delivered file, if it is on disk too.
    delivered: Option<PathBuf>,
    /// Bytes of the delivered file that this one begins with, and that are not copied yet.
    to_copy: u64,
    bytes_written: u64,
    bytes_copied: u64,
}

pub(super) struct S3Object {
    upload: ConsolidatedUpload,
    /// What is read to be copied, if S3 cannot do it itself.
    source: Option<Arc<dyn Source>>,
    place: String,
}

/// Bytes that are read at once to be copied.
const PIECE: u64 = 4 * 1024 * 1024;

impl Pending {
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

    /// Makes everything but the name final: what is still to be copied on disk.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        match self {
            Self::Disk(file) => file.copy(),
            Self::S3(_) => Ok(()),
        }
    }

    /// Puts the file in its place, and says where that is.
    pub(super) fn complete(self) -> Result<String> {
        match self {
            Self::Disk(file) => {
                let path = file.path;
                let finished = file
                    .file
                    .into_inner()
                    .map_err(io::IntoInnerError::into_error);
                keep(finished?, &path).with_context(|| path.display().to_string())?;
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
            Self::S3(mut object) => Ok(object.upload.abort()?),
        }
    }
}

impl DiskFile {
    fn copy(&mut self) -> io::Result<()> {
        let length = std::mem::take(&mut self.to_copy);
        let Some(delivered) = self.delivered.as_ref().filter(|_| length > 0) else {
            return Ok(());
        };
        self.file.flush()?;
        let mut to = self.file.get_ref().as_file();
        to.seek(SeekFrom::Start(0))?;
        // The system copies from file to file.
        let copied = io::copy(&mut File::open(delivered)?.take(length), &mut to)?;
        if copied < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.bytes_copied = length;
        Ok(())
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
    fn copy_source(&mut self, length: u64) -> io::Result<()> {
        let source = match self {
            Self::Disk(file) if file.delivered.is_some() => {
                file.to_copy = length;
                file.file.seek(SeekFrom::Start(length))?;
                return Ok(());
            }
            Self::S3(object) if object.source.is_none() => {
                return object.upload.copy_source(length);
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
