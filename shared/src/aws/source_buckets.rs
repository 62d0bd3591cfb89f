//! Finding source buckets and looking at them, through the member role.

use aws_sdk_s3::Client;
use aws_sdk_s3::types::BucketLocationConstraint;

use super::{AwsError, Class, Clients};
use crate::ids::{AccountId, BucketName, Region};
use crate::settings::Settings;

/// The buckets of one source account, seen through the member role.
#[derive(Debug, Clone)]
pub struct SourceAccount<'a> {
    clients: &'a Clients,
    settings: &'a Settings,
    account: &'a AccountId,
}

impl Clients {
    /// The buckets of one source account.
    pub fn source_account<'a>(
        &'a self,
        settings: &'a Settings,
        account: &'a AccountId,
    ) -> SourceAccount<'a> {
        SourceAccount {
            clients: self,
            settings,
            account,
        }
    }
}

/// A bucket of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundBucket {
    /// Its name.
    pub name: BucketName,
    /// Its Region; `None` when S3 did not say.
    pub region: Option<Region>,
}

impl SourceAccount<'_> {
    /// All general purpose buckets of the account the client acts in, of all Regions.
    pub async fn buckets(&self) -> Result<Vec<FoundBucket>, AwsError> {
        // S3 tells the Region of each bucket only when asked for a page of limited size.
        let account = self.account;
        let s3 = self.s3(&self.clients.region()).await;
        let mut pages = s3.list_buckets().max_buckets(1_000).into_paginator().send();
        let mut buckets = Vec::new();
        while let Some(page) = pages.next().await {
            let page =
                page.map_err(|error| AwsError::new(format!("ListBuckets of {account}"), &error))?;
            for bucket in page.buckets() {
                let Some(name) = bucket
                    .name()
                    .and_then(|name| BucketName::try_from(name).ok())
                else {
                    continue;
                };
                let region = bucket
                    .bucket_region()
                    .and_then(|code| Region::try_from(code).ok());
                buckets.push(FoundBucket { name, region });
            }
        }
        Ok(buckets)
    }

    /// The Region of one bucket.
    pub async fn region_of(&self, bucket: &BucketName) -> Result<Region, AwsError> {
        let s3 = self.s3(&self.clients.region()).await;
        let answer = s3
            .get_bucket_location()
            .bucket(bucket.as_str())
            .expected_bucket_owner(self.account.as_str())
            .send()
            .await
            .map_err(|error| AwsError::new(format!("GetBucketLocation of {bucket}"), &error))?;
        // The oldest Regions have names of their own in this answer.
        let code = match answer
            .location_constraint()
            .map(BucketLocationConstraint::as_str)
        {
            None | Some("") => "us-east-1",
            Some("EU") => "eu-west-1",
            Some(code) => code,
        };
        Region::try_from(code).map_err(|invalid| AwsError {
            operation: format!("GetBucketLocation of {bucket}"),
            code: "UnknownRegion".into(),
            message: invalid.to_string(),
            class: Class::Other,
        })
    }

    /// Whether the bucket holds nothing at all: no object, no noncurrent version, no delete marker.
    pub async fn is_empty(&self, region: &Region, bucket: &BucketName) -> Result<bool, AwsError> {
        let s3 = self.s3(region).await;
        let answer = s3
            .list_object_versions()
            .bucket(bucket.as_str())
            .expected_bucket_owner(self.account.as_str())
            .max_keys(1)
            .send()
            .await
            .map_err(|error| AwsError::new(format!("ListObjectVersions of {bucket}"), &error))?;
        Ok(answer.versions().is_empty() && answer.delete_markers().is_empty())
    }

    pub(super) async fn s3(&self, region: &Region) -> Client {
        self.clients
            .member_s3(self.settings, self.account, region)
            .await
    }

    pub(super) fn account(&self) -> &AccountId {
        self.account
    }
}
