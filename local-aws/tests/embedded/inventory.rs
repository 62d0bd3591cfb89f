//! Inventory configurations: what S3 does with them, and what it refuses.

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_s3::{
    Client,
    error::ProvideErrorMetadata as _,
    types::{
        InventoryConfiguration, InventoryDestination, InventoryFormat, InventoryOptionalField,
        InventoryS3BucketDestination,
    },
};
use futures::{StreamExt as _, stream};
use serde_json::json;

use crate::support::*;

async fn code_of_put(
    client: &Client,
    source: &str,
    id: &str,
    configuration: InventoryConfiguration,
) -> String {
    let put = client
        .put_bucket_inventory_configuration()
        .bucket(source)
        .id(id);
    let answer = put.inventory_configuration(configuration).send().await;
    answer
        .err()
        .and_then(|error| error.code().map(str::to_owned))
        .unwrap_or_else(|| "accepted".to_owned())
}

#[tokio::test]
async fn a_configuration_is_kept_answered_and_deleted_and_its_bucket_stays() {
    let (client, source, destination) = source_and_destination("kept", 1).await;
    let absent = client
        .get_bucket_inventory_configuration()
        .bucket(&source)
        .id("mine")
        .send()
        .await
        .unwrap_err();
    assert_eq!(absent.code(), Some("NoSuchConfiguration"));
    assert_eq!(absent.raw_response().unwrap().status().as_u16(), 404);

    configure(&client, &source, "mine", &destination).await;
    let got = client
        .get_bucket_inventory_configuration()
        .bucket(&source)
        .id("mine")
        .send()
        .await
        .unwrap();
    let got = got.inventory_configuration().unwrap();
    let put = configuration("mine", &destination);
    assert_eq!(got.destination(), put.destination());
    assert_eq!(got.optional_fields(), put.optional_fields());
    let listed = client
        .list_bucket_inventory_configurations()
        .bucket(&source)
        .send()
        .await
        .unwrap();
    assert_eq!(listed.inventory_configuration_list().len(), 1);
    assert_eq!(listed.is_truncated(), Some(false));

    client
        .delete_bucket_inventory_configuration()
        .bucket(&source)
        .id("mine")
        .send()
        .await
        .unwrap();
    let again = client
        .delete_bucket_inventory_configuration()
        .bucket(&source)
        .id("mine")
        .send()
        .await
        .unwrap_err();
    assert_eq!(again.code(), Some("NoSuchConfiguration"));
    let objects = client
        .list_objects_v2()
        .bucket(&source)
        .send()
        .await
        .unwrap();
    assert_eq!(objects.contents().len(), 1);
}

#[tokio::test]
async fn past_the_service_nothing_happens_to_a_bucket() {
    let (_, source, _) = source_and_destination("bypass", 0).await;
    let aws = shared().await;
    let config = aws_sdk_s3::config::Builder::from(&aws.sdk_config(MEMBER, REGION))
        .endpoint_url(&aws.endpoint_url);
    let direct = Client::from_conf(config.build());
    let refused = direct
        .delete_bucket_inventory_configuration()
        .bucket(&source)
        .id("mine")
        .send()
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Some("NotImplemented"));
    direct.head_bucket().bucket(&source).send().await.unwrap();
}

#[tokio::test]
async fn what_s3_refuses_is_refused_by_the_same_name() {
    let (client, source, destination) = source_and_destination("refused", 0).await;
    let host = s3(HOST).await;
    let elsewhere = Client::new(&shared().await.sdk_config(HOST, "us-east-1"));
    elsewhere
        .create_bucket()
        .bucket("refused-elsewhere")
        .send()
        .await
        .unwrap();
    drop(host);

    let good = || configuration("mine", &destination);
    assert_eq!(
        code_of_put(&client, "refused-absent", "mine", good()).await,
        "NoSuchBucket"
    );
    assert_eq!(
        code_of_put(&client, &source, "yours", good()).await,
        "IdMismatch"
    );
    assert_eq!(
        code_of_put(&client, &source, "not allowed", good()).await,
        "InvalidArgument"
    );
    let mut unknown = good();
    unknown
        .optional_fields
        .get_or_insert_default()
        .push(InventoryOptionalField::from("Weight"));
    assert_eq!(
        code_of_put(&client, &source, "mine", unknown).await,
        "MalformedXML"
    );

    let with_destination = |arn: &str, owner: Option<&str>| {
        let bucket = InventoryS3BucketDestination::builder()
            .bucket(arn)
            .format(InventoryFormat::Parquet);
        let bucket = bucket
            .set_account_id(owner.map(str::to_owned))
            .build()
            .unwrap();
        let mut changed = good();
        changed.destination = Some(
            InventoryDestination::builder()
                .s3_bucket_destination(bucket)
                .build(),
        );
        changed
    };
    let arn = format!("arn:aws:s3:::{destination}");
    for (arn, owner) in [
        ("arn:aws:s3:::refused-absent", None),
        ("arn:aws:s3:::refused-elsewhere", None),
        (destination.as_str(), None),
        (arn.as_str(), Some(MEMBER)),
    ] {
        let code = code_of_put(&client, &source, "mine", with_destination(arn, owner)).await;
        assert_eq!(code, "InvalidS3DestinationBucket", "{arn} {owner:?}");
    }
    assert_eq!(
        code_of_put(&client, &source, "mine", with_destination(&arn, Some(HOST))).await,
        "accepted"
    );
}

