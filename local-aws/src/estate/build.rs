//! Making an estate in the embedded AWS.

use anyhow::{Context, Result, bail};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_s3::{
    Client,
    error::DisplayErrorContext,
    operation::put_object::builders::PutObjectFluentBuilder,
    primitives::ByteStream,
    types::{
        BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration,
        ServerSideEncryption, StorageClass, VersioningConfiguration,
    },
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use md5::{Digest as _, Md5};
use serde_json::json;

use super::{Account, Bucket, Encryption, Estate, Objects, Policy};
use crate::{LocalAws, SECRET_ACCESS_KEY, inventory::Faults, sdk_config};

/// Requests at the same time; the embedded S3 serves one after the other.
const REQUESTS: usize = 12;

/// What building an estate did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Built {
    /// Buckets that were made.
    pub made: usize,
    /// Buckets that were there already, with everything in them.
    pub unchanged: usize,
}

/// Makes the buckets of an estate with everything in them, sets their faults, and verifies the
/// e-mail addresses of its run. A bucket that is there with as many versions as it should have is
/// left as it is; one with other content is an error.
pub async fn build(aws: &LocalAws, estate: &Estate, progress: impl Fn(&str)) -> Result<Built> {
    let estate = estate.clone().in_host_account(&aws.host_account_id);
    let mut built = Built::default();
    for (account, bucket) in estate.buckets() {
        let maker = Maker {
            client: client(aws, account, bucket),
            account,
            bucket,
        };
        if maker.is_there().await? {
            built.unchanged += 1;
        } else {
            progress(&format!(
                "making {} with {} objects",
                bucket.name,
                bucket.version_count()
            ));
            maker
                .make()
                .await
                .with_context(|| format!("making the bucket {}", bucket.name))?;
            built.made += 1;
        }
        if bucket.faults == Faults::default() {
            aws.clear_faults(&bucket.name).await?;
        } else {
            aws.set_faults(&bucket.name, &bucket.faults).await?;
        }
    }
    aws.verify_email_addresses(&aws.host_account_id, &estate.email_addresses())
        .await?;
    Ok(built)
}

/// S3 as the owner, past the Inventory service and its faults.
fn client(aws: &LocalAws, account: &Account, bucket: &Bucket) -> Client {
    let credentials = Credentials::new(&account.id, SECRET_ACCESS_KEY, None, None, "estate");
    let credentials = SharedCredentialsProvider::new(credentials);
    Client::new(&sdk_config(
        &aws.endpoint_url,
        None,
        credentials,
        &bucket.region,
    ))
}

struct Maker<'a> {
    client: Client,
    account: &'a Account,
    bucket: &'a Bucket,
}

