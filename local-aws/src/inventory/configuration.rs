//! Inventory configurations: the XML document, and what S3 checks in it.

use quick_xml::{de, se};
use serde::{Deserialize, Serialize};

use super::{
    error::S3Error,
    report::{Field, Format},
};

pub(crate) const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// An inventory configuration as it is put and answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename = "InventoryConfiguration",
    rename_all = "PascalCase",
    deny_unknown_fields
)]
pub(crate) struct Configuration {
    #[serde(rename = "@xmlns", default, skip_serializing)]
    _namespace: Option<String>,
    pub(crate) destination: Destination,
    pub(crate) is_enabled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) filter: Option<Filter>,
    pub(crate) id: String,
    pub(crate) included_object_versions: IncludedVersions,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) optional_fields: Option<OptionalFields>,
    pub(crate) schedule: Schedule,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Destination {
    #[serde(rename = "S3BucketDestination")]
    pub(crate) bucket: BucketDestination,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct BucketDestination {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) account_id: Option<String>,
    /// ARN.
    pub(crate) bucket: String,
    pub(crate) format: Format,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prefix: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) encryption: Option<Encryption>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Encryption {
    #[serde(rename = "SSE-S3", default, skip_serializing_if = "Option::is_none")]
    pub(crate) s3: Option<Empty>,
    #[serde(rename = "SSE-KMS", default, skip_serializing_if = "Option::is_none")]
    pub(crate) kms: Option<KmsKey>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Empty {}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct KmsKey {
    pub(crate) key_id: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct Filter {
    pub(crate) prefix: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OptionalFields {
    #[serde(rename = "Field", default)]
    pub(crate) fields: Vec<FieldElement>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FieldElement {
    #[serde(rename = "$text")]
    pub(crate) field: Field,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct Schedule {
    pub(crate) frequency: Frequency,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Frequency {
    Daily,
    Weekly,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum IncludedVersions {
    All,
    Current,
}

impl Configuration {
    /// Reads a document, and checks what can be checked without looking at any bucket.
    /// `id` is the one in the query of the request.
    pub(crate) fn parse(body: &[u8], id: &str) -> Result<Self, S3Error> {
        let text = std::str::from_utf8(body).map_err(|error| S3Error::malformed_xml(&error))?;
        let read: Self = de::from_str(text).map_err(|error| S3Error::malformed_xml(&error))?;
        if read.id != id {
            return Err(S3Error::new(
                http::StatusCode::BAD_REQUEST,
                "IdMismatch",
                "Document ID does not match the specified configuration ID.",
            ));
        }
        let destination = &read.destination.bucket;
        if destination
            .prefix
            .as_ref()
            .is_some_and(|prefix| prefix.len() > 512)
        {
            return Err(S3Error::invalid_argument(
                "The destination prefix is too long",
            ));
        }
        if let Some(
            Encryption {
                s3: Some(_),
                kms: Some(_),
            }
            | Encryption {
                s3: None,
                kms: None,
            },
        ) = destination.encryption
        {
            return Err(S3Error::malformed_xml(
                &"Encryption holds one of SSE-S3 and SSE-KMS",
            ));
        }
        Ok(read)
    }

    /// Checks the id in the query of any request.
    pub(crate) fn check_id(id: &str) -> Result<(), S3Error> {
        let allowed =
            |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
        if (1..=64).contains(&id.len()) && id.chars().all(allowed) {
            return Ok(());
        }
        Err(S3Error::invalid_argument(
            "The inventory configuration ID is not valid",
        ))
    }

    /// Name of the destination bucket.
    pub(crate) fn destination_bucket(&self) -> Result<&str, S3Error> {
        let arn = &self.destination.bucket.bucket;
        arn.strip_prefix("arn:aws:s3:::")
            .filter(|name| !name.is_empty() && !name.contains(['/', ':']))
            .ok_or_else(|| invalid_destination("Invalid bucket ARN"))
    }

    /// The optional fields in S3's own order, each once.
    pub(crate) fn optional_fields(&self) -> Vec<Field> {
        let requested = self
            .optional_fields
            .as_ref()
            .map_or(&[][..], |fields| &fields.fields);
        let is_requested = |field: &Field| requested.iter().any(|element| element.field == *field);
        Field::OPTIONAL.into_iter().filter(is_requested).collect()
    }

    /// The document, as an element of another or with a namespace as one of its own.
    pub(crate) fn xml(&self) -> String {
        se::to_string(self).unwrap_or_default()
    }
}

pub(crate) fn invalid_destination(message: &str) -> S3Error {
    S3Error::new(
        http::StatusCode::BAD_REQUEST,
        "InvalidS3DestinationBucket",
        message,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(change: impl Fn(String) -> String) -> String {
        change(
            "<InventoryConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Destination>\
             <S3BucketDestination><AccountId>111111111111</AccountId><Bucket>arn:aws:s3:::dest</Bucket>\
             <Format>Parquet</Format><Prefix>222222222222</Prefix><Encryption><SSE-S3></SSE-S3></Encryption>\
             </S3BucketDestination></Destination><IsEnabled>true</IsEnabled><Id>mine</Id>\
             <IncludedObjectVersions>All</IncludedObjectVersions><OptionalFields><Field>ETag</Field>\
             <Field>Size</Field></OptionalFields><Schedule><Frequency>Daily</Frequency></Schedule>\
             </InventoryConfiguration>"
                .to_owned(),
        )
    }

    fn code(text: &str, id: &str) -> &'static str {
        Configuration::parse(text.as_bytes(), id)
            .err()
            .map_or("accepted", |error| error.code)
    }

    #[test]
    fn a_document_is_read_and_written_back_the_same() {
        let read = Configuration::parse(document(|text| text).as_bytes(), "mine").unwrap();
        assert_eq!(read.destination_bucket().unwrap(), "dest");
        assert_eq!(read.optional_fields(), [Field::Size, Field::ETag]);
        assert_eq!(
            Configuration::parse(read.xml().as_bytes(), "mine")
                .unwrap()
                .destination,
            read.destination
        );
        let pretty = document(|text| text).replace("><", ">\n  <");
        assert_eq!(code(&pretty, "mine"), "accepted");
    }

    #[test]
    fn what_s3_refuses_is_refused_by_the_same_name() {
        let cases: [(&str, &str, &str); 8] = [
            (
                "<Field>Size</Field>",
                "<Field>Weight</Field>",
                "MalformedXML",
            ),
            (
                "<Format>Parquet</Format>",
                "<Format>JSON</Format>",
                "MalformedXML",
            ),
            ("<IsEnabled>true</IsEnabled>", "", "MalformedXML"),
            (
                "<IsEnabled>true</IsEnabled>",
                "<IsEnabled>perhaps</IsEnabled>",
                "MalformedXML",
            ),
            (
                "<Frequency>Daily</Frequency>",
                "<Frequency>Hourly</Frequency>",
                "MalformedXML",
            ),
            (
                "<Id>mine</Id>",
                "<Id>mine</Id><Owner>me</Owner>",
                "MalformedXML",
            ),
            ("<Id>mine</Id>", "<Id>yours</Id>", "IdMismatch"),
            ("<SSE-S3></SSE-S3>", "", "MalformedXML"),
        ];
        for (from, to, expected) in cases {
            let changed = document(|text| text.replace(from, to));
            assert_eq!(code(&changed, "mine"), expected, "{from} -> {to}");
        }
        assert_eq!(code("<InventoryConfiguration>", "mine"), "MalformedXML");
        assert!(Configuration::check_id("a b").is_err());
        assert!(Configuration::check_id(&"a".repeat(65)).is_err());
        assert!(Configuration::check_id("s3insights-dev01-run1").is_ok());
    }
}
