use futures::try_join;
use serde_json::json;
use shared::run::Outcome;
use tests::{check_done_buckets, check_outcome, leftovers, test};

const ESTATE: &str = r#"
accounts:
  - id: "420000000001"
    buckets:
      - {name: two-runs-left, objects: [{pattern: "a/{n}", count: 12}]}
      - {name: two-runs-empty}
  - id: "420000000002"
    buckets:
      - name: two-runs-both
        region: eu-central-1
        versioning: true
        objects: [{pattern: "b/{n}", count: 20, noncurrent: 1, delete_marker: true}]
        faults: {rows_per_file: 16}
      - {name: two-runs-also-both, region: us-west-2, objects: [{pattern: "c/{n}", count: 9}]}
  - id: "420000000003"
    buckets:
      - {name: two-runs-right, region: us-west-2, objects: [{pattern: "d/{n}", count: 14}]}
"#;

#[test]
fn two_runs_over_the_same_buckets_do_not_disturb_each_other() {
    test(async |platform| {
        platform.build(ESTATE).await?;
        let accounts = ["420000000001", "420000000002", "420000000003"];
        let input = |run_id: &str, accounts: &[&str]| {
            let mut input = platform.input(accounts);
            input["run_id"] = json!(run_id);
            input["status_refresh_minutes"] = json!(1);
            input
        };
        let (left, right) = (
            input("tworunsleft", &accounts[..2]),
            input("tworunsright", &accounts[1..]),
        );
        let (left, right) = try_join!(platform.harvest(&left), platform.harvest(&right))?;
        for (ended, expected) in [
            (
                &left,
                [
                    ("two-runs-left", 12),
                    ("two-runs-both", 60),
                    ("two-runs-also-both", 9),
                ],
            ),
            (
                &right,
                [
                    ("two-runs-both", 60),
                    ("two-runs-also-both", 9),
                    ("two-runs-right", 14),
                ],
            ),
        ] {
            check_outcome(ended, Outcome::Complete);
            for (name, rows) in expected {
                assert_eq!(ended.status(name), Some("done"), "{name}");
                assert_eq!(ended.bucket(name).rows, rows, "{name}");
            }
            assert_eq!(check_done_buckets(platform, ended).await?, 3);
            let run_id = ended.run.run_id.as_str();
            assert_eq!(leftovers(platform, run_id, &accounts).await?, [""; 0]);
        }
        assert_eq!(left.status("two-runs-empty"), Some("bucket_is_empty"));
        assert_eq!(left.status("two-runs-right"), None);
        assert_eq!(right.status("two-runs-left"), None);

        // A later run tells what changed since the newer of the two, over the accounts they share.
        platform
            .s3(accounts[0], "us-east-1")
            .create_bucket()
            .bucket("two-runs-new")
            .send()
            .await?;
        let later = platform
            .harvest(&input("tworunslater", &accounts[..1]))
            .await?;
        check_outcome(&later, Outcome::Complete);
        let mail = platform.mail_of("tworunslater").await?;
        for part in [&mail.text, &mail.html] {
            for said in ["Since run tworunsleft", "1 bucket is new", "two-runs-new"] {
                assert!(part.contains(said), "{said} is not in {part}");
            }
        }
        Ok(())
    });
}
