//! S3, as far as the buckets are those that a run covers.

use real_shared::aws::{AwsError, Class, Delivery, FoundBucket};
use real_shared::ids::{AccountId, BucketName, Region};
use real_shared::settings::Settings;

use super::{Clients, error};
use crate::inventory;
use crate::world::{Source, State, World};

impl Clients {
    /// The buckets of a source account.
    pub fn source_account<'a>(
        &'a self,
        _settings: &'a Settings,
        account: &'a AccountId,
    ) -> SourceAccount<'a> {
        SourceAccount {
            world: &self.world,
            account,
        }
    }
}

/// The buckets of one source account.
#[derive(Debug, Clone)]
pub struct SourceAccount<'a> {
    world: &'a World,
    account: &'a AccountId,
}

fn open<'a>(
    state: &'a State,
    operation: &str,
    bucket: &BucketName,
) -> Result<&'a Source, AwsError> {
    match state.sources.get(bucket.as_str()) {
        Some(source) if !source.exists => Err(error(operation, "NoSuchBucket", Class::Missing)),
        Some(source) if !source.open => Err(error(operation, "AccessDenied", Class::Refused)),
        Some(source) => Ok(source),
        None => Err(error(operation, "NoSuchBucket", Class::Missing)),
    }
}

impl SourceAccount<'_> {
    /// All buckets of the account.
    pub async fn buckets(&self) -> Result<Vec<FoundBucket>, AwsError> {
        self.world
            .request(
                "ListBuckets",
                || self.account.to_string(),
                |state| {
                    let sources = state.sources.iter();
                    let sources = sources.filter(|(_, source)| {
                        source.exists && source.account == self.account.as_str()
                    });
                    Ok(sources
                        .map(|(name, source)| FoundBucket {
                            name: BucketName::try_from(name.as_str()).expect("we made it"),
                            region: Region::try_from(source.region.as_str()).ok(),
                        })
                        .collect())
                },
            )
            .await
    }

    /// The Region of a bucket.
    pub async fn region_of(&self, bucket: &BucketName) -> Result<Region, AwsError> {
        self.world
            .request(
                "GetBucketLocation",
                || bucket.to_string(),
                |state| {
                    let source = open(state, "GetBucketLocation", bucket)?;
                    Ok(Region::try_from(source.region.as_str()).expect("we made it"))
                },
            )
            .await
    }

    /// Whether a bucket holds nothing.
    pub async fn is_empty(&self, _region: &Region, bucket: &BucketName) -> Result<bool, AwsError> {
        self.world
            .request(
                "ListObjectVersions",
                || bucket.to_string(),
                |state| {
                    let source = open(state, "ListObjectVersions", bucket)?;
                    if !source.listable {
                        return Err(error("ListObjectVersions", "AccessDenied", Class::Refused));
                    }
                    Ok(source.is_empty)
                },
            )
            .await
    }

    /// Puts a configuration.
    pub async fn put_configuration(
        &self,
        _region: &Region,
        bucket: &BucketName,
        delivery: &Delivery<'_>,
    ) -> Result<(), AwsError> {
        let destination = delivery.destination_arn.trim_start_matches("arn:aws:s3:::");
        self.world
            .request(
                "PutBucketInventoryConfiguration",
                || format!("{bucket} {}", delivery.id),
                |state| {
                    let operation = "PutBucketInventoryConfiguration";
                    let source = open(state, operation, bucket)?;
                    if !source.configurable {
                        return Err(error(operation, "AccessDenied", Class::Refused));
                    }
                    inventory::put(state, bucket.as_str(), delivery.id, destination);
                    Ok(())
                },
            )
            .await
    }

    /// Whether a configuration is there.
    pub async fn has_configuration(
        &self,
        _region: &Region,
        bucket: &BucketName,
        id: &str,
    ) -> Result<bool, AwsError> {
        let key = (bucket.to_string(), id.to_owned());
        self.world
            .request(
                "GetBucketInventoryConfiguration",
                || format!("{bucket} {id}"),
                |state| {
                    open(state, "GetBucketInventoryConfiguration", bucket)?;
                    Ok(state.configurations.contains_key(&key))
                },
            )
            .await
    }

    /// Removes a configuration.
    pub async fn remove_configuration(
        &self,
        _region: &Region,
        bucket: &BucketName,
        id: &str,
    ) -> Result<(), AwsError> {
        let key = (bucket.to_string(), id.to_owned());
        self.world
            .request(
                "DeleteBucketInventoryConfiguration",
                || format!("{bucket} {id}"),
                |state| {
                    match open(state, "DeleteBucketInventoryConfiguration", bucket) {
                        Ok(_) => {}
                        Err(error) if error.is_missing() => return Ok(()),
                        Err(error) => return Err(error),
                    }
                    state.configurations.remove(&key);
                    Ok(())
                },
            )
            .await
    }
}
