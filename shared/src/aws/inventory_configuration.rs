//! The inventory configurations that runs put on source buckets: the only thing ever written
//! there.

use aws_sdk_s3::types::{
    InventoryConfiguration, InventoryDestination, InventoryFormat, InventoryFrequency,
    InventoryIncludedObjectVersions, InventoryOptionalField, InventoryS3BucketDestination,
    InventorySchedule,
};

use super::{AwsError, SourceAccount};
use crate::ids::{AccountId, BucketName, Region};
use crate::snapshot_schema::OPTIONAL_FIELDS;

/// Where the reports of one source bucket go.
#[derive(Debug, Clone)]
pub struct Delivery<'a> {
    /// Id of the configuration.
    pub id: &'a str,
    /// ARN of the destination bucket, in the same Region as the source bucket.
    pub destination_arn: &'a str,
    /// Owner of the destination bucket.
    pub destination_owner: &'a AccountId,
}

impl SourceAccount<'_> {
    /// Puts the configuration; the same again changes nothing.
    pub async fn put_configuration(
        &self,
        region: &Region,
        bucket: &BucketName,
        delivery: &Delivery<'_>,
    ) -> Result<(), AwsError> {
        let s3 = self.s3(region).await;
        s3.put_bucket_inventory_configuration()
            .bucket(bucket.as_str())
            .expected_bucket_owner(self.account().as_str())
            .id(delivery.id)
            .inventory_configuration(configuration(self.account(), delivery))
            .send()
            .await
            .map_err(|error| {
                AwsError::new(
                    format!("PutBucketInventoryConfiguration of {bucket}"),
                    &error,
                )
            })?;
        Ok(())
    }

    /// Whether the configuration is there.
    pub async fn has_configuration(
        &self,
        region: &Region,
        bucket: &BucketName,
        id: &str,
    ) -> Result<bool, AwsError> {
        let s3 = self.s3(region).await;
        let answer = s3
            .get_bucket_inventory_configuration()
            .bucket(bucket.as_str())
            .expected_bucket_owner(self.account().as_str())
            .id(id)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(true),
            Err(error) => {
                let error = AwsError::new(
                    format!("GetBucketInventoryConfiguration of {bucket}"),
                    &error,
                );
                if error.code == "NoSuchConfiguration" {
                    Ok(false)
                } else {
                    Err(error)
                }
            }
        }
    }

    /// Removes the configuration; one that is not there, on a bucket that is not there, is removed.
    pub async fn remove_configuration(
        &self,
        region: &Region,
        bucket: &BucketName,
        id: &str,
    ) -> Result<(), AwsError> {
        let s3 = self.s3(region).await;
        let answer = s3
            .delete_bucket_inventory_configuration()
            .bucket(bucket.as_str())
            .expected_bucket_owner(self.account().as_str())
            .id(id)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(()),
            Err(error) => {
                let error = AwsError::new(
                    format!("DeleteBucketInventoryConfiguration of {bucket}"),
                    &error,
                );
                if error.is_missing() {
                    Ok(())
                } else {
                    Err(error)
                }
            }
        }
    }
}

fn configuration(account: &AccountId, delivery: &Delivery<'_>) -> InventoryConfiguration {
    const COMPLETE: &str = "all required fields are set";
    let bucket = InventoryS3BucketDestination::builder()
        .account_id(delivery.destination_owner.as_str())
        .bucket(delivery.destination_arn)
        .format(InventoryFormat::Parquet)
        .prefix(account.as_str())
        .build()
        .expect(COMPLETE);
    let fields = OPTIONAL_FIELDS
        .iter()
        .map(|field| InventoryOptionalField::from(*field))
        .collect();
    InventoryConfiguration::builder()
        .id(delivery.id)
        .is_enabled(true)
        .included_object_versions(InventoryIncludedObjectVersions::All)
        .schedule(
            InventorySchedule::builder()
                .frequency(InventoryFrequency::Daily)
                .build()
                .expect(COMPLETE),
        )
        .destination(
            InventoryDestination::builder()
                .s3_bucket_destination(bucket)
                .build(),
        )
        .set_optional_fields(Some(fields))
        .build()
        .expect(COMPLETE)
}
