//! Delivering the report of one configuration: when, what, where, and with which faults.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use aws_sdk_s3::{
    Client,
    primitives::ByteStream,
    types::{Delete, ObjectIdentifier, ServerSideEncryption},
};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};

use super::{
    Delivery, Faults,
    configuration::{BucketDestination, Configuration, Encryption, IncludedVersions},
    listing, policy,
    report::{self, DataFile, Field, Manifest, ManifestFile, Row},
    service::Service,
    upstream::{Bucket, Upstream},
};

/// Files of one report that are written at the same time.
const WRITES: usize = 8;

/// Waits as long as the settings and the faults of the bucket say, and delivers, unless the
/// configuration or the bucket is gone by then. The outcome is recorded.
pub(crate) async fn deliver(service: Arc<Service>, source: Bucket, id: String, generation: u64) {
    tokio::time::sleep(service.settings.report_delay).await;
    let late =
        Duration::try_from_secs_f64(service.faults(&source.name).delay_seconds).unwrap_or_default();
    tokio::time::sleep(late).await;
    until_released(&service, &source.name).await;

    let mut keys = Vec::new();
    let outcome = attempt(&service, &source, &id, generation, &mut keys).await;
    let reason = outcome.err().map(|error| format!("{error:#}"));
    if let Some(reason) = &reason {
        eprintln!("configuration {id} of {}: {reason}", source.name);
    }
    let delivery = Delivery {
        configuration_id: id,
        keys,
        reason,
    };
    service
        .state()
        .deliveries
        .entry(source.name)
        .or_default()
        .push(delivery);
}

async fn until_released(service: &Service, bucket: &str) {
    loop {
        let mut changed = std::pin::pin!(service.changed.notified());
        // Registered before looking, so that no change in between is missed.
        changed.as_mut().enable();
        if !service.faults(bucket).hold {
            return;
        }
        changed.await;
    }
}

async fn attempt(
    service: &Service,
    source: &Bucket,
    id: &str,
    generation: u64,
    keys: &mut Vec<String>,
) -> Result<()> {
    let faults = service.faults(&source.name);
    let configuration = current(service, source, id, generation)?;
    if !configuration.is_enabled {
        bail!("the configuration is not enabled");
    }
    if faults.never {
        bail!("a fault on purpose keeps the report away");
    }
    let now = service.upstream.bucket(&source.name).await?;
    if now.is_none_or(|now| now.created != source.created) {
        bail!("the source bucket is gone");
    }
    let name = configuration
        .destination_bucket()
        .map_err(|error| anyhow::anyhow!(error.message))?;
    let destination = service
        .upstream
        .bucket(name)
        .await?
        .context("the destination bucket is gone")?;
    let client = service.upstream.s3(&destination);
    check_permission(&client, source, &destination, &configuration).await?;

    let all_versions = configuration.included_object_versions == IncludedVersions::All;
    let optional = configuration.optional_fields();
    let prefix = configuration
        .filter
        .as_ref()
        .map(|filter| filter.prefix.as_str());
    let started = Timestamp::now();
    let rows = listing::read(&service.upstream, source, all_versions, prefix, &optional).await?;
    if rows.is_empty() {
        bail!("the bucket is empty: there is no report");
    }
    let columns = Field::columns(all_versions, &optional);
    // S3 is slow enough here for somebody to delete the configuration meanwhile.
    current(service, source, id, generation)?;
    let writer = Writer {
        client,
        source,
        configuration: &configuration,
        faults: &faults,
    };
    writer
        .report(&destination, &columns, &rows, started, keys)
        .await?;
    if faults.twice {
        current(service, source, id, generation).context("the second report")?;
        let next_day = started + SignedDuration::from_hours(24);
        writer
            .report(&destination, &columns, &rows, next_day, keys)
            .await?;
    }
    Ok(())
}

fn current(service: &Service, source: &Bucket, id: &str, generation: u64) -> Result<Configuration> {
    let state = service.state();
    state
        .buckets
        .get(&source.name)
        .filter(|known| known.bucket_created == source.created)
        .and_then(|known| known.by_id.get(id))
        .filter(|stored| stored.generation == generation)
        .map(|stored| stored.configuration.clone())
        .context("the configuration was deleted or replaced")
}

