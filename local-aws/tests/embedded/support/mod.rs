//! One embedded AWS for all tests of the binary; bucket names keep them apart.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use aws_sdk_s3::{
    Client,
    primitives::ByteStream,
    types::{
        BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration,
        InventoryConfiguration, InventoryDestination, InventoryFormat, InventoryFrequency,
        InventoryIncludedObjectVersions, InventoryOptionalField, InventoryS3BucketDestination,
        InventorySchedule, VersioningConfiguration,
    },
};
use local_aws::{LocalAws, StartOptions, inventory::Delivery};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

pub(crate) const HOST: &str = "111111111111";
pub(crate) const MEMBER: &str = "444444444444";
pub(crate) const REGION: &str = "eu-west-1";

static SHARED: OnceCell<LocalAws> = OnceCell::const_new();

/// A folder for one embedded AWS of these tests.
pub(crate) fn root(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// The one all tests share. It ends with the test process.
pub(crate) async fn shared() -> &'static LocalAws {
    SHARED
        .get_or_init(|| async {
            let mut options = StartOptions::new(root("shared"));
            options.report_delay = Duration::from_millis(100);
            LocalAws::start(options, |_| {})
                .await
                .expect("the embedded AWS starts")
        })
        .await
}

/// S3 as the root of an account.
pub(crate) async fn s3(account_id: &str) -> Client {
    Client::new(&shared().await.sdk_config(account_id, REGION))
}

/// Makes a bucket in [`REGION`].
pub(crate) async fn make_bucket(client: &Client, name: &str) {
    let place = CreateBucketConfiguration::builder()
        .location_constraint(BucketLocationConstraint::from(REGION));
    client
        .create_bucket()
        .bucket(name)
        .create_bucket_configuration(place.build())
        .send()
        .await
        .unwrap();
}

pub(crate) async fn put(client: &Client, bucket: &str, key: &str, body: &str) {
    let body = ByteStream::from(body.as_bytes().to_vec());
    client
        .put_object()
        .bucket(bucket)
        .key(key)
        .body(body)
        .send()
        .await
        .unwrap();
}

/// Keys that a format, an encoding or a reader may take for something else.
pub(crate) const ODD_KEYS: [&str; 14] = [
    "a b",
    "a+b",
    "100%25",
    "quote'\"s",
    "comma,s",
    "new\nline",
    "größe/日本/🦀",
    "<script>x</script>",
    "=1+1",
    "tab\tin",
    "back\\slash",
    "&amp;",
    "double//slash",
    "folder/",
];

pub(crate) async fn enable_versioning(client: &Client, bucket: &str) {
    let enabled = VersioningConfiguration::builder()
        .status(BucketVersioningStatus::Enabled)
        .build();
    client
        .put_bucket_versioning()
        .bucket(bucket)
        .versioning_configuration(enabled)
        .send()
        .await
        .unwrap();
}

/// One version or delete marker: key, version id (empty for the null version), whether it is the
/// latest, size and `ETag` (delete markers have none), and milliseconds of its last modification.
pub(crate) type Version = (String, String, bool, Option<(i64, String)>, Option<i64>);

/// All versions and delete markers of a bucket, as S3 lists them.
pub(crate) async fn listed_versions(client: &Client, bucket: &str) -> BTreeSet<Version> {
    let id = |id: Option<&str>| id.filter(|id| *id != "null").unwrap_or_default().to_owned();
    let listed = client
        .list_object_versions()
        .bucket(bucket)
        .send()
        .await
        .unwrap();
    let versions = listed.versions().iter().map(|version| {
        let e_tag = version.e_tag().unwrap().trim_matches('"').to_owned();
        (
            version.key().unwrap().to_owned(),
            id(version.version_id()),
            version.is_latest().unwrap(),
            Some((version.size().unwrap(), e_tag)),
            Some(version.last_modified().unwrap().to_millis().unwrap()),
        )
    });
    let markers = listed.delete_markers().iter().map(|marker| {
        (
            marker.key().unwrap().to_owned(),
            id(marker.version_id()),
            marker.is_latest().unwrap(),
            None,
            Some(marker.last_modified().unwrap().to_millis().unwrap()),
        )
    });
    versions.chain(markers).collect()
}

