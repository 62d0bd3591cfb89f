//! Roles, policies and principals of the templates.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::documents::{one_or_many, resources, template, templates, text, walk};

/// Every policy statement of a template.
fn statements(template: &Value) -> Vec<&Value> {
    let mut found = Vec::new();
    walk(template, &mut |value| {
        if value.get("Effect").is_some() {
            found.push(value);
        }
    });
    assert!(!found.is_empty());
    found
}

#[test]
fn every_function_has_a_role_of_its_own() {
    let host = template("host");
    let functions = resources(&host, "AWS::Serverless::Function");
    let mut roles = BTreeMap::new();
    for (name, function) in &functions {
        let properties = &function["Properties"];
        assert!(
            properties.get("Policies").is_none(),
            "{name} has policies besides its role's"
        );
        let role = properties["Role"]["Fn::GetAtt"].as_str().unwrap();
        if let Some(other) = roles.insert(role, name) {
            panic!("{name} and {other} share {role}");
        }
    }
    assert_eq!(roles.len(), functions.len());
}

#[test]
fn no_action_is_allowed_by_wildcard() {
    for (name, template) in templates() {
        for statement in statements(&template) {
            if statement["Effect"] != "Allow" {
                continue;
            }
            assert!(statement.get("NotAction").is_none(), "{name}: {statement}");
            for action in one_or_many(&statement["Action"]) {
                assert!(!action.as_str().unwrap().contains('*'), "{name}: {action}");
            }
        }
    }
}

#[test]
fn a_resource_is_everything_only_where_a_comment_says_why() {
    for (name, _) in templates() {
        let text = text(&format!("cfn/{name}.yaml"));
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let is_everything = line.trim_start().starts_with("Resource: \"*\"")
                || line.trim_start() == "- \"*\""
                || line.contains("Resource: ['*']");
            if !is_everything {
                continue;
            }
            let head = lines[..=number]
                .iter()
                .rev()
                .find(|line| line.contains("- Sid:"))
                .unwrap_or_else(|| panic!("{name}.yaml:{}: no Sid above", number + 1));
            assert!(
                head.contains('#') || line.contains('#'),
                "{name}.yaml:{}: say why the resource is everything",
                number + 1
            );
        }
    }
}

#[test]
fn services_act_for_this_account_only() {
    for (name, template) in templates() {
        for statement in statements(&template) {
            let services = one_or_many(&statement["Principal"]["Service"]);
            // Lambda sends no source with the call that assumes a function's role.
            if services.is_empty() || services == ["lambda.amazonaws.com"] {
                continue;
            }
            let condition = statement["Condition"].to_string();
            assert!(
                condition.contains("aws:SourceAccount")
                    || condition.contains(":${AWS::AccountId}:"),
                "{name}: a confused {services:?} could act for others"
            );
        }
    }
}

