use anyhow::{Context, Result};
use aws_sdk_glue::types::{DatabaseInput, TableInput};
use futures::future::try_join_all;
use serde_json::{Value, json};
use shared::aws::Execution;
use shared::ids::RunId;
use shared::run::Outcome;
use tests::{Platform, check_outcome, leftovers, test};

const ACCOUNT: &str = "510000000001";
const ESTATE: &str = r#"
accounts:
  - id: "510000000001"
    buckets:
      - {name: bad-inputs, objects: [{pattern: "a/{n}", count: 10}]}
"#;

/// What the task said, out of the cause in which Lambda wraps it.
fn answer(execution: &Execution) -> Result<String> {
    let cause = execution.cause.as_deref().context("it says why")?;
    let cause: Value = serde_json::from_str(cause)?;
    Ok(cause["errorMessage"]
        .as_str()
        .context(cause.to_string())?
        .to_owned())
}

/// Starts the Harvester with an input that has to be refused before anything is made. Gives the
/// answer.
async fn refused(platform: &Platform, input: &Value) -> Result<String> {
    let execution = platform.start_harvester(input).await?;
    let ended = platform.ended(&execution).await?;
    assert_eq!(ended.status, "FAILED", "{input}: {ended:#?}");
    assert_eq!(ended.error.as_deref(), Some("InvalidInput"), "{ended:#?}");
    let run = platform.run_of(&execution).await?;
    assert_eq!(run, None, "{input}");
    if let Some(run_id) = input["run_id"].as_str()
        && RunId::try_from(run_id).is_ok()
    {
        assert_eq!(leftovers(platform, run_id, &[ACCOUNT]).await?, [""; 0]);
        assert_eq!(platform.mails_of(run_id).await?, []);
    }
    answer(&ended)
}

#[test]
fn a_bad_input_is_refused_with_the_path_of_the_field_before_anything_is_made() {
    test(async |platform| {
        make_table(platform).await?;
        let with = |field: &str, value: Value| {
            let mut input = platform.input(&[ACCOUNT]);
            input["run_id"] = json!(format!("bad{}", field.len()));
            input[field] = value;
            input
        };
        let recipients: Vec<String> = (0..51).map(|n| format!("person{n}@example.com")).collect();
        let mut table = with("athena_table_name", json!("taken"));
        table["athena_database_name"] = json!("bad_inputs");
        let cases = [
            (with("accounts", json!([])), "accounts: "),
            (
                with("accounts", json!([{"id": "12345678901"}])),
                "accounts[0].id: ",
            ),
            (
                with("accounts", json!([{"id": ACCOUNT}, {"id": ACCOUNT}])),
                "accounts[1].id: ",
            ),
            (
                with("accounts", json!([{"id": ACCOUNT, "exclude": "logs-*"}])),
                "accounts[0].exclude: ",
            ),
            (with("colour", json!("red")), "colour: unknown field"),
            (with("run_id", json!("my-run")), "run_id: "),
            (
                table,
                "athena_table_name: table taken of database bad_inputs exists",
            ),
            (
                with("athena_database_name", json!("a; drop table x")),
                "athena_database_name: ",
            ),
            (
                with("athena_queries", json!([{"catalog": "unheard-of"}])),
                "athena_queries[0].catalog: ",
            ),
            (
                with("recipient_email_addresses", json!([])),
                "recipient_email_addresses: ",
            ),
            (
                with("recipient_email_addresses", json!(recipients)),
                "recipient_email_addresses: 51 recipients",
            ),
            (
                with("supported_regions", json!(["us-east-1", "eu-nowhere-1"])),
                "supported_regions[1]: ",
            ),
            (
                json!(["not", "an", "object"]),
                "input: must be a JSON object",
            ),
        ];
        try_join_all(cases.iter().map(async |(input, said)| {
            let cause = refused(platform, input).await?;
            assert!(cause.contains("has 1 problem(s)"), "{input}: {cause}");
            assert!(cause.contains(&format!("- {said}")), "{input}: {cause}");
            anyhow::Ok(())
        }))
        .await?;
        Ok(())
    });
}

