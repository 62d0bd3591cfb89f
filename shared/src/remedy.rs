//! What to do about a reason, in a sentence or two. `docs/troubleshooting.md` tells more of each.

use crate::status::Reason;

/// Who reads only this has somewhere to begin.
const UNKNOWN: &str = "Look the code up in the troubleshooting guide.";

/// What to do about why a bucket is not covered, an account not read, or a destination not made.
pub fn remedy(reason: &Reason) -> &'static str {
    if let Some(permission) = &reason.missing_permission {
        return for_permission(permission);
    }
    match reason.code.as_str() {
        "DeadlinePassed" => {
            "Give the next run more time (inventory_timeout_minutes); see whether the destination's bucket policy or key keeps S3 from delivering."
        }
        "NotDelivered" => "Wait, or start another run.",
        "NotConfigured" | "NotDiscovered" => "See why the run broke off.",
        "DestinationNotCreated" => {
            "Remedy what kept the inventory destination of its Region from being made."
        }
        "NoSuchBucket" => {
            "Nothing, if it was meant to be deleted; otherwise find out who deleted it."
        }
        "BucketNotFound" => {
            "Correct the name in existing_inventories, add the account that has it, or remedy why an account could not be read."
        }
        "ManifestChecksumMismatch" | "FileMissing" | "ReportReplaced" | "RequestFailed" => {
            "Start another run; if it happens again, find out who else writes there."
        }
        "ManifestMissing" => {
            "Start another run; for a report of existing_inventories, correct its place in the input."
        }
        "MalformedManifest" | "ManifestTooLarge" | "UnreadableFile" => {
            "Keep the report, see whether another reader reads it, and start another run."
        }
        "FileMismatch" => {
            "Find out who writes into the bucket of the report, and start another run."
        }
        "ForeignReport" => {
            "Find out who writes into the destination; for a report of existing_inventories, name the manifest of this very bucket."
        }
        "TooManyConfigurations" => {
            "Delete an inventory configuration that nobody needs: a bucket takes 1,000."
        }
        "StackFailed" => {
            "Look at the quotas of buckets and topics, and at service control policies that forbid the Region."
        }
        "TooManyAccounts" => "Split the accounts over several runs.",
        "QueryFailed" => "Correct the SQL, or raise the scan limit of the workgroup.",
        "QueryCancelled" => "Run the query again in the Athena console.",
        "Unavailable" | "Conflict" => "Start another run: this was passing, and lasted too long.",
        "ConfigurationTooSlow" => {
            "See who else changes buckets of the account: S3 throttled for a day."
        }
        code if is_throttle(code) => "Start another run, at a time when less else calls S3.",
        _ => UNKNOWN,
    }
}

fn for_permission(permission: &str) -> &'static str {
    match permission {
        "sts:AssumeRole" => {
            "Deploy cfn/member-account.yaml in the account, with DeploymentName, HostAccountId and ExternalId as in the host account."
        }
        "s3:ListAllMyBuckets" => {
            "Let the member role list buckets: look for a permissions boundary or a service control policy."
        }
        "s3:PutInventoryConfiguration" => {
            "Let the member role put inventory configurations on the bucket: look for a Deny in its policy, a permissions boundary or a service control policy."
        }
        "s3:GetObject" => {
            "Name the bucket of the report in the stack parameter ExistingInventoryBucketArns, and allow it in that bucket's policy."
        }
        "kms:Decrypt" => "Let the two functions that read reports use the key.",
        _ => {
            "Allow the missing permission to the role that the message names: look for a Deny in the bucket's policy, a permissions boundary or a service control policy."
        }
    }
}

fn is_throttle(code: &str) -> bool {
    code.contains("Throttl") || matches!(code, "SlowDown" | "RequestLimitExceeded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_permission_decides_before_the_code() {
        let refused = Reason::new("AccessDenied", "no");
        assert_eq!(remedy(&refused), UNKNOWN);
        let of = |permission| remedy(&refused.clone().needing(permission));
        assert!(of("sts:AssumeRole").contains("member-account.yaml"));
        assert!(of("s3:PutInventoryConfiguration").contains("policy"));
        assert!(of("s3:ListBucketVersions").contains("missing permission"));
    }

    #[test]
    fn remedies_are_sentences() {
        for code in [
            "DeadlinePassed",
            "NoSuchBucket",
            "StackFailed",
            "SlowDown",
            "ThrottlingException",
            "Never heard of",
        ] {
            let remedy = remedy(&Reason::new(code, ""));
            assert!(
                remedy.ends_with('.') && remedy.len() > 20,
                "{code}: {remedy}"
            );
        }
    }
}
