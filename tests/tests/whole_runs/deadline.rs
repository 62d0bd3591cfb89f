use shared::run::Outcome;
use shared::status::InventoryStatus;
use tests::{check_done_buckets, check_outcome, leftovers, objects_under, rows_in_table, test};

const ESTATE: &str = r#"
accounts:
  - id: "410000000001"
    buckets:
      - {name: deadline-prompt, region: eu-west-1, objects: [{pattern: "a/{n}", count: 15}]}
      - name: deadline-held
        region: eu-west-1
        objects: [{pattern: "b/{n}", count: 15}]
        faults: {hold: true}
      - name: deadline-unfinished
        region: us-west-2
        objects: [{pattern: "c/{n:02}", count: 20}]
        faults: {rows_per_file: 5, missing_file: true}
input:
  other: {run_id: deadline, inventory_timeout_minutes: 1, status_refresh_minutes: 1}
"#;

#[test]
fn the_deadline_ends_the_wait_and_the_summary_says_for_whom() {
    test(async |platform| {
        let estate = platform.build(ESTATE).await?;
        let input = estate.run_input(&platform.aws.host_account_id);
        let ended = platform.harvest(&input).await?;
        // Nobody waits for it any more.
        platform.aws.clear_faults("deadline-held").await?;
        check_outcome(&ended, Outcome::Partial);

        assert_eq!(ended.status("deadline-prompt"), Some("done"));
        assert_eq!(check_done_buckets(platform, &ended).await?, 1);
        let mail = platform.mail_of("deadline").await?;
        for (name, said) in [
            ("deadline-held", "no report came by"),
            ("deadline-unfinished", "3 of 4 files"),
        ] {
            let bucket = ended.bucket(name);
            assert_eq!(bucket.status, InventoryStatus::InProgress, "{name}");
            let reason = bucket.reason.as_ref().expect("it says why");
            assert_eq!(reason.code, "DeadlinePassed");
            assert!(reason.message.contains(said), "{reason:?}");
            for part in [&mail.text, &mail.html] {
                for said in [name, "DeadlinePassed", said, "partial"] {
                    assert!(part.contains(said), "{said} is not in {part}");
                }
            }
            assert_eq!(rows_in_table(platform, &ended, name).await?, 0, "{name}");
            let partition = format!(
                "inventory/deadline/account={}/region={}/bucketname={name}/",
                bucket.account, bucket.region
            );
            assert_eq!(objects_under(platform, &partition).await?, [""; 0]);
        }
        let left = leftovers(platform, "deadline", &["410000000001"]).await?;
        assert_eq!(left, [""; 0]);
        Ok(())
    });
}
