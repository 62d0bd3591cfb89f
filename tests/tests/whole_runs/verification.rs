use shared::run::Outcome;
use shared::status::InventoryStatus;
use tests::{check_done_buckets, check_outcome, leftovers, objects_under, rows_in_table, test};

const ESTATE: &str = r#"
accounts:
  - id: "460000000001"
    buckets:
      - {name: verification-good, region: eu-west-1, objects: [{pattern: "a/{n}", count: 20}]}
      # The first of four files is wrong, the other three are not.
      - name: verification-md5
        region: eu-west-1
        objects: [{pattern: "a/{n:02}", count: 20}]
        faults: {wrong_file_md5: true, rows_per_file: 5}
      - name: verification-truncated
        objects: [{pattern: "a/{n:02}", count: 20}]
        faults: {truncated_file: true, rows_per_file: 5}
      - name: verification-checksum
        objects: [{pattern: "a/{n}", count: 20}]
        faults: {wrong_manifest_checksum: true}
input:
  other: {run_id: verification, status_refresh_minutes: 1}
"#;

#[test]
fn a_report_that_is_not_what_its_manifest_says_leaves_no_row_in_the_table() {
    test(async |platform| {
        let estate = platform.build(ESTATE).await?;
        let input = estate.run_input(&platform.aws.host_account_id);
        let ended = platform.harvest(&input).await?;
        check_outcome(&ended, Outcome::Partial);

        assert_eq!(ended.status("verification-good"), Some("done"));
        assert_eq!(ended.bucket("verification-good").rows, 20);
        assert_eq!(check_done_buckets(platform, &ended).await?, 1);
        let mail = platform.mail_of("verification").await?;
        for (name, code) in [
            ("verification-md5", "FileMismatch"),
            ("verification-truncated", "FileMismatch"),
            ("verification-checksum", "ManifestChecksumMismatch"),
        ] {
            let bucket = ended.bucket(name);
            assert_eq!(bucket.status, InventoryStatus::VerificationFailed, "{name}");
            let reason = bucket.reason.as_ref().expect("it says why");
            assert_eq!(reason.code, code, "{name}: {reason:?}");
            assert_eq!(rows_in_table(platform, &ended, name).await?, 0, "{name}");
            let partition = format!(
                "inventory/verification/account={}/region={}/bucketname={name}/",
                bucket.account, bucket.region
            );
            // A file that was in hand when the table was made is taken back by its function.
            platform
                .eventually(&format!("no row of {name}"), async || {
                    Ok(objects_under(platform, &partition).await?.is_empty())
                })
                .await?;
            for part in [&mail.text, &mail.html] {
                for said in [name, code, "verification_failed"] {
                    assert!(part.contains(said), "{said} is not in {part}");
                }
            }
        }
        assert_eq!(
            rows_in_table(platform, &ended, "verification-good").await?,
            20
        );
        let left = leftovers(platform, "verification", &["460000000001"]).await?;
        assert_eq!(left, [""; 0]);
        Ok(())
    });
}