#[test]
fn everything_that_holds_data_or_messages_refuses_plain_http() {
    for (name, template) in templates() {
        for (kind, policy, field) in [
            ("AWS::S3::Bucket", "AWS::S3::BucketPolicy", "Bucket"),
            ("AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "Queues"),
            ("AWS::SNS::Topic", "AWS::SNS::TopicPolicy", "Topics"),
        ] {
            let guarded: BTreeSet<&str> = resources(&template, policy)
                .into_iter()
                .filter(|(_, policy)| {
                    statements(policy).iter().any(|statement| {
                        statement["Effect"] == "Deny"
                            && statement["Condition"]["Bool"]["aws:SecureTransport"] == "false"
                    })
                })
                .flat_map(|(_, policy)| one_or_many(&policy["Properties"][field]))
                .map(|reference| reference["Ref"].as_str().unwrap())
                .collect();
            for (resource, _) in resources(&template, kind) {
                assert!(
                    guarded.contains(resource),
                    "{name}: {resource} takes plain HTTP"
                );
            }
        }
    }
}

/// A document with the host account spelled as in the member template.
fn spelled_as_member(value: &Value) -> Value {
    let text = value
        .to_string()
        .replace("${AWS::AccountId}", "${HostAccountId}");
    serde_json::from_str(&text).expect("it was JSON before")
}

#[test]
fn the_role_in_the_host_account_is_that_of_every_member() {
    let host = &template("host")["Resources"]["MemberRole"]["Properties"];
    let member = &template("member-account")["Resources"]["MemberRole"]["Properties"];
    for field in ["RoleName", "AssumeRolePolicyDocument", "Policies"] {
        assert_eq!(spelled_as_member(&host[field]), member[field], "{field}");
    }
}

#[test]
fn the_member_role_trusts_exactly_the_roles_that_may_assume_it() {
    let host = template("host");
    let mut able = BTreeSet::new();
    for (_, role) in resources(&host, "AWS::IAM::Role") {
        let policies = &role["Properties"]["Policies"];
        let assumes = statements(policies).iter().any(|statement| {
            one_or_many(&statement["Action"]).contains(&&Value::from("sts:AssumeRole"))
        });
        if assumes {
            able.insert(
                role["Properties"]["RoleName"]["Fn::Sub"]
                    .as_str()
                    .unwrap()
                    .to_owned(),
            );
        }
    }
    let member = template("member-account");
    let trust = &member["Resources"]["MemberRole"]["Properties"]["AssumeRolePolicyDocument"];
    let statement = &trust["Statement"][0];
    let root = "arn:${AWS::Partition}:iam::${HostAccountId}:root";
    assert_eq!(statement["Principal"]["AWS"]["Fn::Sub"], root);
    let patterns: Vec<&str> = one_or_many(&statement["Condition"]["ArnLike"]["aws:PrincipalArn"])
        .into_iter()
        .map(|pattern| pattern["Fn::Sub"].as_str().unwrap())
        .collect();
    for (prefix, suffix) in [
        ("iam::${HostAccountId}:role/", ""),
        ("sts::${HostAccountId}:assumed-role/", "/*"),
    ] {
        let trusted: BTreeSet<String> = patterns
            .iter()
            .filter_map(|pattern| {
                pattern
                    .strip_prefix("arn:${AWS::Partition}:")?
                    .strip_prefix(prefix)
            })
            .map(|role| {
                role.strip_suffix(suffix)
                    .expect("a session of the role")
                    .to_owned()
            })
            .collect();
        assert_eq!(trusted, able, "{prefix}");
    }
    assert_eq!(patterns.len(), 2 * able.len());
}

#[test]
fn a_member_role_only_looks_and_manages_inventory_configurations() {
    let member = template("member-account");
    let policies = &member["Resources"]["MemberRole"]["Properties"]["Policies"];
    let actions: BTreeSet<&str> = statements(policies)
        .into_iter()
        .flat_map(|statement| one_or_many(&statement["Action"]))
        .map(|action| action.as_str().unwrap())
        .collect();
    let expected = BTreeSet::from([
        "s3:GetBucketLocation",
        "s3:GetInventoryConfiguration",
        "s3:ListAllMyBuckets",
        "s3:ListBucket",
        "s3:ListBucketVersions",
        "s3:PutInventoryConfiguration",
    ]);
    assert_eq!(actions, expected);
}

#[test]
fn existing_reports_are_read_where_the_parameter_names_their_buckets_and_nowhere_else() {
    let host = template("host");
    assert_eq!(
        host["Parameters"]["ExistingInventoryBucketArns"]["Default"],
        ""
    );
    let mut allowed = BTreeSet::new();
    for (name, role) in resources(&host, "AWS::IAM::Role") {
        let mut optional = Vec::new();
        walk(&role["Properties"]["Policies"], &mut |value| {
            if let Some(branches) = value["Fn::If"].as_array()
                && branches[0] == "HasExistingInventories"
            {
                assert_eq!(branches[2]["Ref"], "AWS::NoValue", "{name}");
                optional.push(&branches[1]);
            }
        });
        for statement in statements(&role["Properties"]["Policies"]) {
            let of_parameter = statement["Resource"]
                .to_string()
                .contains("ExistingInventoryBucketArns");
            // Without the condition an empty list would be an empty resource.
            assert_eq!(of_parameter, optional.contains(&statement), "{name}");
            if of_parameter {
                let action = statement["Action"].as_str().unwrap().to_owned();
                allowed.insert((name, action));
            }
        }
    }
    let expected = [
        "InventoryFileConsolidatorRole",
        "InventoryObjectProcessorRole",
    ]
    .into_iter()
    .flat_map(|role| ["s3:GetObject", "s3:ListBucket"].map(|action| (role, action.to_owned())));
    assert_eq!(allowed, expected.collect());
}

/// The embedded Athena reads whatever it is asked to, so it cannot show what a query may read.
#[test]
fn a_query_reads_snapshots_lookup_tables_and_results_only() {
    let host = template("host");
    let role = &host["Resources"]["RunQueryRole"]["Properties"]["Policies"];
    let read: BTreeSet<&str> = statements(role)
        .into_iter()
        .filter(|statement| {
            one_or_many(&statement["Action"]).contains(&&Value::from("s3:GetObject"))
        })
        .flat_map(|statement| one_or_many(&statement["Resource"]))
        .map(|resource| resource["Fn::Sub"].as_str().unwrap())
        .collect();
    let expected = ["inventory", "lookup", "query-results"]
        .map(|prefix| format!("arn:${{AWS::Partition}}:s3:::${{ConsolidatedBucket}}/{prefix}/*"));
    assert_eq!(read, expected.iter().map(String::as_str).collect());
}

#[test]
fn only_the_tasks_that_need_it_delete() {
    let host = template("host");
    let mut deleting = BTreeSet::new();
    for (name, role) in resources(&host, "AWS::IAM::Role") {
        for statement in statements(&role["Properties"]["Policies"]) {
            for action in one_or_many(&statement["Action"]) {
                let action = action.as_str().unwrap();
                let (service, verb) = action.split_once(':').unwrap();
                let deletes = verb.starts_with("Delete") || verb.starts_with("BatchDelete");
                if deletes && !["sqs", "logs"].contains(&service) {
                    deleting.insert(name);
                }
            }
        }
    }
    let expected = BTreeSet::from([
        "CloseRunRole",
        // CloudFormation rolls back on its behalf.
        "CreateDestinationRole",
        "DeleteDestinationRole",
        "EmptyDestinationRole",
        // A file that is consolidated after publication is taken back.
        "InventoryFileConsolidatorRole",
        "PublishSnapshotRole",
    ]);
    assert_eq!(deleting, expected);
}