/// S3 delivers where the destination's policy lets it, and says nothing where it does not.
async fn check_permission(
    client: &Client,
    source: &Bucket,
    destination: &Bucket,
    configuration: &Configuration,
) -> Result<()> {
    let resource = format!(
        "arn:aws:s3:::{}/{}",
        destination.name,
        folder(source, configuration)
    );
    let delivery = policy::Delivery {
        source_account_id: &source.account_id,
        source_bucket: &source.name,
        resource: &resource,
    };
    let answer = client
        .get_bucket_policy()
        .bucket(&destination.name)
        .send()
        .await;
    let policy = match answer {
        Ok(found) => found.policy().unwrap_or_default().to_owned(),
        Err(error) if is_absent_policy(&error) => String::new(),
        Err(error) => return Err(error).context("reading the policy of the destination bucket"),
    };
    if !policy::allows(&policy, &delivery) {
        bail!(
            "the policy of {} does not let S3 deliver reports of {}",
            destination.name,
            source.name
        );
    }
    Ok(())
}

fn is_absent_policy(error: &(impl aws_sdk_s3::error::ProvideErrorMetadata + ?Sized)) -> bool {
    error.code() == Some("NoSuchBucketPolicy")
}

/// `<prefix>/<source bucket>/<configuration id>`, where everything of a report is.
fn folder(source: &Bucket, configuration: &Configuration) -> String {
    let below = format!("{}/{}", source.name, configuration.id);
    match configuration.destination.bucket.prefix.as_deref() {
        None | Some("") => below,
        // A prefix that ends with a slash gives a double slash, as on AWS.
        Some(prefix) => format!("{prefix}/{below}"),
    }
}

struct Writer<'a> {
    client: Client,
    source: &'a Bucket,
    configuration: &'a Configuration,
    faults: &'a Faults,
}

