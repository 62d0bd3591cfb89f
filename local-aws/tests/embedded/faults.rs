//! Faults on purpose do what they say.

use std::num::NonZeroUsize;

use aws_sdk_s3::{config::retry::RetryConfig, error::ProvideErrorMetadata as _};
use local_aws::inventory::{Faults, Throttle, Vanish};

use crate::support::*;

/// Sets faults, has a report of three objects delivered, and returns what arrived.
async fn deliver(
    name: &str,
    faults: Faults,
) -> (Vec<String>, std::collections::BTreeMap<String, Vec<u8>>) {
    let (client, source, destination) = source_and_destination(name, 3).await;
    shared().await.set_faults(&source, &faults).await.unwrap();
    configure(&client, &source, "mine", &destination).await;
    let keys = deliveries(&source, 1).await.remove(0).keys;
    (keys, contents(&destination).await)
}

#[tokio::test]
async fn a_report_comes_in_several_files() {
    let faults = Faults {
        rows_per_file: NonZeroUsize::new(2),
        ..Faults::default()
    };
    let (_, contents) = deliver("several", faults).await;
    let (_, manifest) = manifests(&contents).pop().unwrap();
    let files = manifest["files"].as_array().unwrap();
    let counts: Vec<usize> = files
        .iter()
        .map(|file| rows(&contents[file["key"].as_str().unwrap()]).len())
        .collect();
    assert_eq!(counts, [2, 1]);
}

#[tokio::test]
async fn a_report_does_not_match_its_manifest() {
    let file_of = |contents: &std::collections::BTreeMap<String, Vec<u8>>| {
        let (_, manifest) = manifests(contents).pop().unwrap();
        let file = manifest["files"][0].clone();
        let body = contents.get(file["key"].as_str().unwrap()).cloned();
        (
            file["size"].as_u64().unwrap(),
            file["MD5checksum"].as_str().unwrap().to_owned(),
            body,
        )
    };
    let (_, contents) = deliver(
        "wrong-md5",
        Faults {
            wrong_file_md5: true,
            ..Faults::default()
        },
    )
    .await;
    let (size, md5, body) = file_of(&contents);
    let body = body.unwrap();
    assert_eq!(size, body.len() as u64);
    assert_ne!(md5, md5_hex(&body));

    let (_, contents) = deliver(
        "truncated",
        Faults {
            truncated_file: true,
            ..Faults::default()
        },
    )
    .await;
    let (size, _, body) = file_of(&contents);
    assert_eq!(size, body.unwrap().len() as u64 + 1);

    let (_, contents) = deliver(
        "missing",
        Faults {
            missing_file: true,
            ..Faults::default()
        },
    )
    .await;
    assert_eq!(file_of(&contents).2, None);

    let (_, contents) = deliver(
        "wrong-checksum",
        Faults {
            wrong_manifest_checksum: true,
            ..Faults::default()
        },
    )
    .await;
    let (key, _) = manifests(&contents).pop().unwrap();
    assert_ne!(
        contents[&key.replace(".json", ".checksum")],
        md5_hex(&contents[&key]).as_bytes()
    );
}

#[tokio::test]
async fn a_report_comes_out_of_order_and_twice() {
    let (keys, _) = deliver(
        "first",
        Faults {
            checksum_first: true,
            ..Faults::default()
        },
    )
    .await;
    assert!(keys[0].ends_with("/manifest.checksum"), "{keys:?}");
    let (keys, _) = deliver("usual", Faults::default()).await;
    assert!(keys[0].contains("/data/"), "{keys:?}");

    let (_, contents) = deliver(
        "twice",
        Faults {
            twice: true,
            ..Faults::default()
        },
    )
    .await;
    let manifests = manifests(&contents);
    assert_eq!(manifests.len(), 2);
    assert_ne!(manifests[0].0, manifests[1].0);
    assert_ne!(
        manifests[0].1["files"][0]["key"],
        manifests[1].1["files"][0]["key"]
    );
}

#[tokio::test]
async fn a_held_report_waits_for_its_release_and_a_deleted_configuration_ends_it() {
    let (client, source, destination) = source_and_destination("held", 1).await;
    let aws = shared().await;
    aws.set_faults(
        &source,
        &Faults {
            hold: true,
            ..Faults::default()
        },
    )
    .await
    .unwrap();
    configure(&client, &source, "deleted", &destination).await;
    configure(&client, &source, "released", &destination).await;
    client
        .delete_bucket_inventory_configuration()
        .bucket(&source)
        .id("deleted")
        .send()
        .await
        .unwrap();
    assert!(contents(&destination).await.is_empty());
    aws.clear_faults(&source).await.unwrap();
    let outcomes = deliveries(&source, 2).await;
    let reason = |id: &str| {
        let found = outcomes
            .iter()
            .find(|delivery| delivery.configuration_id == id)
            .unwrap();
        found.reason.clone()
    };
    assert!(reason("deleted").unwrap().contains("deleted"));
    assert_eq!(reason("released"), None);
}

#[tokio::test]
async fn a_report_never_comes() {
    let (keys, contents) = deliver(
        "never",
        Faults {
            never: true,
            ..Faults::default()
        },
    )
    .await;
    assert!(keys.is_empty());
    assert!(contents.is_empty());
}

#[tokio::test]
async fn a_bucket_vanishes_before_or_after_it_is_configured() {
    let (client, source, destination) = source_and_destination("vanish-on", 3).await;
    let aws = shared().await;
    let on = Faults {
        vanish: Some(Vanish::OnConfigure),
        ..Faults::default()
    };
    aws.set_faults(&source, &on).await.unwrap();
    let put = client
        .put_bucket_inventory_configuration()
        .bucket(&source)
        .id("mine");
    let refused = put
        .inventory_configuration(configuration("mine", &destination))
        .send()
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Some("NoSuchBucket"));

    let (client, source, destination) = source_and_destination("vanish-after", 3).await;
    let after = Faults {
        vanish: Some(Vanish::AfterConfigure),
        ..Faults::default()
    };
    aws.set_faults(&source, &after).await.unwrap();
    configure(&client, &source, "mine", &destination).await;
    let gone = client
        .head_bucket()
        .bucket(&source)
        .send()
        .await
        .unwrap_err();
    assert_eq!(gone.raw_response().unwrap().status().as_u16(), 404);
    assert!(
        deliveries(&source, 1).await[0]
            .reason
            .as_ref()
            .unwrap()
            .contains("gone")
    );
}

#[tokio::test]
async fn a_throttled_bucket_says_slow_down_now_and_then() {
    let (_, source, _) = source_and_destination("throttled", 0).await;
    let aws = shared().await;
    let throttle = Some(Throttle { rate: 0.5, seed: 3 });
    aws.set_faults(
        &source,
        &Faults {
            throttle,
            ..Faults::default()
        },
    )
    .await
    .unwrap();
    let config = aws_sdk_s3::config::Builder::from(&aws.sdk_config(MEMBER, REGION));
    let impatient =
        aws_sdk_s3::Client::from_conf(config.retry_config(RetryConfig::disabled()).build());
    let mut refused = 0;
    for _ in 0..40 {
        match impatient.list_objects_v2().bucket(&source).send().await {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.code(), Some("SlowDown"));
                refused += 1;
            }
        }
    }
    assert!((10..=30).contains(&refused), "{refused} of 40");
}
