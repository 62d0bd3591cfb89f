use shared::run::Outcome;
use tests::{check_done_buckets, check_outcome, configurations, leftovers, test};

const ESTATE: &str = r#"
accounts:
  - id: "490000000001"
    buckets:
      - {name: configurations-quick, objects: [{pattern: "a/{n}", count: 10}]}
      - name: configurations-held
        region: eu-west-1
        objects: [{pattern: "a/{n}", count: 10}]
        faults: {hold: true}
input:
  other: {run_id: configurations, status_refresh_minutes: 1}
"#;
const ACCOUNT: &str = "490000000001";

#[test]
fn a_configuration_goes_with_its_report_while_others_are_waited_for() {
    test(async |platform| {
        let estate = platform.build(ESTATE).await?;
        let input = estate.run_input(&platform.aws.host_account_id);
        let execution = platform.start_harvester(&input).await?;
        platform
            .bucket_is("configurations", "configurations-held", |bucket| {
                bucket.configured
            })
            .await?;
        platform
            .bucket_is("configurations", "configurations-quick", |bucket| {
                bucket.configuration_removed
            })
            .await?;
        let quick = configurations(platform, ACCOUNT, "us-east-1", "configurations-quick").await?;
        assert_eq!(quick, [""; 0]);
        let held = configurations(platform, ACCOUNT, "eu-west-1", "configurations-held").await?;
        assert_eq!(held, ["s3insights-insights-configurations"]);
        let now = platform.clients.execution(&execution).await?;
        assert!(now.is_running(), "{now:#?}");
        let deliveries = platform.aws.deliveries("configurations-held").await?;
        assert_eq!(deliveries, []);

        platform.aws.clear_faults("configurations-held").await?;
        let ended = platform.finish(&execution).await?;
        check_outcome(&ended, Outcome::Complete);
        assert_eq!(check_done_buckets(platform, &ended).await?, 2);
        let left = leftovers(platform, "configurations", &[ACCOUNT]).await?;
        assert_eq!(left, [""; 0]);
        Ok(())
    });
}
