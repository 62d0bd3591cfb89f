//! The built-in estate, made and made again.

use std::{collections::BTreeSet, time::Instant};

use local_aws::{
    LocalAws, StartOptions,
    estate::{self, Built, Estate, Objects},
};

use crate::support::root;

#[tokio::test]
async fn the_built_in_estate_is_made_once_and_other_content_is_an_error() {
    let aws = LocalAws::start(StartOptions::new(root("estate")), |_| {})
        .await
        .unwrap();
    let estate = Estate::built_in().unwrap();
    let begun = Instant::now();
    let built = estate::build(&aws, &estate, |_| {}).await.unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    eprintln!("{} objects in {seconds:.1} s", estate.object_count());
    let buckets = estate.buckets().count();
    assert_eq!(
        built,
        Built {
            made: buckets,
            unchanged: 0
        }
    );

    let again = estate::build(&aws, &estate, |_| {}).await.unwrap();
    assert_eq!(
        again,
        Built {
            made: 0,
            unchanged: buckets
        }
    );

    let client = aws_sdk_s3::Client::new(&aws.sdk_config("333333333333", "us-west-2"));
    let listed = client
        .list_object_versions()
        .bucket("acme-odd-keys")
        .send()
        .await
        .unwrap();
    let found: BTreeSet<&str> = listed
        .versions()
        .iter()
        .map(|version| version.key().unwrap())
        .collect();
    let (_, odd) = estate
        .buckets()
        .find(|(_, bucket)| bucket.name == "acme-odd-keys")
        .unwrap();
    let wanted: Vec<String> = odd.objects.iter().flat_map(Objects::all_keys).collect();
    assert_eq!(found, wanted.iter().map(String::as_str).collect());

    client
        .delete_object()
        .bucket("acme-data-lake")
        .key("exports/000.csv")
        .send()
        .await
        .unwrap();
    let error = estate::build(&aws, &estate, |_| {})
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("acme-data-lake is there already and holds 1099 versions"),
        "{error}"
    );
    aws.stop().await.unwrap();
}