/// A source bucket of the member with some objects, and a destination of the host that takes its reports.
pub(crate) async fn source_and_destination(name: &str, objects: usize) -> (Client, String, String) {
    let (source, destination) = (format!("{name}-source"), format!("{name}-destination"));
    let (member, host) = (s3(MEMBER).await, s3(HOST).await);
    make_bucket(&member, &source).await;
    make_bucket(&host, &destination).await;
    let policy = delivery_policy(&destination, MEMBER).to_string();
    host.put_bucket_policy()
        .bucket(&destination)
        .policy(policy)
        .send()
        .await
        .unwrap();
    for number in 0..objects {
        put(&member, &source, &format!("object-{number:03}"), "content").await;
    }
    (member, source, destination)
}

/// The policy AWS documents for a destination.
pub(crate) fn delivery_policy(destination: &str, source_account: &str) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "s3:PutObject",
        "Resource": format!("arn:aws:s3:::{destination}/*"),
        "Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::*"}, "StringEquals": {
            "aws:SourceAccount": [source_account], "s3:x-amz-acl": "bucket-owner-full-control"}},
    }]})
}

/// A configuration with every field the platform asks for.
pub(crate) fn configuration(id: &str, destination: &str) -> InventoryConfiguration {
    let bucket = InventoryS3BucketDestination::builder()
        .bucket(format!("arn:aws:s3:::{destination}"))
        .format(InventoryFormat::Parquet)
        .prefix(MEMBER)
        .build()
        .unwrap();
    let daily = InventorySchedule::builder()
        .frequency(InventoryFrequency::Daily)
        .build()
        .unwrap();
    InventoryConfiguration::builder()
        .id(id)
        .is_enabled(true)
        .included_object_versions(InventoryIncludedObjectVersions::All)
        .destination(
            InventoryDestination::builder()
                .s3_bucket_destination(bucket)
                .build(),
        )
        .schedule(daily)
        .optional_fields(InventoryOptionalField::EncryptionStatus)
        .optional_fields(InventoryOptionalField::Size)
        .optional_fields(InventoryOptionalField::StorageClass)
        .optional_fields(InventoryOptionalField::ETag)
        .optional_fields(InventoryOptionalField::LastModifiedDate)
        .build()
        .unwrap()
}

/// Puts [`configuration`].
pub(crate) async fn configure(client: &Client, source: &str, id: &str, destination: &str) {
    let configuration = configuration(id, destination);
    let put = client
        .put_bucket_inventory_configuration()
        .bucket(source)
        .id(id);
    put.inventory_configuration(configuration)
        .send()
        .await
        .unwrap();
}

/// Waits until the service is done with so many configurations of a bucket.
pub(crate) async fn deliveries(bucket: &str, wanted: usize) -> Vec<Delivery> {
    let poll = async {
        loop {
            let found = shared().await.deliveries(bucket).await.unwrap();
            if found.len() >= wanted {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), poll)
        .await
        .expect("the service settles the configurations")
}

/// Everything in a destination bucket, by key.
pub(crate) async fn contents(bucket: &str) -> BTreeMap<String, Vec<u8>> {
    let client = s3(HOST).await;
    let listed = client
        .list_objects_v2()
        .bucket(bucket)
        .send()
        .await
        .unwrap();
    let mut contents = BTreeMap::new();
    for object in listed.contents() {
        let key = object.key().unwrap();
        let got = client
            .get_object()
            .bucket(bucket)
            .key(key)
            .send()
            .await
            .unwrap();
        contents.insert(key.to_owned(), got.body.collect().await.unwrap().to_vec());
    }
    contents
}

/// The manifests in a destination bucket, by key.
pub(crate) fn manifests(contents: &BTreeMap<String, Vec<u8>>) -> Vec<(String, Value)> {
    let manifests = contents
        .iter()
        .filter(|(key, _)| key.ends_with("/manifest.json"));
    manifests
        .map(|(key, body)| (key.clone(), serde_json::from_slice(body).unwrap()))
        .collect()
}

/// The rows of a data file.
pub(crate) fn rows(file: &[u8]) -> Vec<parquet::record::Row> {
    let reader = SerializedFileReader::new(bytes::Bytes::copy_from_slice(file)).unwrap();
    reader
        .get_row_iter(None)
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

pub(crate) fn md5_hex(body: &[u8]) -> String {
    use md5::Digest as _;
    hex::encode(md5::Md5::digest(body))
}