impl Maker<'_> {
    async fn is_there(&self) -> Result<bool> {
        let name = &self.bucket.name;
        match self.client.head_bucket().bucket(name).send().await {
            Ok(_) => {}
            Err(error)
                if error
                    .raw_response()
                    .is_some_and(|answer| answer.status().as_u16() == 404) =>
            {
                return Ok(false);
            }
            Err(error) => bail!(
                "the bucket {name} cannot be made here: {}",
                DisplayErrorContext(error)
            ),
        }
        let found = self.count().await?;
        let wanted = self.bucket.version_count();
        if found != wanted {
            bail!(
                "the bucket {name} is there already and holds {found} versions, where the estate has {wanted}"
            );
        }
        Ok(true)
    }

    async fn count(&self) -> Result<usize> {
        let (mut found, mut key, mut version) = (0, None, None);
        loop {
            let listed = self.client.list_object_versions().bucket(&self.bucket.name);
            let page = listed
                .set_key_marker(key)
                .set_version_id_marker(version)
                .send()
                .await?;
            found += page.versions().len() + page.delete_markers().len();
            if !page.is_truncated().unwrap_or_default() {
                return Ok(found);
            }
            key = page.next_key_marker().map(str::to_owned);
            version = page.next_version_id_marker().map(str::to_owned);
        }
    }

    async fn make(&self) -> Result<()> {
        let Bucket { name, region, .. } = self.bucket;
        let place = (region != "us-east-1").then(|| {
            let constraint = BucketLocationConstraint::from(region.as_str());
            CreateBucketConfiguration::builder()
                .location_constraint(constraint)
                .build()
        });
        self.client
            .create_bucket()
            .bucket(name)
            .set_create_bucket_configuration(place)
            .send()
            .await?;
        if self.bucket.versioning {
            let enabled = VersioningConfiguration::builder()
                .status(BucketVersioningStatus::Enabled)
                .build();
            self.client
                .put_bucket_versioning()
                .bucket(name)
                .versioning_configuration(enabled)
                .send()
                .await?;
        }
        let objects = self.bucket.objects.iter();
        let keys = objects.flat_map(|objects| {
            objects
                .all_keys()
                .into_iter()
                .map(move |key| (objects, key))
        });
        let puts = stream::iter(keys.map(|(objects, key)| self.put(objects, key)));
        puts.buffer_unordered(REQUESTS).try_collect::<()>().await?;
        // Last: it may refuse to everybody what was done above.
        if let Some(policy) = &self.bucket.policy {
            let document = document(policy, name).to_string();
            self.client
                .put_bucket_policy()
                .bucket(name)
                .policy(document)
                .send()
                .await?;
        }
        Ok(())
    }

    /// All versions of one key, oldest first.
    async fn put(&self, objects: &Objects, key: String) -> Result<()> {
        for version in 0..=objects.noncurrent {
            let body = content(&key, version, objects.size);
            let request = self
                .client
                .put_object()
                .bucket(&self.bucket.name)
                .key(&key)
                .body(ByteStream::from(body));
            let request = if objects.storage_class == "STANDARD" {
                request
            } else {
                request.storage_class(StorageClass::from(objects.storage_class.as_str()))
            };
            let sent = self.encrypt(request, objects.encryption).send().await;
            sent.with_context(|| format!("writing {key:?}"))?;
        }
        if objects.delete_marker {
            let sent = self
                .client
                .delete_object()
                .bucket(&self.bucket.name)
                .key(&key)
                .send()
                .await;
            sent.with_context(|| format!("deleting {key:?}"))?;
        }
        Ok(())
    }

    fn encrypt(
        &self,
        request: PutObjectFluentBuilder,
        encryption: Encryption,
    ) -> PutObjectFluentBuilder {
        match encryption {
            Encryption::None => request,
            // Said aloud: the embedded S3 does not encrypt by default, as S3 does.
            Encryption::S3 => request.server_side_encryption(ServerSideEncryption::Aes256),
            Encryption::Kms => {
                let Bucket { region, .. } = self.bucket;
                let key = format!(
                    "arn:aws:kms:{region}:{}:key/0b7e9c5e-6f0f-4f0e-9d3a-5a1f6f9f2c11",
                    self.account.id
                );
                request
                    .server_side_encryption(ServerSideEncryption::AwsKms)
                    .ssekms_key_id(key)
            }
            Encryption::Customer => {
                let key = [7_u8; 32];
                request
                    .sse_customer_algorithm("AES256")
                    .sse_customer_key(BASE64_STANDARD.encode(key))
                    .sse_customer_key_md5(BASE64_STANDARD.encode(Md5::digest(key)))
            }
        }
    }
}

/// Bytes that differ between keys and versions, so that their hashes do.
fn content(key: &str, version: u32, size: usize) -> Vec<u8> {
    let seed = format!("{key}#{version}\n");
    seed.bytes().cycle().take(size).collect()
}

fn document(policy: &Policy, bucket: &str) -> serde_json::Value {
    policy.document.clone().unwrap_or_else(|| {
        json!({"Version": "2012-10-17", "Statement": [{
            "Sid": "Refused", "Effect": "Deny", "Principal": "*", "Action": policy.deny,
            "Resource": [format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/*")],
        }]})
    })
}