#[test]
fn all_that_is_wrong_with_an_input_is_in_one_answer() {
    test(async |platform| {
        let recipients: Vec<String> = (0..51).map(|n| format!("person{n}@example.com")).collect();
        let cause = refused(
            platform,
            &json!({
                "run_id": "my-run",
                "accounts": [
                    {"id": "12345678901"},
                    {"id": ACCOUNT, "exclude": "logs-*"},
                    {"id": ACCOUNT},
                    {"id": 510_000_000_002_u64, "name": "production"},
                ],
                "athena_database_name": "a; drop table x",
                "athena_table_name": "Objects",
                "is_smoke_test": "no",
                "athena_queries": [{"catalog": "unheard-of"}, {"name": "no query"}],
                "recipient_email_addresses": recipients,
                "supported_regions": ["eu-nowhere-1"],
                "inventory_timeout_minutes": 0,
                "colour": "red",
            }),
        )
        .await?;
        for path in [
            "colour",
            "run_id",
            "accounts[0].id",
            "accounts[1].exclude",
            "accounts[2].id",
            "accounts[3].name",
            "accounts[3].id",
            "athena_database_name",
            "athena_table_name",
            "is_smoke_test",
            "athena_queries[0].catalog",
            "athena_queries[1].query",
            "sender_email_address",
            "recipient_email_addresses",
            "supported_regions[0]",
            "inventory_timeout_minutes",
        ] {
            assert!(cause.contains(&format!("\n- {path}: ")), "{path}: {cause}");
        }
        assert!(cause.contains("has 16 problem(s)"), "{cause}");
        Ok(())
    });
}

#[test]
fn a_query_that_does_not_read_the_snapshot_is_a_warning_and_a_used_run_id_an_error() {
    test(async |platform| {
        platform.build(ESTATE).await?;
        let mut input = platform.input(&[ACCOUNT]);
        input["run_id"] = json!("doubtful");
        input["status_refresh_minutes"] = json!(1);
        input["athena_queries"] = json!([{"name": "one", "query": "SELECT 1 AS one"}]);
        let ended = platform.harvest(&input).await?;
        check_outcome(&ended, Outcome::Complete);
        let warned: Vec<&str> = ended
            .run
            .warnings
            .iter()
            .map(|warning| warning.path.as_str())
            .collect();
        assert_eq!(warned, ["athena_queries[0].query"]);
        let mail = platform.mail_of("doubtful").await?;
        for part in [&mail.text, &mail.html] {
            assert!(part.contains("athena_queries[0].query"), "{part}");
        }

        let execution = platform.start_harvester(&input).await?;
        let second = platform.ended(&execution).await?;
        assert_eq!(second.status, "FAILED", "{second:#?}");
        assert_eq!(second.error.as_deref(), Some("InvalidInput"));
        let cause = answer(&second)?;
        assert!(cause.contains("- run_id: doubtful was used by "), "{cause}");
        assert!(cause.contains("- athena_table_name: "), "{cause}");
        let first = platform.finish(&ended.execution.arn).await?;
        assert_eq!(first.run, ended.run, "the first run is as it was");
        assert_eq!(leftovers(platform, "doubtful", &[ACCOUNT]).await?, [""; 0]);
        Ok(())
    });
}

/// A table of somebody else's.
async fn make_table(platform: &Platform) -> Result<()> {
    let aws = &platform.aws;
    let glue = aws_sdk_glue::Client::new(&aws.sdk_config(&aws.host_account_id, &aws.region));
    glue.create_database()
        .database_input(DatabaseInput::builder().name("bad_inputs").build()?)
        .send()
        .await?;
    glue.create_table()
        .database_name("bad_inputs")
        .table_input(TableInput::builder().name("taken").build()?)
        .send()
        .await?;
    Ok(())
}
