//! A report where it lies: its manifest, and where each of its files is.

use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use shared::aws::{Clients, DeliveredFile, Objects};
use shared::consolidation::{ConsolidationError, LocalFile, ReadAt, Work};
use shared::ids::BucketName;
use shared::manifest::{CHECKSUM_FILE_NAME, Manifest, ManifestFile, Md5Hash, verify_checksum};
use tokio::runtime::Handle;

use super::Difference;
use crate::arguments::PlaceArgument;
use crate::trouble::Trouble;

/// A report whose manifest was read.
pub(super) struct Report {
    pub(super) manifest: Manifest,
    /// Whether the manifest itself was compared with its checksum.
    pub(super) has_checksum: bool,
    files: Files,
}

enum Files {
    /// Folders that the keys of the manifest, or their file names, are looked for in.
    Disk(PathBuf),
    S3(Objects, BucketName),
}

/// An opened file of a report.
pub(super) struct Opened {
    pub(super) source: Arc<dyn ReadAt>,
    /// The MD5 that the store vouches for.
    pub(super) known_md5: Option<Md5Hash>,
    /// What finding that out has cost, if it was found out here.
    pub(super) verifying: Work,
    pub(super) place: Place,
}

/// Where an opened file is.
#[derive(Clone)]
pub(super) enum Place {
    Disk(Arc<LocalFile>),
    S3(Arc<DeliveredFile>),
}

impl Report {
    /// Reads and checks a manifest. The difference is that the manifest is not what its checksum
    /// says.
    pub(super) async fn open(place: &PlaceArgument) -> Result<Result<Self, Difference>> {
        let (manifest, checksum, files) = match place {
            PlaceArgument::Disk(path) => read_from_disk(path)?,
            PlaceArgument::S3 { bucket, key } => read_from_s3(bucket, key).await?,
        };
        if let Some(checksum) = &checksum
            && let Err(mismatch) = verify_checksum(&manifest, checksum)
        {
            return Ok(Err(Difference {
                file: place.to_string(),
                problem: mismatch.to_string(),
            }));
        }
        let manifest = Manifest::parse(&manifest)
            .map_err(|error| Trouble::misuse(format!("{place}: {error}")))?;
        Ok(Ok(Self {
            manifest,
            has_checksum: checksum.is_some(),
            files,
        }))
    }

    /// Whether the files are on disk.
    pub(super) fn is_on_disk(&self) -> bool {
        matches!(self.files, Files::Disk(_))
    }

    /// Opens a file of the report; `None` if it is not there. Blocks.
    pub(super) fn open_file(
        &self,
        file: &ManifestFile,
        runtime: &Handle,
    ) -> Result<Option<Opened>, ConsolidationError> {
        match &self.files {
            Files::Disk(folder) => {
                open_on_disk(folder, &file.key).map_err(ConsolidationError::Fetch)
            }
            Files::S3(objects, bucket) => {
                let found = runtime
                    .block_on(objects.delivered_file(bucket, &file.key))
                    .map_err(|error| ConsolidationError::Fetch(io::Error::other(error)))?;
                Ok(found.map(|found| {
                    let found = Arc::new(found);
                    let source: Arc<dyn ReadAt> = Arc::<DeliveredFile>::clone(&found);
                    Opened {
                        known_md5: found.md5(),
                        verifying: Work::default(),
                        source,
                        place: Place::S3(found),
                    }
                }))
            }
        }
    }
}

type Documents = (Vec<u8>, Option<Vec<u8>>, Files);

fn read_from_disk(path: &Path) -> Result<Documents> {
    if path.is_dir() {
        return Err(
            Trouble::misuse(format!("{} is a directory", path.display()))
                .hint("name the report's manifest.json in it")
                .into(),
        );
    }
    let manifest = std::fs::read(path)
        .map_err(|error| Trouble::misuse(format!("{}: {error}", path.display())))?;
    let checksum = match std::fs::read(path.with_file_name(CHECKSUM_FILE_NAME)) {
        Ok(checksum) => Some(checksum),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).context("reading manifest.checksum"),
    };
    let folder = std::path::absolute(path)?;
    let folder = folder.parent().unwrap_or(Path::new("/")).to_owned();
    Ok((manifest, checksum, Files::Disk(folder)))
}

/// The clients of the ordinary AWS environment.
pub(super) async fn s3_clients() -> Result<Clients> {
    let clients = Clients::from_environment().await;
    if !clients.has_region() {
        return Err(Trouble::failed("no Region is set")
            .hint("set AWS_REGION, or choose a profile that has one")
            .into());
    }
    Ok(clients)
}

async fn read_from_s3(bucket: &BucketName, key: &str) -> Result<Documents> {
    let clients = s3_clients().await?;
    let region = clients.region_of_bucket(bucket).await?;
    let objects = clients.objects(&region);
    let Some(manifest) = objects.get(bucket, key).await? else {
        return Err(Trouble::misuse(format!("s3://{bucket}/{key} is not there")).into());
    };
    let folder = key.rfind('/').map_or("", |slash| &key[..=slash]);
    let checksum = objects
        .get(bucket, &format!("{folder}{CHECKSUM_FILE_NAME}"))
        .await?;
    let files = Files::S3(objects, bucket.clone());
    Ok((
        manifest.to_vec(),
        checksum.map(|bytes| bytes.to_vec()),
        files,
    ))
}

/// Finds a file by its key: S3 lays a report out as `<prefix>/<bucket>/<configuration>/<time>`, with
/// the data beside `<time>`, so some folder above the manifest's is where keys begin. A report that was
/// copied without its folders has the file beside its manifest or in `data`.
fn open_on_disk(folder: &Path, key: &str) -> io::Result<Option<Opened>> {
    let key = Path::new(key);
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    if !key.components().all(is_plain) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("the key {} leads out of the report's folder", key.display()),
        ));
    }
    let by_key = folder.ancestors().map(|above| above.join(key));
    let name = key.file_name().unwrap_or_default();
    let by_name = [
        folder.join("data").join(name),
        folder.join("../data").join(name),
        folder.join(name),
    ];
    for path in by_key.chain(by_name) {
        match File::open(&path) {
            Ok(file) if file.metadata()?.is_file() => {
                let file = Arc::new(LocalFile::new(file)?);
                let source: Arc<dyn ReadAt> = Arc::<LocalFile>::clone(&file);
                return Ok(Some(Opened {
                    source,
                    known_md5: None,
                    verifying: Work::default(),
                    place: Place::Disk(file),
                }));
            }
            Ok(_) => {}
            Err(error) if is_absent(&error) => {}
            Err(error) => {
                let message = format!("{}: {error}", path.display());
                return Err(io::Error::new(error.kind(), message));
            }
        }
    }
    Ok(None)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