impl Writer<'_> {
    async fn report(
        &self,
        destination: &Bucket,
        columns: &[Field],
        rows: &[Row],
        scan_started: Timestamp,
        keys: &mut Vec<String>,
    ) -> Result<()> {
        let folder = folder(self.source, self.configuration);
        let files = self.data_files(&folder, columns, rows)?;
        let (stamp, symlink_folder) = report::stamps(scan_started);
        let manifest = self.manifest(&files, columns, scan_started)?;
        let mut checksum = report::md5_hex(&manifest);
        if self.faults.wrong_manifest_checksum {
            checksum = report::md5_hex(b"another manifest");
        }
        let mut symlink = String::new();
        for file in &files {
            let _ = writeln!(symlink, "s3://{}/{}", destination.name, file.key);
        }

        let checksum = (
            format!("{folder}/{stamp}/manifest.checksum"),
            Bytes::from(checksum),
        );
        let manifest = (
            format!("{folder}/{stamp}/manifest.json"),
            Bytes::from(manifest),
        );
        let symlink = (
            format!("{folder}/hive/{symlink_folder}/symlink.txt"),
            Bytes::from(symlink.into_bytes()),
        );
        let files = files
            .into_iter()
            .enumerate()
            .filter_map(|(number, file)| self.spoil(number, file));
        if self.faults.checksum_first {
            self.put(destination, vec![checksum], keys).await?;
            self.put(destination, vec![manifest], keys).await?;
            self.put(destination, files.collect(), keys).await?;
        } else {
            self.put(destination, files.collect(), keys).await?;
            self.put(destination, vec![manifest], keys).await?;
            self.put(destination, vec![checksum], keys).await?;
        }
        self.put(destination, vec![symlink], keys).await
    }

    fn data_files(&self, folder: &str, columns: &[Field], rows: &[Row]) -> Result<Vec<DataFile>> {
        let most = self
            .faults
            .rows_per_file
            .map_or(rows.len(), std::num::NonZeroUsize::get);
        let format = self.configuration.destination.bucket.format;
        rows.chunks(most.max(1))
            .map(|rows| {
                let body = format.write(&self.source.name, columns, rows)?;
                let name = uuid::Uuid::new_v4();
                let key = format!("{folder}/data/{name}.{}", format.extension());
                Ok(DataFile { key, body })
            })
            .collect()
    }

    fn manifest(
        &self,
        files: &[DataFile],
        columns: &[Field],
        scan_started: Timestamp,
    ) -> Result<Vec<u8>> {
        let entry = |(number, file): (usize, &DataFile)| ManifestFile {
            key: file.key.clone(),
            size: file.body.len(),
            md5: if number == 0 && self.faults.wrong_file_md5 {
                report::md5_hex(b"another file")
            } else {
                report::md5_hex(&file.body)
            },
        };
        let BucketDestination { bucket, format, .. } = &self.configuration.destination.bucket;
        let manifest = Manifest {
            source_bucket: &self.source.name,
            destination_bucket: bucket,
            version: "2016-11-30",
            creation_timestamp: scan_started.as_millisecond().to_string(),
            file_format: format.name(),
            file_schema: format.schema(columns),
            files: files.iter().enumerate().map(entry).collect(),
        };
        Ok(serde_json::to_vec_pretty(&manifest)?)
    }

    /// The file as it is really delivered; `None` when it is not.
    fn spoil(&self, number: usize, file: DataFile) -> Option<(String, Bytes)> {
        if number > 0 {
            return Some((file.key, file.body));
        }
        if self.faults.missing_file {
            return None;
        }
        let shorter = file
            .body
            .len()
            .saturating_sub(usize::from(self.faults.truncated_file));
        Some((file.key, file.body.slice(..shorter)))
    }

    async fn put(
        &self,
        destination: &Bucket,
        files: Vec<(String, Bytes)>,
        keys: &mut Vec<String>,
    ) -> Result<()> {
        let BucketDestination { encryption, .. } = &self.configuration.destination.bucket;
        let kms_key = match encryption {
            Some(Encryption { kms: Some(key), .. }) => Some(key.key_id.clone()),
            _ => None,
        };
        let sse = match (encryption, &kms_key) {
            (_, Some(_)) => Some(ServerSideEncryption::AwsKms),
            (Some(_), None) => Some(ServerSideEncryption::Aes256),
            (None, None) => None,
        };
        let put = |(key, body): (String, Bytes)| {
            let request = self
                .client
                .put_object()
                .bucket(&destination.name)
                .key(&key)
                .set_server_side_encryption(sse.clone())
                .set_ssekms_key_id(kms_key.clone())
                .body(ByteStream::from(body));
            async move {
                request
                    .send()
                    .await
                    .with_context(|| format!("delivering {key}"))?;
                anyhow::Ok(key)
            }
        };
        let written: Vec<String> = stream::iter(files.into_iter().map(put))
            .buffered(WRITES)
            .try_collect()
            .await?;
        keys.extend(written);
        Ok(())
    }
}

/// Deletes a bucket with everything in it, as its owner.
pub(crate) async fn delete_bucket(upstream: &Upstream, name: &str) -> Result<()> {
    let Some(bucket) = upstream.bucket(name).await? else {
        return Ok(());
    };
    let client = upstream.s3(&bucket);
    loop {
        let page = client
            .list_object_versions()
            .bucket(name)
            .send()
            .await
            .context("listing the versions")?;
        let versions = page
            .versions()
            .iter()
            .map(|version| (version.key(), version.version_id()));
        let markers = page
            .delete_markers()
            .iter()
            .map(|marker| (marker.key(), marker.version_id()));
        let objects = versions
            .chain(markers)
            .map(|(key, version)| {
                ObjectIdentifier::builder()
                    .set_key(key.map(str::to_owned))
                    .set_version_id(version.map(str::to_owned))
                    .build()
            })
            .collect::<Result<Vec<_>, _>>()?;
        if objects.is_empty() {
            break;
        }
        let delete = Delete::builder()
            .set_objects(Some(objects))
            .quiet(true)
            .build()?;
        client
            .delete_objects()
            .bucket(name)
            .delete(delete)
            .send()
            .await
            .context("deleting the objects")?;
    }
    client
        .delete_bucket()
        .bucket(name)
        .send()
        .await
        .context("deleting the bucket")?;
    Ok(())
}
