use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tests::DEPLOYMENT;

use crate::documents::{one_or_many, resources, template, walk};

/// IAM actions by the name of the role that has them.
pub(crate) type Actions = BTreeMap<String, BTreeSet<String>>;

/// What every role of a template may do, whatever the resource.
fn of_template(name: &str) -> Actions {
    let template = template(name);
    let mut granted = Actions::new();
    for (_, role) in resources(&template, "AWS::IAM::Role") {
        let name = role["Properties"]["RoleName"]["Fn::Sub"]
            .as_str()
            .expect("a role has a name")
            .replace("${DeploymentName}", DEPLOYMENT);
        let actions = granted.entry(name).or_default();
        walk(&role["Properties"]["Policies"], &mut |statement: &Value| {
            if statement["Effect"] == "Allow" {
                let allowed = one_or_many(&statement["Action"]).into_iter();
                actions.extend(allowed.map(|action| action.as_str().expect("text").to_owned()));
            }
        });
    }
    assert!(!granted.is_empty(), "{name} has roles");
    granted
}

/// What every role of the platform may do. The member role is the same in every account.
pub(crate) fn granted() -> Actions {
    let mut granted = of_template("host");
    granted.extend(of_template("member-account"));
    granted
}

/// Whether a role is that of a function or of member accounts: calls of the others, which state machines
/// and rules have, stay inside of MiniStack and are not counted.
pub(crate) fn is_counted(role: &str) -> bool {
    let functions: BTreeSet<String> = resources(&template("host"), "AWS::Serverless::Function")
        .into_iter()
        .map(|(_, function)| {
            function["Properties"]["FunctionName"]["Fn::Sub"]
                .as_str()
                .expect("a function has a name")
                .replace("${DeploymentName}", DEPLOYMENT)
        })
        .collect();
    functions.contains(role) || role == format!("{DEPLOYMENT}-s3insights-member")
}
