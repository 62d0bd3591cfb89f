//! Addresses of what a summary speaks of in the AWS console.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::ids::{BucketName, Region};

/// Nothing but letters and digits may become part of an address as it is, and what keys and ids of
/// queries hold besides.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// The console takes an ARN with its colons.
const IN_ARNS: &AsciiSet = &ENCODED.remove(b':');

/// A query in the Athena console of the Region's partition, which keeps it for 45 days.
pub(super) fn query(region: &Region, execution_id: &str) -> String {
    let id = utf8_percent_encode(execution_id, ENCODED);
    format!(
        "{}/athena/home?region={region}#/query-editor/history/{id}",
        console(region)
    )
}

/// An object in the S3 console, where it can be opened and downloaded.
pub(super) fn object(region: &Region, bucket: &BucketName, key: &str) -> String {
    let key = utf8_percent_encode(key, ENCODED);
    format!(
        "{}/s3/object/{bucket}?region={region}&prefix={key}",
        console(region)
    )
}

/// An execution in the Step Functions console.
pub(super) fn execution(region: &Region, execution_arn: &str) -> String {
    let arn = utf8_percent_encode(execution_arn, IN_ARNS);
    format!(
        "{}/states/home?region={region}#/v2/executions/details/{arn}",
        console(region)
    )
}

fn console(region: &Region) -> String {
    let domain = match region.as_str() {
        code if code.starts_with("cn-") => "console.amazonaws.cn",
        code if code.starts_with("us-gov-") => "console.amazonaws-us-gov.com",
        _ => "console.aws.amazon.com",
    };
    format!("https://{region}.{domain}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(code: &str) -> Region {
        Region::try_from(code).unwrap()
    }

    #[test]
    fn links_lead_to_the_partition_of_the_region() {
        let cases = [
            ("eu-west-1", "https://eu-west-1.console.aws.amazon.com"),
            (
                "us-gov-west-1",
                "https://us-gov-west-1.console.amazonaws-us-gov.com",
            ),
            ("cn-north-1", "https://cn-north-1.console.amazonaws.cn"),
        ];
        for (code, console) in cases {
            let link = format!("{console}/athena/home?region={code}#/query-editor/history/0b-1");
            assert_eq!(query(&region(code), "0b-1"), link);
        }
    }

    #[test]
    fn nothing_leads_elsewhere() {
        let region = region("eu-west-1");
        assert!(query(&region, "a/../b\"#").ends_with("/a%2F..%2Fb%22%23"));
        let bucket = BucketName::try_from("consolidated").unwrap();
        assert_eq!(
            object(&region, &bucket, "reports/a&b/index.html"),
            "https://eu-west-1.console.aws.amazon.com/s3/object/consolidated?region=eu-west-1&prefix=reports%2Fa%26b%2Findex.html"
        );
        assert_eq!(
            execution(&region, "arn:aws:states:eu-west-1:1:execution:h:<e>"),
            "https://eu-west-1.console.aws.amazon.com/states/home?region=eu-west-1#/v2/executions/details/arn:aws:states:eu-west-1:1:execution:h:%3Ce%3E"
        );
    }
}