#[tokio::test]
async fn a_bucket_has_a_thousand_configurations_on_pages_of_a_hundred() {
    let (client, source, destination) = source_and_destination("thousand", 0).await;
    let disabled = |number: usize| {
        let mut configuration = configuration(&format!("c-{number:04}"), &destination);
        configuration.is_enabled = false;
        configuration
    };
    let puts =
        stream::iter(
            (0..1_000).map(|number| {
                let configuration = disabled(number);
                let (client, source) = (&client, &source);
                async move {
                    code_of_put(client, source, &configuration.id.clone(), configuration).await
                }
            }),
        );
    let codes: Vec<String> = puts.buffer_unordered(8).collect().await;
    assert!(
        codes.iter().all(|code| code == "accepted"),
        "{:?}",
        codes.iter().find(|code| *code != "accepted")
    );
    assert_eq!(
        code_of_put(&client, &source, "c-1000", disabled(1_000)).await,
        "TooManyConfigurations"
    );
    assert_eq!(
        code_of_put(&client, &source, "c-0000", disabled(0)).await,
        "accepted",
        "replacing is fine"
    );

    let (mut ids, mut token) = (Vec::new(), None);
    for page in 0..10 {
        let list = client
            .list_bucket_inventory_configurations()
            .bucket(&source);
        let listed = list.set_continuation_token(token).send().await.unwrap();
        assert_eq!(listed.inventory_configuration_list().len(), 100);
        assert_eq!(listed.is_truncated(), Some(page < 9));
        ids.extend(
            listed
                .inventory_configuration_list()
                .iter()
                .map(|one| one.id().to_owned()),
        );
        token = listed.next_continuation_token().map(str::to_owned);
    }
    let expected: Vec<String> = (0..1_000).map(|number| format!("c-{number:04}")).collect();
    assert_eq!(ids, expected);
    assert_eq!(token, None);
}

#[tokio::test]
async fn a_new_bucket_of_an_old_name_has_no_configurations() {
    let (client, source, destination) = source_and_destination("renewed", 0).await;
    configure(&client, &source, "mine", &destination).await;
    client.delete_bucket().bucket(&source).send().await.unwrap();
    let gone = client
        .get_bucket_inventory_configuration()
        .bucket(&source)
        .id("mine")
        .send()
        .await
        .unwrap_err();
    assert_eq!(gone.code(), Some("NoSuchBucket"));
    make_bucket(&client, &source).await;
    let listed = client
        .list_bucket_inventory_configurations()
        .bucket(&source)
        .send()
        .await
        .unwrap();
    assert_eq!(listed.inventory_configuration_list().len(), 0);
}

/// S3 as a role of the member that may do `actions`.
async fn as_role(name: &str, actions: &[&str]) -> Client {
    as_role_with(name, actions, str::to_owned).await
}

/// The same with a secret that is not the session's.
async fn as_role_with(name: &str, actions: &[&str], secret: impl Fn(&str) -> String) -> Client {
    let config = shared().await.sdk_config(MEMBER, REGION);
    let iam = aws_sdk_iam::Client::new(&config);
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
        "Principal": {"AWS": format!("arn:aws:iam::{MEMBER}:root")}, "Action": "sts:AssumeRole"}]});
    iam.create_role()
        .role_name(name)
        .assume_role_policy_document(trust.to_string())
        .send()
        .await
        .unwrap();
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": actions, "Resource": "*"}]});
    let put = iam
        .put_role_policy()
        .role_name(name)
        .policy_name("p")
        .policy_document(policy.to_string());
    put.send().await.unwrap();
    let sts = aws_sdk_sts::Client::new(&config);
    let role = format!("arn:aws:iam::{MEMBER}:role/{name}");
    let session = sts
        .assume_role()
        .role_arn(role)
        .role_session_name("test")
        .send()
        .await
        .unwrap();
    let session = session.credentials().unwrap();
    let credentials = Credentials::new(
        session.access_key_id(),
        secret(session.secret_access_key()),
        Some(session.session_token().to_owned()),
        None,
        "role",
    );
    Client::new(
        &shared()
            .await
            .sdk_config_with(SharedCredentialsProvider::new(credentials), REGION),
    )
}

