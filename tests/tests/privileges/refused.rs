use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use serde_json::json;
use tests::{DEPLOYMENT, EXTERNAL_ID, Platform, objects_under, test};

use tokio::sync::OnceCell;

use crate::granted::{granted, is_counted};
use crate::seen::calls;

/// A source account, with a role that the platform may assume.
const MEMBER: &str = "530000000003";
/// An account that has nothing to do with the platform.
const STRANGER: &str = "530000000009";

const ESTATE: &str = r#"
accounts:
  - id: "530000000003"
    external_id: acme-s3insights
    buckets:
      - {name: refused-source, objects: [{key: secret, size: 10}]}
"#;

static BUILT: OnceCell<()> = OnceCell::const_new();

/// Runs first, so that nothing tried here is among the calls of runs; then an account to try it on.
pub(crate) async fn prepare(platform: &Platform) -> Result<()> {
    Box::pin(calls(platform)).await?;
    BUILT
        .get_or_try_init(async || platform.build(ESTATE).await.map(drop))
        .await?;
    Ok(())
}

/// What came of a call: nothing when it was allowed, else the code of the error.
pub(crate) fn code<T, E: ProvideErrorMetadata>(answer: Result<T, SdkError<E>>) -> Option<String> {
    let error = answer.err()?;
    Some(error.code().unwrap_or("none").to_owned())
}

pub(crate) fn is_refusal(code: Option<&str>) -> bool {
    code.is_some_and(|code| code.starts_with("AccessDenied") || code == "AuthorizationError")
}

/// Credentials of a role of somebody who may assume it.
async fn assume(
    platform: &Platform,
    caller: &SdkConfig,
    role: &str,
    external_id: Option<&str>,
) -> Result<SdkConfig, Option<String>> {
    let answer = aws_sdk_sts::Client::new(caller)
        .assume_role()
        .role_arn(role)
        .role_session_name("test")
        .set_external_id(external_id.map(str::to_owned))
        .send()
        .await;
    let session = match answer {
        Ok(session) => session,
        Err(error) => return Err(error.code().map(str::to_owned)),
    };
    let session = session.credentials().expect("a session has credentials");
    let credentials = Credentials::new(
        session.access_key_id(),
        session.secret_access_key(),
        Some(session.session_token().to_owned()),
        None,
        "role",
    );
    Ok(platform.aws.sdk_config_with(
        SharedCredentialsProvider::new(credentials),
        &platform.aws.region,
    ))
}

/// What a function is: its role is opened to the account's root, which its policies do not notice.
async fn as_function(platform: &Platform, role: &str) -> Result<SdkConfig> {
    let host = &platform.aws.host_account_id;
    let root = platform.aws.sdk_config(host, &platform.aws.region);
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
        {"Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{host}:root")},
         "Action": "sts:AssumeRole"},
    ]});
    aws_sdk_iam::Client::new(&root)
        .update_assume_role_policy()
        .role_name(role)
        .policy_document(trust.to_string())
        .send()
        .await?;
    let arn = format!("arn:aws:iam::{host}:role/{role}");
    match assume(platform, &root, &arn, None).await {
        Ok(config) => Ok(config),
        Err(code) => bail!("{role} cannot be assumed: {code:?}"),
    }
}

