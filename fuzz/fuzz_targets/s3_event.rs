//! The body of a message of the notification queue, and the keys in it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use s3insights_fuzz::ids::{BucketName, DeploymentName};
use s3insights_fuzz::manifest::ReportLocation;
use s3insights_fuzz::naming;
use s3insights_fuzz::s3_event::{Notification, decode_key};

fuzz_target!(|body: &str| {
    // No more characters than were encoded.
    assert!(decode_key(body).chars().count() <= body.chars().count());
    let Notification::ObjectsCreated(created) = Notification::parse(body) else {
        return;
    };
    assert!(!created.is_empty());
    let deployment = DeploymentName::try_from("insights").expect("this is a name");
    for object in created {
        assert!(BucketName::try_from(object.bucket.as_str()).is_ok());
        let Some(location) = ReportLocation::parse(&object.key) else {
            continue;
        };
        assert_eq!(location.checksum_key(), object.key);
        let id = &location.configuration_id;
        if let Some(run_id) = naming::run_of_configuration(&deployment, id) {
            assert_eq!(&naming::configuration_id(&deployment, &run_id), id);
        }
    }
});
