//! MiniStack as the Inventory service sees it: S3 itself, with the eyes of S3.

use std::collections::HashMap;

use anyhow::Result;
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_s3::Client;
use serde::{Deserialize, Serialize};

use crate::{SECRET_ACCESS_KEY, address, http_client, sdk_config};

/// A bucket, whoever owns it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Bucket {
    pub(crate) name: String,
    pub(crate) account_id: String,
    pub(crate) region: String,
    /// When it was made: tells it from an earlier bucket of the same name.
    pub(crate) created: String,
}

/// MiniStack's address.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    url: String,
}

impl Upstream {
    pub(crate) fn new(port: u16) -> Self {
        Self { url: address(port) }
    }

    pub(crate) fn authority(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// Owner, Region and age of a bucket; `None` when there is none of this name.
    pub(crate) async fn bucket(&self, name: &str) -> Result<Option<Bucket>> {
        let name = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
        http_client::get(&format!("{}/_s3insights/bucket?name={name}", self.url)).await
    }

    /// What `HeadObject` answers for each object; `None` for one that is gone.
    pub(crate) async fn heads(
        &self,
        bucket: &Bucket,
        objects: &[(String, Option<String>)],
    ) -> Result<Vec<Option<HashMap<String, String>>>> {
        #[derive(Serialize)]
        struct Request<'a> {
            account_id: &'a str,
            bucket: &'a str,
            objects: &'a [(String, Option<String>)],
        }
        let request = Request {
            account_id: &bucket.account_id,
            bucket: &bucket.name,
            objects,
        };
        http_client::post(&format!("{}/_s3insights/heads", self.url), &request).await
    }

    /// S3 as the owner of a bucket, past the Inventory service.
    pub(crate) fn s3(&self, bucket: &Bucket) -> Client {
        let credentials =
            Credentials::new(&bucket.account_id, SECRET_ACCESS_KEY, None, None, "owner");
        Client::new(&sdk_config(
            &self.url,
            None,
            SharedCredentialsProvider::new(credentials),
            &bucket.region,
        ))
    }
}
