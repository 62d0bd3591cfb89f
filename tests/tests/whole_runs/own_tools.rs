use anyhow::Result;
use aws_sdk_s3::Client;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use serde_json::json;
use shared::run::Outcome;
use tests::{EXTERNAL_ID, check_done_buckets, check_outcome, keep_versions, leftovers, test};

const ACCOUNT: &str = "500000000001";

#[test]
fn buckets_made_with_an_ordinary_sdk_are_covered_like_any_others() {
    test(async |platform| {
        platform.add_member(ACCOUNT, Some(EXTERNAL_ID)).await?;
        let (here, there) = (
            platform.s3(ACCOUNT, "us-east-1"),
            platform.s3(ACCOUNT, "ap-southeast-2"),
        );
        here.create_bucket()
            .bucket("own-tools-plain")
            .send()
            .await?;
        for number in 0..21 {
            put(&here, "own-tools-plain", &format!("in/{number}")).await?;
        }
        fill_versioned(&there).await?;
        here.create_bucket()
            .bucket("own-tools-empty")
            .send()
            .await?;

        let mut input = platform.input(&[ACCOUNT]);
        input["run_id"] = json!("owntools");
        input["status_refresh_minutes"] = json!(1);
        let ended = platform.harvest(&input).await?;
        check_outcome(&ended, Outcome::Complete);
        assert_eq!(ended.status("own-tools-empty"), Some("bucket_is_empty"));
        assert_eq!(ended.bucket("own-tools-plain").rows, 21);
        // Ten objects, of which three have a second version and two a delete marker.
        assert_eq!(ended.bucket("own-tools-versioned").rows, 15);
        assert_eq!(ended.bucket("own-tools-versioned").objects, 8);
        assert_eq!(check_done_buckets(platform, &ended).await?, 2);
        assert_eq!(ended.parts.buckets.len(), 3, "{:#?}", ended.parts.buckets);
        let left = leftovers(platform, "owntools", &[ACCOUNT]).await?;
        assert_eq!(left, [""; 0]);
        Ok(())
    });
}

async fn put(s3: &Client, bucket: &str, key: &str) -> Result<()> {
    let body = key.as_bytes().to_vec();
    s3.put_object()
        .bucket(bucket)
        .key(key)
        .body(body.into())
        .send()
        .await?;
    Ok(())
}

async fn fill_versioned(s3: &Client) -> Result<()> {
    let bucket = "own-tools-versioned";
    let place = CreateBucketConfiguration::builder()
        .location_constraint(BucketLocationConstraint::ApSoutheast2)
        .build();
    s3.create_bucket()
        .bucket(bucket)
        .create_bucket_configuration(place)
        .send()
        .await?;
    keep_versions(s3, bucket).await?;
    for number in 0..10 {
        put(s3, bucket, &format!("out/{number}")).await?;
    }
    for number in 0..3 {
        put(s3, bucket, &format!("out/{number}")).await?;
    }
    for number in 5..7 {
        s3.delete_object()
            .bucket(bucket)
            .key(format!("out/{number}"))
            .send()
            .await?;
    }
    Ok(())
}