/// Tries one call for each of many actions, on what the action is meant for. Gives the codes.
#[expect(clippy::too_many_lines, reason = "it is a list")]
async fn try_all(platform: &Platform, caller: &SdkConfig) -> Vec<(&'static str, Option<String>)> {
    let table = platform.output("RunTableName");
    let bucket = platform.output("ConsolidatedBucketName");
    let queue = platform.output("NotificationQueueUrl");
    let text = |value: &str| AttributeValue::S(value.to_owned());
    let dynamodb = aws_sdk_dynamodb::Client::new(caller);
    let s3 = aws_sdk_s3::Client::new(caller);
    let sqs = aws_sdk_sqs::Client::new(caller);
    let glue = aws_sdk_glue::Client::new(caller);
    let athena = aws_sdk_athena::Client::new(caller);
    let stacks = aws_sdk_cloudformation::Client::new(caller);
    let sfn = aws_sdk_sfn::Client::new(caller);
    let sts = aws_sdk_sts::Client::new(caller);
    let member = format!("arn:aws:iam::{MEMBER}:role/{DEPLOYMENT}-s3insights-member");
    let put = dynamodb.put_item().table_name(table);
    let put = put.item("pk", text("refused")).item("sk", text("refused"));
    let delete = dynamodb.delete_item().table_name(table);
    let delete = delete.key("pk", text("refused")).key("sk", text("refused"));
    let update = dynamodb.update_item().table_name(table);
    let update = update.key("pk", text("refused")).key("sk", text("refused"));
    let key = "inventory/refused/account=1/row";
    vec![
        ("dynamodb:PutItem", code(put.send().await)),
        ("dynamodb:UpdateItem", code(update.send().await)),
        ("dynamodb:DeleteItem", code(delete.send().await)),
        (
            "dynamodb:Scan",
            code(dynamodb.scan().table_name(table).send().await),
        ),
        (
            "s3:PutObject",
            code(
                s3.put_object()
                    .bucket(bucket)
                    .key(key)
                    .body(ByteStream::from_static(b"x"))
                    .send()
                    .await,
            ),
        ),
        (
            "s3:GetObject",
            code(s3.get_object().bucket(bucket).key(key).send().await),
        ),
        (
            "s3:DeleteObject",
            code(s3.delete_object().bucket(bucket).key(key).send().await),
        ),
        (
            "s3:PutBucketPolicy",
            code(
                s3.put_bucket_policy()
                    .bucket(bucket)
                    .policy("{}")
                    .send()
                    .await,
            ),
        ),
        (
            "s3:DeleteBucket",
            code(s3.delete_bucket().bucket(bucket).send().await),
        ),
        (
            "sqs:SendMessage",
            code(
                sqs.send_message()
                    .queue_url(queue)
                    .message_body("{}")
                    .send()
                    .await,
            ),
        ),
        (
            "sqs:PurgeQueue",
            code(sqs.purge_queue().queue_url(queue).send().await),
        ),
        (
            "glue:DeleteTable",
            code(
                glue.delete_table()
                    .database_name("refused")
                    .name("refused")
                    .send()
                    .await,
            ),
        ),
        (
            "glue:DeleteDatabase",
            code(glue.delete_database().name("refused").send().await),
        ),
        (
            "athena:StartQueryExecution",
            code(
                athena
                    .start_query_execution()
                    .work_group(platform.output("AthenaWorkGroupName"))
                    .query_string("SELECT 1")
                    .send()
                    .await,
            ),
        ),
        (
            "cloudformation:DeleteStack",
            code(
                stacks
                    .delete_stack()
                    .stack_name("insights-a-b-c-d")
                    .send()
                    .await,
            ),
        ),
        (
            "states:StartExecution",
            code(
                sfn.start_execution()
                    .state_machine_arn(platform.output("CleanupStateMachineArn"))
                    .input("{}")
                    .send()
                    .await,
            ),
        ),
        (
            "states:SendTaskSuccess",
            code(
                sfn.send_task_success()
                    .task_token("refused")
                    .output("{}")
                    .send()
                    .await,
            ),
        ),
        (
            "sts:AssumeRole",
            code(
                sts.assume_role()
                    .role_arn(member)
                    .role_session_name("test")
                    .external_id(EXTERNAL_ID)
                    .send()
                    .await,
            ),
        ),
    ]
}

#[test]
fn every_function_is_refused_what_only_others_may_do() {
    test(async |platform| {
        Box::pin(prepare(platform)).await?;
        let mut tried = 0;
        let mut wrong = Vec::new();
        let member = format!("{DEPLOYMENT}-s3insights-member");
        for (role, actions) in granted() {
            if !is_counted(&role) || role == member {
                continue;
            }
            let caller = as_function(platform, &role).await?;
            for (action, code) in try_all(platform, &caller).await {
                if actions.contains(action) {
                    continue;
                }
                tried += 1;
                if !is_refusal(code.as_deref()) {
                    wrong.push(format!("{role} {action}: {code:?}"));
                }
            }
        }
        eprintln!("{tried} calls tried");
        assert!(wrong.is_empty(), "not refused:\n{}", wrong.join("\n"));
        Ok(())
    });
}

