//! The catalogue as saved queries of Athena: `cfn/saved-queries.yaml`, a template that needs nothing but
//! the workgroup and a table.

use std::fmt::Write as _;

use serde_json::json;
use shared::catalogue::{self, Now, Query, Table};

use crate::generated;

const TEMPLATE: &str = "cfn/saved-queries.yaml";

const HEAD: &str = r#"# Made of shared/queries/*.sql; make it anew with `UPDATE_GENERATED=1 cargo test -p tests --test catalogue`.
AWSTemplateFormatVersion: "2010-09-09"
Description: >-
  S3Insights, saved queries: the catalogue over one snapshot, in the Athena console under "Saved queries". Deploy it in the
  host account and Region; deploy it again for another snapshot.

Parameters:
  WorkGroupName:
    Type: String
    Default: s3insights
    Description: The workgroup that gets the queries; the output AthenaWorkGroupName of the platform.
    AllowedPattern: ^[a-zA-Z0-9._-]{1,128}$
    ConstraintDescription: 1 to 128 letters, digits, dots, hyphens and underscores.
  DatabaseName:
    Type: String
    Default: s3insights
    Description: The database of the snapshot, and of the table known_bad_hashes if there is one.
    AllowedPattern: ^[a-z][a-z0-9_]{0,254}$
    ConstraintDescription: 1 to 255 lower-case letters, digits and underscores, the first a letter.
  TableName:
    Type: String
    Description: The table of the snapshot, as the summary of its run names it.
    AllowedPattern: ^[a-z][a-z0-9_]{0,254}$
    ConstraintDescription: 1 to 255 lower-case letters, digits and underscores, the first a letter.

Resources:
"#;

/// `stale-buckets` as `StaleBuckets`.
fn logical_id(query: &Query) -> String {
    let capitalised = |word: &str| {
        let (first, rest) = word.split_at(1);
        first.to_uppercase() + rest
    };
    query.id.split('-').map(capitalised).collect()
}

fn resource(query: &Query) -> String {
    let table = Table {
        database: "${DatabaseName}",
        table: "${TableName}",
    };
    let sql = query.sql_over(table, Now::WhenRun, &query.defaults());
    let description = format!("{} {}", query.tells, query.action);
    // The limits of Athena.
    assert!(
        query.title.len() <= 128 && description.len() <= 1024,
        "{}",
        query.id
    );
    let mut resource = format!("  {}:\n", logical_id(query));
    let _ = writeln!(
        resource,
        "    Type: AWS::Athena::NamedQuery\n    Properties:\n      Name: {}\n      Description: {}\n      \
         WorkGroup: !Ref WorkGroupName\n      Database: !Ref DatabaseName\n      QueryString: !Sub |-",
        json!(query.title),
        json!(description),
    );
    for line in sql.lines() {
        let _ = writeln!(resource, "        {line}");
    }
    resource
}

#[test]
fn the_template_of_saved_queries_is_not_stale() {
    let resources: Vec<String> = catalogue::all().iter().map(resource).collect();
    let template = format!("{HEAD}{}", resources.join("\n"));
    // What is sent with the call that deploys it, and not read from a bucket, ends here.
    assert!(template.len() < 51_200, "{} bytes", template.len());
    generated::check(TEMPLATE, &template);
}