/// The codes of putting, getting, listing and deleting a configuration.
async fn codes(client: &Client, source: &str, destination: &str) -> [String; 4] {
    fn code<T, E: aws_sdk_s3::error::ProvideErrorMetadata>(answer: Result<T, E>) -> String {
        answer.err().map_or("accepted".to_owned(), |error| {
            error.code().unwrap_or("?").to_owned()
        })
    }
    [
        code_of_put(client, source, "mine", configuration("mine", destination)).await,
        code(
            client
                .get_bucket_inventory_configuration()
                .bucket(source)
                .id("mine")
                .send()
                .await,
        ),
        code(
            client
                .list_bucket_inventory_configurations()
                .bucket(source)
                .send()
                .await,
        ),
        code(
            client
                .delete_bucket_inventory_configuration()
                .bucket(source)
                .id("mine")
                .send()
                .await,
        ),
    ]
}

#[tokio::test]
async fn only_who_is_permitted_manages_configurations() {
    let (owner, source, destination) = source_and_destination("permitted", 1).await;
    let reader = as_role("inventory-reader", &["s3:GetInventoryConfiguration"]).await;
    let writer = as_role("inventory-writer", &["s3:*InventoryConfiguration"]).await;
    let nobody = as_role("inventory-nobody", &["s3:DeleteBucket", "s3:CreateBucket"]).await;
    let denied = || "AccessDenied".to_owned();
    let accepted = || "accepted".to_owned();

    let absent = "NoSuchConfiguration".to_owned();
    assert_eq!(
        codes(&reader, &source, &destination).await,
        [denied(), absent, accepted(), denied()]
    );
    assert_eq!(
        codes(&nobody, &source, &destination).await,
        [denied(), denied(), denied(), denied()]
    );
    assert_eq!(
        codes(&writer, &source, &destination).await,
        [accepted(), accepted(), accepted(), accepted()]
    );

    let refusal = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*",
        "Action": "s3:PutInventoryConfiguration", "Resource": format!("arn:aws:s3:::{source}")}]});
    configure(&owner, &source, "mine", &destination).await;
    owner
        .put_bucket_policy()
        .bucket(&source)
        .policy(refusal.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(
        codes(&writer, &source, &destination).await,
        [denied(), accepted(), accepted(), denied()]
    );
    owner
        .head_object()
        .bucket(&source)
        .key("object-000")
        .send()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_wrong_signature_is_refused_before_anything_else() {
    let (_, source, destination) = source_and_destination("forged", 0).await;
    // Of a role: the embedded AWS believes every root.
    let client = as_role_with("forger", &["s3:*"], |secret| format!("{secret}x")).await;
    let refused = || "SignatureDoesNotMatch".to_owned();
    assert_eq!(
        codes(&client, &source, &destination).await,
        [refused(), refused(), refused(), refused()]
    );
}

#[tokio::test]
async fn calls_of_roles_are_counted_by_what_they_ask_for_and_the_answer() {
    let (_, source, _) = source_and_destination("counted", 0).await;
    let client = as_role("counted", &["s3:GetInventoryConfiguration"]).await;
    for _ in 0..2 {
        let listed = client.list_bucket_inventory_configurations();
        listed.bucket(&source).send().await.unwrap();
    }
    let refused = client.get_bucket_tagging().bucket(&source).send().await;
    assert_eq!(refused.unwrap_err().code(), Some("AccessDenied"));

    let mut calls = shared().await.calls().await.unwrap();
    let role = format!("arn:aws:sts::{MEMBER}:assumed-role/counted");
    calls.retain(|call| call.principal == role);
    let seen: Vec<_> = calls
        .iter()
        .map(|call| (call.action.as_str(), call.allowed, call.count))
        .collect();
    assert_eq!(
        seen,
        [
            ("s3:GetBucketTagging", false, 1),
            ("s3:GetInventoryConfiguration", true, 2),
        ]
    );
    assert_eq!(calls[0].last_resource, format!("arn:aws:s3:::{source}"));
}
