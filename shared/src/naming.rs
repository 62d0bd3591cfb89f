//! Names that derive from the run: what makes a repeated task find what the first attempt made.
//! Physical names of resources are spelled in `cfn/` only; here are the few that the tasks must
//! know to find things without a record, and the layout of keys.

use crate::ids::{AccountId, BucketName, DeploymentName, Region, RunId};

/// Tag on every destination stack: the deployment that made it.
pub const DEPLOYMENT_TAG: &str = "s3insights:deployment";
/// Tag on every destination stack: the run it belongs to.
pub const RUN_ID_TAG: &str = "s3insights:run-id";

/// Parameters of the destination's template that name the accounts it takes reports of.
pub const SOURCE_ACCOUNTS_PARAMETERS: [&str; 4] = [
    "SourceAccounts",
    "SourceAccounts2",
    "SourceAccounts3",
    "SourceAccounts4",
];

/// Id of the inventory configuration that a run puts on its source buckets.
pub fn configuration_id(deployment: &DeploymentName, run_id: &RunId) -> String {
    format!("s3insights-{deployment}-{run_id}")
}

/// The run that a configuration id belongs to; `None` for a stranger's or another deployment's.
pub fn run_of_configuration(deployment: &DeploymentName, configuration_id: &str) -> Option<RunId> {
    configuration_id
        .strip_prefix("s3insights-")?
        .strip_prefix(deployment.as_str())?
        .strip_prefix('-')
        .and_then(|run_id| RunId::try_from(run_id).ok())
}

/// Whether a bucket of the host account is the platform's own: the consolidated bucket, or the
/// destination of some run. Such buckets are never source buckets.
pub fn is_own_bucket(deployment: &DeploymentName, host: &AccountId, bucket: &BucketName) -> bool {
    let Some(rest) = bucket
        .as_str()
        .strip_prefix(deployment.as_str())
        .and_then(|rest| rest.strip_prefix('-'))
    else {
        return false;
    };
    let mut parts = rest.splitn(3, '-');
    let (first, second) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    first == host.as_str() || (second == host.as_str() && RunId::try_from(first).is_ok())
}

/// Name of the stack that makes the inventory destination of one run in one Region.
pub fn destination_stack(deployment: &DeploymentName, run_id: &RunId, region: &Region) -> String {
    format!("{deployment}-{run_id}-{region}")
}

/// Where the consolidated bucket holds the rows of a run; the location of its table.
pub fn snapshot_prefix(run_id: &RunId) -> String {
    format!("inventory/{run_id}/")
}

/// Where the rows of one source bucket are; the location of its partition.
pub fn partition_prefix(
    run_id: &RunId,
    account: &AccountId,
    region: &Region,
    bucket: &BucketName,
) -> String {
    format!(
        "{}account={account}/region={region}/bucketname={bucket}/",
        snapshot_prefix(run_id)
    )
}

/// Where the totals of a run's files are.
pub fn totals_prefix(run_id: &RunId) -> String {
    format!("totals/{run_id}/")
}

/// Totals of one inventory file.
pub fn file_totals_key(
    run_id: &RunId,
    account: &AccountId,
    bucket: &BucketName,
    file: &str,
) -> String {
    format!("{}{account}/{bucket}/{file}.json", totals_prefix(run_id))
}

/// Totals of the whole snapshot.
pub fn run_totals_key(run_id: &RunId) -> String {
    format!("{}totals.json", totals_prefix(run_id))
}

/// Top prefixes of the largest source buckets.
pub fn top_prefixes_key(run_id: &RunId) -> String {
    format!("{}top-prefixes.json", totals_prefix(run_id))
}

/// What the keys of a query's results begin with; `cfn/host.yaml` has the workgroup put them there.
pub fn query_results_prefix(execution_id: &str) -> String {
    format!("query-results/{execution_id}")
}

/// Where the summary of a run is kept; `form` is `json`, `html` or `txt`.
pub fn summary_key(run_id: &RunId, form: &str) -> String {
    format!("reports/{run_id}/summary.{form}")
}

/// The report page of a run.
pub fn report_key(run_id: &RunId) -> String {
    format!("reports/{run_id}/index.html")
}