#[test]
fn the_member_role_refuses_strangers_and_reads_no_object() {
    test(async |platform| {
        Box::pin(prepare(platform)).await?;
        let aws = &platform.aws;
        let arn = format!("arn:aws:iam::{MEMBER}:role/{DEPLOYMENT}-s3insights-member");
        let trusted = as_function(platform, &format!("{DEPLOYMENT}-discover-buckets")).await?;
        let other = as_function(platform, &format!("{DEPLOYMENT}-run-query")).await?;
        let stranger = aws.sdk_config(STRANGER, &aws.region);
        for (who, caller, external_id) in [
            ("another account", &stranger, Some(EXTERNAL_ID)),
            ("another function", &other, Some(EXTERNAL_ID)),
            ("a wrong external id", &trusted, Some("acme-s3insight")),
            ("no external id", &trusted, None),
        ] {
            let answer = assume(platform, caller, &arn, external_id).await;
            let code = answer.expect_err(who);
            assert!(is_refusal(code.as_deref()), "{who}: {code:?}");
        }

        let member = assume(platform, &trusted, &arn, Some(EXTERNAL_ID)).await;
        let member = member.map_err(|code| anyhow::anyhow!("{code:?}"))?;
        let s3 = aws_sdk_s3::Client::new(&member);
        let bucket = "refused-source";
        let versions = s3.list_object_versions().bucket(bucket).send().await?;
        let versions = versions.versions();
        let version = versions.first().context("it holds an object")?;
        let id = version.version_id().unwrap_or("null");
        let body = ByteStream::from_static(b"x");
        let codes = [
            (
                "GetObject",
                code(s3.get_object().bucket(bucket).key("secret").send().await),
            ),
            (
                "GetObjectVersion",
                code(
                    s3.get_object()
                        .bucket(bucket)
                        .key("secret")
                        .version_id(id)
                        .send()
                        .await,
                ),
            ),
            (
                "GetObjectTagging",
                code(
                    s3.get_object_tagging()
                        .bucket(bucket)
                        .key("secret")
                        .send()
                        .await,
                ),
            ),
            (
                "PutObject",
                code(
                    s3.put_object()
                        .bucket(bucket)
                        .key("mine")
                        .body(body)
                        .send()
                        .await,
                ),
            ),
            (
                "DeleteObject",
                code(s3.delete_object().bucket(bucket).key("secret").send().await),
            ),
            (
                "GetBucketPolicy",
                code(s3.get_bucket_policy().bucket(bucket).send().await),
            ),
            (
                "PutBucketPolicy",
                code(
                    s3.put_bucket_policy()
                        .bucket(bucket)
                        .policy("{}")
                        .send()
                        .await,
                ),
            ),
            (
                "DeleteBucket",
                code(s3.delete_bucket().bucket(bucket).send().await),
            ),
        ];
        for (call, code) in codes {
            assert!(is_refusal(code.as_deref()), "{call}: {code:?}");
        }
        Ok(())
    });
}

#[test]
fn another_account_neither_sends_nor_reads_nor_writes() {
    test(async |platform| {
        Box::pin(prepare(platform)).await?;
        let before = objects_under(platform, "").await?;
        let aws = &platform.aws;
        let stranger = aws.sdk_config(STRANGER, &aws.region);
        let sqs = aws_sdk_sqs::Client::new(&stranger);
        let s3 = aws_sdk_s3::Client::new(&stranger);
        let bucket = platform.output("ConsolidatedBucketName");
        let queue = platform.output("NotificationQueueUrl");
        let key = before.first().context("runs left rows")?;
        let body = ByteStream::from_static(b"x");
        let listed = s3.list_objects_v2().bucket(bucket).send().await;
        let codes = BTreeSet::from([
            (
                "GetObject",
                code(s3.get_object().bucket(bucket).key(key).send().await),
            ),
            (
                "PutObject",
                code(
                    s3.put_object()
                        .bucket(bucket)
                        .key(key)
                        .body(body)
                        .send()
                        .await,
                ),
            ),
            (
                "DeleteObject",
                code(s3.delete_object().bucket(bucket).key(key).send().await),
            ),
            ("ListBucket", code(listed)),
        ]);
        for (call, code) in codes {
            assert!(is_refusal(code.as_deref()), "{call}: {code:?}");
        }
        let sent = sqs
            .send_message()
            .queue_url(queue)
            .message_body("{}")
            .send()
            .await;
        // Another account's queue of that name is what it would find, if it had one.
        assert!(code(sent).is_some());
        assert_eq!(objects_under(platform, "").await?, before);
        Ok(())
    });
}
