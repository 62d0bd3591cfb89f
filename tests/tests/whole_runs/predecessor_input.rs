use serde_json::json;
use shared::run::{Outcome, QueryState};
use tests::{check_done_buckets, check_outcome, leftovers, query, test};

const ESTATE: &str = r#"
accounts:
  - id: "450000000001"
    buckets:
      - name: predecessor-logs
        region: eu-west-1
        objects: [{pattern: "logs/{n}.gz", count: 25, size: 400}, {key: index.html, size: 50}]
      - {name: predecessor-scratch, objects: [{key: a}]}
  - id: "450000000002"
    buckets:
      - {name: predecessor-data, region: us-west-2, objects: [{pattern: "data/{n}.csv", count: 7}]}
      - {name: predecessor-far-away, region: ap-southeast-1, objects: [{key: a}]}
"#;

#[test]
fn the_input_of_the_predecessor_starts_a_run_that_ends_well() {
    test(async |platform| {
        platform.build(ESTATE).await?;
        let input = json!({
            "run_id": "predecessor",
            "accounts": [
                {"id": "450000000001", "exclude": ["*-scratch"]},
                {"id": "450000000002", "exclude": []},
            ],
            "athena_database_name": "predecessor_inventory",
            "athena_table_name": "objects",
            "is_smoke_test": false,
            "athena_queries": [
                {
                    "name": "Objects of a bucket",
                    "query": "SELECT \"key\", size FROM {ATHENA_TABLE} WHERE bucketname = 'predecessor-logs'",
                },
                {
                    "name": "Bytes by account and Region",
                    "query": "SELECT account, region, bucket, sum(size) AS bytes FROM {ATHENA_TABLE} \
                              WHERE is_latest AND NOT is_delete_marker GROUP BY account, region, bucket",
                },
                {
                    "name": "Nothing",
                    "query": "SELECT * FROM {ATHENA_TABLE} WHERE size > 1000000000000",
                },
            ],
            "sender_email_address": "s3insights@example.com",
            "recipient_email_addresses": ["security@example.com"],
            "supported_regions": ["us-east-1", "us-west-2", "eu-west-1"],
        });
        let ended = platform.harvest(&input).await?;
        check_outcome(&ended, Outcome::Complete);
        assert_eq!(ended.run.run_id.as_str(), "predecessor");
        assert_eq!(check_done_buckets(platform, &ended).await?, 2);
        for left_out in ["predecessor-scratch", "predecessor-far-away"] {
            assert_eq!(ended.status(left_out), Some("left_out"));
        }
        assert!(ended.run.warnings.is_empty(), "{:?}", ended.run.warnings);

        let counted: Vec<_> = ended
            .parts
            .queries
            .iter()
            .map(|query| (query.name.as_str(), query.state, query.rows))
            .collect();
        assert_eq!(
            counted,
            [
                ("Objects of a bucket", QueryState::Succeeded, Some(26)),
                (
                    "Bytes by account and Region",
                    QueryState::Succeeded,
                    Some(2)
                ),
                ("Nothing", QueryState::Succeeded, Some(0)),
            ]
        );
        let bytes = query(
            platform,
            "predecessor_inventory",
            &ended.parts.queries[1].sql,
        )
        .await?;
        let logs = ["450000000001", "eu-west-1", "predecessor-logs", "10050"];
        assert!(bytes.iter().any(|row| row == &logs), "{bytes:?}");
        let mail = platform.mail_of("predecessor").await?;
        assert!(mail.subject.ends_with("complete"), "{}", mail.subject);
        let finding = "yours            26 rows  Objects of a bucket\n    key | size\n    - ";
        assert!(mail.text.contains(finding), "{}", mail.text);
        let accounts = ["450000000001", "450000000002"];
        let left = leftovers(platform, "predecessor", &accounts).await?;
        assert_eq!(left, [""; 0]);
        Ok(())
    });
}
