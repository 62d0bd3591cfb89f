use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use local_aws::Mail;
use local_aws::estate::{BUILT_IN, Bucket, Objects};
use serde_json::json;
use shared::ids::BucketName;
use shared::naming;
use shared::run::Outcome;
use shared::status::InventoryStatus;
use shared::top_prefixes::TopPrefixes;
use tests::{
    Ended, Platform, check_done_buckets, check_outcome, leftovers, objects_under, snapshot_of, test,
};

/// The bucket of the estate whose policy refuses the inventory configuration.
const CLOSED: &str = "acme-legal-hold";

#[test]
fn every_bucket_ends_as_it_must_and_every_row_is_there() {
    test(async |platform| {
        let estate = platform.build(BUILT_IN).await?;
        let input = estate.run_input(&platform.aws.host_account_id);
        let ended = platform.harvest(&input).await?;
        check_outcome(&ended, Outcome::Partial);

        let expected: BTreeMap<&str, Option<&str>> = estate
            .buckets()
            .map(|(_, bucket)| (bucket.name.as_str(), Some(bucket.expectation().as_str())))
            .collect();
        let found: BTreeMap<&str, Option<&str>> = expected
            .keys()
            .map(|name| (*name, ended.status(name)))
            .collect();
        assert_eq!(found, expected);
        for bucket in &ended.parts.buckets {
            let has_reason = bucket.reason.is_some();
            assert_eq!(has_reason, !bucket.status.is_covered(), "{bucket:#?}");
        }

        check_done_buckets(platform, &ended).await?;
        for (_, bucket) in estate.buckets() {
            if ended.status(&bucket.name) == Some(InventoryStatus::Done.name()) {
                check_keys(platform, &ended, bucket).await?;
            }
        }
        let run_id = ended.run.run_id.as_str();
        check_mail(&platform.mail_of(run_id).await?, &ended);
        check_page(platform, &ended).await?;
        check_repeated_cleanup(platform, &ended).await?;
        let accounts: Vec<&str> = estate.accounts.iter().map(|a| a.id.as_str()).collect();
        assert_eq!(leftovers(platform, run_id, &accounts).await?, [""; 0]);
        Ok(())
    });
}

/// The keys in the table are those of the estate file, byte for byte.
async fn check_keys(platform: &Platform, ended: &Ended, bucket: &Bucket) -> Result<()> {
    let input = &ended.run.input;
    let snapshot = snapshot_of(
        platform,
        &input.athena_database_name,
        &input.athena_table_name,
        ended.bucket(&bucket.name),
    )
    .await?;
    let in_table: BTreeSet<Vec<u8>> = snapshot
        .in_table
        .into_iter()
        .map(|(key, ..)| key.into_bytes())
        .collect();
    let in_estate: BTreeSet<Vec<u8>> = bucket
        .objects
        .iter()
        .flat_map(Objects::all_keys)
        .map(String::into_bytes)
        .collect();
    assert_eq!(in_table, in_estate, "{}", bucket.name);
    Ok(())
}

fn check_mail(mail: &Mail, ended: &Ended) {
    let reason = ended.bucket(CLOSED).reason.as_ref().expect("it is closed");
    assert_eq!(
        reason.missing_permission.as_deref(),
        Some("s3:PutInventoryConfiguration")
    );
    assert_eq!(mail.from, ended.run.input.sender_email_address);
    assert_eq!(mail.to, ended.run.input.recipient_email_addresses);
    for part in [&mail.subject, &mail.text, &mail.html] {
        assert!(part.contains("partial"), "{part}");
    }
    assert!(mail.html.len() < 90_000 && mail.text.len() < 90_000);
    for part in [&mail.text, &mail.html] {
        for said in [
            // A row of what was found, and where all of it is.
            "id_rsa",
            "query-results",
            "index.html",
            CLOSED,
            &reason.code,
            "s3:PutInventoryConfiguration",
            "inventory_configuration_not_created",
            "acme-short-lived",
            "bucket_not_available",
            "acme-athena-scratch",
        ] {
            assert!(part.contains(said), "{said} is not in {part}");
        }
    }
}

/// The report page has every source bucket, what was found, and the top prefixes of the buckets that
/// are done.
async fn check_page(platform: &Platform, ended: &Ended) -> Result<()> {
    let home = BucketName::try_from(platform.output("ConsolidatedBucketName"))?;
    let objects = platform.clients.objects(&platform.clients.region());
    let stored = async |key: String| objects.get(&home, &key).await?.context(key);
    let run_id = &ended.run.run_id;
    let page = String::from_utf8(stored(naming::report_key(run_id)).await?.to_vec())?;
    for bucket in &ended.parts.buckets {
        assert!(page.contains(bucket.bucket.as_str()), "{}", bucket.bucket);
    }
    for said in ["partial", "id_rsa", "s3:PutInventoryConfiguration"] {
        assert!(page.contains(said), "{said} is not in the page");
    }
    let prefixes = stored(naming::top_prefixes_key(run_id)).await?;
    let prefixes: TopPrefixes = serde_json::from_slice(&prefixes)?;
    let done = ended
        .parts
        .buckets
        .iter()
        .filter(|bucket| bucket.status == InventoryStatus::Done && bucket.objects > 0);
    let mut of_buckets = 0;
    for bucket in done {
        let kept = prefixes
            .buckets
            .iter()
            .find(|entry| entry.bucket == bucket.bucket)
            .with_context(|| format!("no prefixes of {}", bucket.bucket))?;
        let listed = kept.prefixes.iter().map(|entry| entry.tally.version_bytes);
        let sum = listed.sum::<u64>() + kept.other.version_bytes;
        assert_eq!(sum, bucket.bytes, "{}", bucket.bucket);
        of_buckets += 1;
    }
    ensure!(of_buckets > 5, "only {of_buckets} buckets hold objects");
    Ok(())
}

/// Cleanup of everything, once more: it succeeds and changes nothing.
async fn check_repeated_cleanup(platform: &Platform, ended: &Ended) -> Result<()> {
    let run_id = &ended.run.run_id;
    let kept = async || {
        let mut keys = Vec::new();
        for kind in ["inventory", "totals", "reports"] {
            keys.extend(objects_under(platform, &format!("{kind}/{run_id}/")).await?);
        }
        anyhow::Ok(keys)
    };
    let before = kept().await?;
    ensure!(before.iter().any(|key| key.starts_with("inventory/")));
    platform.clean_up(&json!({"manual_cleanup": true})).await?;
    assert_eq!(kept().await?, before);
    let again = platform.finish(&ended.execution.arn).await?;
    assert_eq!(again.run, ended.run);
    assert_eq!(format!("{:?}", again.parts), format!("{:?}", ended.parts));
    assert_eq!(platform.mails_of(run_id.as_str()).await?.len(), 1);
    check_done_buckets(platform, &again).await?;
    Ok(())
}