/// The bucket name that stands for a Region in a smoke run. It is never created: only a report
/// about it is.
pub fn smoke_test_bucket(run_id: &RunId, region: &Region) -> BucketName {
    BucketName::try_from(format!("smoke-test-{run_id}-{region}"))
        .expect("run ids and Regions hold only what bucket names may")
}

/// Most bytes of [`file_stem`]. With everything that stands before and behind it in keys of ours and in the
/// run table, it stays below the 1,024 bytes that either has.
pub const MAX_FILE_STEM_BYTES: usize = 255;

/// Whether a [`file_stem`] may name files of a snapshot. Athena passes over files whose names begin with
/// `_` or `.`, so their rows would be missing from the table.
pub fn is_file_stem(stem: &str) -> bool {
    (1..=MAX_FILE_STEM_BYTES).contains(&stem.len())
        && !stem.starts_with('_')
        && !stem.contains(|c: char| matches!(c, '/' | '.') || c.is_control())
}

/// The name of a delivered data file without its folders and its ending: what the consolidated
/// file and its totals are named after.
pub fn file_stem(key: &str) -> &str {
    let name = key.rsplit('/').next().unwrap_or(key);
    name.split_once('.').map_or(name, |(stem, _)| stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_id_leads_back_to_its_run() {
        let deployment = DeploymentName::try_from("insights").unwrap();
        let run_id = RunId::try_from("nightly").unwrap();
        let id = configuration_id(&deployment, &run_id);
        assert!(id.len() <= 64);
        assert_eq!(run_of_configuration(&deployment, &id), Some(run_id));
        for stranger in [
            "",
            "daily",
            "s3insights-insights",
            "s3insights-insights-",
            "s3insights-insights2-nightly",
            "s3insights-insights-Nightly",
            "s3insights-insights-a/../b",
            "x3insights-insights-nightly",
        ] {
            assert_eq!(
                run_of_configuration(&deployment, stranger),
                None,
                "{stranger}"
            );
        }
    }

    #[test]
    fn the_platform_knows_its_own_buckets() {
        let deployment = DeploymentName::try_from("insights").unwrap();
        let host = AccountId::try_from("123456789012").unwrap();
        let cases = [
            ("insights-123456789012-us-east-1-consolidated", true),
            ("insights-nightly-123456789012-eu-west-1", true),
            ("insights-nightly-210987654321-eu-west-1", false),
            ("insights-backup", false),
            ("insights2-nightly-123456789012-eu-west-1", false),
            ("my-insights-nightly-123456789012", false),
        ];
        for (name, own) in cases {
            let bucket = BucketName::try_from(name).unwrap();
            assert_eq!(is_own_bucket(&deployment, &host, &bucket), own, "{name}");
        }
    }

    #[test]
    fn a_name_of_any_file_fits_into_keys_and_is_seen_by_athena() {
        let longest = "x".repeat(MAX_FILE_STEM_BYTES);
        let (run_id, account) = (RunId::try_from("abcdefghij012345"), "111111111111".parse());
        let (run_id, account): (_, AccountId) = (run_id.unwrap(), account.unwrap());
        let region = Region::try_from("ap-southeast-123456789-1").unwrap();
        let bucket = BucketName::try_from("b".repeat(255)).unwrap();
        let prefix = partition_prefix(&run_id, &account, &region, &bucket);
        assert!(format!("{prefix}{longest}.parquet").len() <= 1_024);
        assert!(file_totals_key(&run_id, &account, &bucket, &longest).len() <= 1_024);
        for (stem, is_one) in [
            ("0c5e-11", true),
            (&longest, true),
            (&format!("{longest}x"), false),
            ("", false),
            ("_0c5e", false),
            ("..", false),
            ("a/b", false),
            ("a\0", false),
        ] {
            assert_eq!(is_file_stem(stem), is_one, "{stem}");
        }
    }

    #[test]
    fn a_file_is_named_after_what_s3_delivered() {
        assert_eq!(file_stem("1/b/c/data/0c5e-11.parquet"), "0c5e-11");
        assert_eq!(file_stem("data/0c5e-11.csv.gz"), "0c5e-11");
        assert_eq!(file_stem("plain"), "plain");
    }
}
