use serde_json::json;

use super::*;
use crate::input::{ExistingInventory, RunInput};
use crate::manifest::Md5Hash;

fn region(code: &str) -> Region {
    Region::try_from(code).unwrap()
}

fn name(text: &str) -> BucketName {
    BucketName::try_from(text).unwrap()
}

fn bucket(status: InventoryStatus) -> SourceBucket {
    let account = AccountId::try_from("123456789012").unwrap();
    let mut bucket = SourceBucket::discovered(account, name("photos"), region("eu-west-1"));
    bucket.status = status;
    bucket
}

fn run() -> Run {
    let input: RunInput = serde_json::from_value(json!({
        "run_id": "nightly",
        "accounts": [{"id": "123456789012"}],
        "athena_database_name": "d",
        "athena_table_name": "t",
        "is_smoke_test": false,
        "athena_queries": [],
        "sender_email_address": "a@example.com",
        "recipient_email_addresses": ["a@example.com"],
        "supported_regions": ["eu-west-1"],
        "inventory_timeout_minutes": 60,
        "status_refresh_minutes": 5,
    }))
    .unwrap();
    Run {
        run_id: input.run_id.clone(),
        execution_arn: "e".into(),
        started_at: Timestamp::UNIX_EPOCH,
        deadline: input.deadline(Timestamp::UNIX_EPOCH),
        input,
        warnings: Vec::new(),
        regions: [region("eu-west-1")].into(),
        in_progress: 0,
        task_token: None,
        frozen_at: None,
        made_database: false,
        made_table: false,
        failure: None,
        summary_sent_at: None,
        mail_failure: None,
        outcome: None,
        cleaned_up_at: None,
    }
}

fn destination() -> Destination {
    Destination {
        region: region("eu-west-1"),
        stack: "s".into(),
        state: DestinationState::Complete,
        bucket: Some(name("destination")),
        bucket_arn: Some("arn:aws:s3:::destination".into()),
        reason: None,
        seen_empty_at: None,
    }
}

const CHECKSUM_KEY: &str =
    "123456789012/photos/s3insights-insights-nightly/2026-03-01T00-00Z/manifest.checksum";

fn uri() -> ManifestUri {
    let text = "s3://destination/reports/photos/daily/2026-03-01T00-00Z/manifest.json";
    ManifestUri::try_from(text).unwrap()
}

fn existing(status: InventoryStatus) -> SourceBucket {
    SourceBucket {
        existing_report: Some(uri()),
        ..bucket(status)
    }
}

fn location() -> ReportLocation {
    ReportLocation::parse(CHECKSUM_KEY).unwrap()
}

/// A manifest and its checksum.
fn report(change: impl FnOnce(&mut serde_json::Value)) -> (String, String) {
    let mut document = json!({
        "sourceBucket": "photos",
        "destinationBucket": "arn:aws:s3:::destination",
        "version": "2016-11-30",
        "creationTimestamp": "1740787200000",
        "fileFormat": "Parquet",
        "fileSchema": "message s3.inventory {  required binary bucket (UTF8);  required binary key (UTF8);}",
        "files": [{
            "key": "123456789012/photos/s3insights-insights-nightly/data/a.parquet",
            "size": 10,
            "MD5checksum": "00112233445566778899aabbccddeeff",
        }],
    });
    change(&mut document);
    let manifest = document.to_string();
    let checksum = Md5Hash::of(manifest.as_bytes()).to_string();
    (manifest, checksum)
}

fn manifest(change: impl FnOnce(&mut serde_json::Value)) -> Result<Manifest, Reason> {
    let (manifest, checksum) = report(change);
    let (at, to) = (location(), name("destination"));
    check_manifest(&at, &to, manifest.as_bytes(), checksum.as_bytes())
}

fn existing_manifest(change: impl FnOnce(&mut serde_json::Value)) -> Result<Manifest, Reason> {
    let (manifest, checksum) = report(change);
    let (bucket, uri) = (name("photos"), uri());
    check_existing_manifest(&bucket, &uri, manifest.as_bytes(), checksum.as_bytes())
}

#[test]
fn exclusions_and_regions_decide_what_is_in() {
    let account = AccountInput {
        id: AccountId::try_from("123456789012").unwrap(),
        exclude: vec!["tmp-*".into()],
    };
    let mut input = run().input;
    let because = |input: &RunInput, bucket: &str, code: &str| {
        left_out_because(input, &account, &name(bucket), &region(code))
    };
    assert_eq!(because(&input, "photos", "eu-west-1"), None);
    assert_eq!(
        because(&input, "tmp-1", "eu-west-1").unwrap(),
        "accounts[].exclude names tmp-*"
    );
    assert_eq!(
        because(&input, "photos", "us-east-1").unwrap(),
        "supported_regions does not name us-east-1"
    );
    // What leaves a bucket out wins over a report that is named for it.
    input.existing_inventories = ["photos", "tmp-1"]
        .map(|bucket| ExistingInventory {
            bucket: name(bucket),
            manifest: uri(),
        })
        .to_vec();
    assert_eq!(because(&input, "photos", "eu-west-1"), None);
    assert_eq!(
        because(&input, "tmp-1", "eu-west-1").unwrap(),
        "accounts[].exclude names tmp-*; its report in existing_inventories is not taken"
    );
    assert_eq!(
        because(&input, "photos", "us-east-1").unwrap(),
        "supported_regions does not name us-east-1; its report in existing_inventories is not taken"
    );
    input.supported_regions = None;
    let everywhere = because(&input, "photos", "us-east-1");
    assert_eq!(everywhere, None, "no Region was named");
}

#[test]
fn only_our_own_reports_belong_to_a_run() {
    let ours = DeploymentName::try_from("insights").unwrap();
    let (run_id, account, bucket) = report_of(&ours, &location()).unwrap();
    assert_eq!(
        (run_id.as_str(), account.as_str(), bucket.as_str()),
        ("nightly", "123456789012", "photos")
    );
    assert_eq!(
        report_of(&DeploymentName::try_from("other").unwrap(), &location()),
        None
    );
    let without_account = ReportLocation::parse(
        "x/photos/s3insights-insights-nightly/2026-03-01T00-00Z/manifest.checksum",
    );
    assert_eq!(report_of(&ours, &without_account.unwrap()), None);
}

#[test]
fn a_report_is_awaited_once_and_from_its_destination() {
    let open = bucket(InventoryStatus::InProgress);
    let destination = destination();
    let at = name("destination");
    let check = |run: &Run, bucket: &SourceBucket, to: &BucketName, key: &str| {
        is_awaited(run, bucket, Some(&destination), to, key).is_ok()
    };
    assert!(check(&run(), &open, &at, "m1"));
    assert!(!check(&run(), &open, &name("elsewhere"), "m1"));
    assert!(is_awaited(&run(), &open, None, &at, "m1").is_err());

    let frozen = Run {
        frozen_at: Some(Timestamp::UNIX_EPOCH),
        ..run()
    };
    assert!(!check(&frozen, &open, &at, "m1"));

    let claimed = SourceBucket {
        report: Some("m1".into()),
        ..open.clone()
    };
    assert!(check(&run(), &claimed, &at, "m1"), "the same report again");
    assert!(!check(&run(), &claimed, &at, "m2"), "a second report");

    for status in InventoryStatus::ALL {
        let expected = status == InventoryStatus::InProgress;
        assert_eq!(
            check(&run(), &bucket(status), &at, "m1"),
            expected,
            "{status}"
        );
        assert!(
            !check(&run(), &existing(status), &at, "m1"),
            "a report that nobody asked for, {status}"
        );
    }
}

#[test]
fn an_existing_report_is_taken_from_where_the_record_says_and_while_the_bucket_is_open() {
    for status in InventoryStatus::ALL {
        let expected = status == InventoryStatus::InProgress;
        let named = existing(status);
        assert_eq!(
            existing_report(&run(), &named).is_ok(),
            expected,
            "{status}"
        );
        assert!(
            existing_report(&run(), &bucket(status)).is_err(),
            "{status}"
        );
    }
    let mut open = existing(InventoryStatus::InProgress);
    open.report = Some(uri().manifest_key());
    assert_eq!(existing_report(&run(), &open), Ok(&uri()), "again");
    let frozen = Run {
        frozen_at: Some(Timestamp::UNIX_EPOCH),
        ..run()
    };
    assert!(existing_report(&frozen, &open).is_err());
}

#[test]
fn an_existing_report_is_sent_until_it_is_taken_and_its_bucket_never_configured() {
    for status in InventoryStatus::ALL {
        assert!(!needs_configuration(&existing(status)), "{status}");
        assert!(!awaits_existing_report(&bucket(status)), "{status}");
        let open = matches!(
            status,
            InventoryStatus::InProgress | InventoryStatus::InventoryConfigurationNotCreated
        );
        assert_eq!(awaits_existing_report(&existing(status)), open, "{status}");
    }
    let mut taken = existing(InventoryStatus::InProgress);
    taken.report = Some("m1".into());
    assert!(!awaits_existing_report(&taken));
}

#[test]
fn an_existing_manifest_must_be_about_its_bucket_and_lie_where_it_says() {
    for format in ["Parquet", "ORC", "CSV"] {
        let schema = match format {
            "CSV" => "Bucket, Key",
            "ORC" => "struct<bucket:string,key:string>",
            _ => "message s3.inventory { required binary bucket; required binary key; }",
        };
        let read = existing_manifest(|m| {
            m["fileFormat"] = json!(format);
            m["fileSchema"] = json!(schema);
        });
        assert_eq!(read.unwrap().format.to_string(), format);
    }
    for key in [
        "photos/daily/data/a.parquet",
        "reports/photos/daily/data/a.parquet",
        "a/b/photos/data/a.parquet",
    ] {
        let read = existing_manifest(|m| m["files"][0]["key"] = json!(key));
        assert_eq!(read.unwrap().files[0].key, key);
    }
    let foreign: [(&str, serde_json::Value); 5] = [
        ("/sourceBucket", json!("other")),
        ("/destinationBucket", json!("arn:aws:s3:::other")),
        ("/files/0/key", json!("reports/other/daily/data/a.parquet")),
        ("/files/0/key", json!("reports/photos2/data/a.parquet")),
        ("/files/0/key", json!("reports/other/photos")),
    ];
    for (pointer, value) in foreign {
        let refused = existing_manifest(|m| *m.pointer_mut(pointer).unwrap() = value.clone());
        assert_eq!(refused.unwrap_err().code, "ForeignReport", "{value}");
    }
    let (whole, checksum) = report(|_| ());
    let damaged = check_existing_manifest(
        &name("photos"),
        &uri(),
        format!("{whole} ").as_bytes(),
        checksum.as_bytes(),
    );
    assert_eq!(damaged.unwrap_err().code, "ManifestChecksumMismatch");
}

#[test]
fn who_may_not_read_an_existing_report_is_told_what_would_let_it() {
    let reason = unreadable_existing_report(&uri(), Reason::new("AccessDenied", "no"));
    assert_eq!(reason.missing_permission.as_deref(), Some("s3:GetObject"));
    assert!(
        reason.message.starts_with(
            "no; the stack parameter ExistingInventoryBucketArns has to name the bucket destination"
        ),
        "{}",
        reason.message
    );
    let kms = Reason::new("AccessDenied", "not authorized to perform: kms:Decrypt");
    let reason = unreadable_existing_report(&uri(), kms.clone());
    assert_eq!(reason.missing_permission.as_deref(), Some("kms:Decrypt"));
    assert_eq!(reason.message, kms.message);
    let other = Reason::new("InvalidObjectState", "archived");
    assert_eq!(unreadable_existing_report(&uri(), other.clone()), other);
}

#[test]
fn a_manifest_must_be_what_its_place_says() {
    assert_eq!(manifest(|_| ()).unwrap().files.len(), 1);
    let csv = manifest(|m| {
        m["fileFormat"] = json!("CSV");
        m["fileSchema"] = json!("Bucket, Key");
    });
    assert_eq!(csv.unwrap().files.len(), 1, "whatever its format");
    let code = |change: fn(&mut serde_json::Value)| manifest(change).unwrap_err().code;
    assert_eq!(
        code(|m| m["sourceBucket"] = json!("other")),
        "ForeignReport"
    );
    assert_eq!(
        code(|m| m["destinationBucket"] = json!("arn:aws:s3:::other")),
        "ForeignReport"
    );
    assert_eq!(
        code(|m| m["files"][0]["key"] = json!("210987654321/secret/data/a.parquet")),
        "ForeignReport"
    );
    // A key is no path: S3 takes these for other keys, and so is what they would lead to.
    for key in [
        "123456789012/photos/../secret/data/a.parquet",
        "123456789012/photos2/data/a.parquet",
        "/123456789012/photos/data/a.parquet",
        "123456789012%2Fphotos/data/a.parquet",
        "%2e%2e/123456789012/photos/data/a.parquet",
    ] {
        let refused = manifest(|m| m["files"][0]["key"] = json!(key)).unwrap_err();
        assert!(
            ["ForeignReport", "MalformedManifest"].contains(&refused.code.as_str()),
            "{key}: {refused:?}"
        );
    }
    assert_eq!(
        code(|m| m["fileFormat"] = json!("Avro")),
        "MalformedManifest"
    );
    assert_eq!(
        code(|m| m["files"][0]["size"] = json!(-1)),
        "MalformedManifest"
    );
    assert_eq!(
        code(|m| {
            let mut twin = m["files"][0].clone();
            twin["key"] = json!("123456789012/photos/elsewhere/a.parquet");
            m["files"].as_array_mut().unwrap().push(twin);
        }),
        "MalformedManifest"
    );
    // Names that would end in no key, or in files that Athena passes over.
    for name in ["", "_0c5e", &"x".repeat(256)] {
        let key = format!("123456789012/photos/data/{name}.parquet");
        let refused = manifest(|m| m["files"][0]["key"] = json!(key)).unwrap_err();
        assert_eq!(refused.code, "MalformedManifest", "{name}");
        assert!(refused.message.contains("is not the name of a data file"));
    }
    let reason = check_manifest(&location(), &name("destination"), b"{}", b"nonsense").unwrap_err();
    assert_eq!(reason.code, "ManifestChecksumMismatch");
}

#[test]
fn a_run_waits_until_it_is_settled_or_its_deadline_has_come() {
    let mut run = run();
    run.in_progress = 1;
    let before = run.deadline - jiff::SignedDuration::from_secs(1);
    assert_eq!(
        wait(&run, before),
        Wait {
            settled: false,
            deadline_passed: false
        }
    );
    assert_eq!(
        wait(&run, run.deadline),
        Wait {
            settled: false,
            deadline_passed: true
        }
    );
    run.in_progress = 0;
    assert!(wait(&run, before).settled);
}

#[test]
fn nothing_is_made_for_a_run_that_is_over() {
    assert_eq!(may_still_make(&run()), Ok(()));
    let over = Run {
        frozen_at: Some(Timestamp::UNIX_EPOCH),
        in_progress: 1,
        ..run()
    };
    assert_eq!(may_still_make(&over).unwrap_err().name(), "InvalidInput");
    assert!(wait(&over, Timestamp::UNIX_EPOCH).deadline_passed);
}

#[test]
fn an_overdue_bucket_says_how_far_it_came() {
    let mut bucket = bucket(InventoryStatus::InProgress);
    let deadline = Timestamp::UNIX_EPOCH;
    assert_eq!(
        overdue(&bucket, deadline).message,
        "no report came by 1970-01-01T00:00:00Z"
    );
    bucket.files = Some(5);
    bucket.files_pending = Some(2);
    assert!(
        overdue(&bucket, deadline)
            .message
            .starts_with("3 of 5 files")
    );
    bucket.dead_letter = Some(Reason::new("AccessDenied", "PutObject: no").needing("s3:PutObject"));
    let reason = overdue(&bucket, deadline);
    let given_up = "; a message about it was given up: AccessDenied: PutObject: no";
    assert!(reason.message.ends_with(given_up), "{reason:?}");
    assert_eq!(reason.code, "DeadlinePassed");
    assert_eq!(reason.missing_permission.as_deref(), Some("s3:PutObject"));
}

#[test]
fn a_destination_is_usable_when_it_is_complete() {
    assert!(usable_destination(Some(&destination())).is_ok());
    assert_eq!(
        usable_destination(None).unwrap_err().code,
        "DestinationNotCreated"
    );
    for state in [
        DestinationState::InProgress,
        DestinationState::Failed,
        DestinationState::Deleted,
    ] {
        let destination = Destination {
            state,
            reason: Some(Reason::new("AccessDenied", "no")),
            ..destination()
        };
        assert!(
            usable_destination(Some(&destination))
                .unwrap_err()
                .message
                .contains("AccessDenied")
        );
    }
}

#[test]
fn a_bucket_is_configured_once() {
    let fresh = bucket(InventoryStatus::InventoryConfigurationNotCreated);
    assert!(needs_configuration(&fresh));
    let refused = SourceBucket {
        reason: Some(Reason::new("AccessDenied", "no")),
        ..fresh
    };
    assert!(!needs_configuration(&refused));
    let begun = bucket(InventoryStatus::InProgress);
    assert!(needs_configuration(&begun));
    assert!(!needs_configuration(&SourceBucket {
        configured: true,
        ..begun
    }));
    assert!(!needs_configuration(&bucket(
        InventoryStatus::BucketIsEmpty
    )));
}

#[test]
fn a_smoke_test_names_each_broken_region() {
    assert!(
        smoke_test_verdict(&[])
            .unwrap_err()
            .contains("nothing was tested")
    );
    assert_eq!(smoke_test_verdict(&[bucket(InventoryStatus::Done)]), Ok(()));
    let mut broken = bucket(InventoryStatus::InProgress);
    broken.region = region("us-west-2");
    let message = smoke_test_verdict(&[bucket(InventoryStatus::Done), broken]).unwrap_err();
    assert_eq!(
        message,
        "1 of 2 Regions did not deliver: us-west-2: in_progress"
    );
}

#[test]
fn pauses_grow_and_end_at_a_quarter_of_an_hour() {
    let delays: Vec<i32> = (0..=12).map(retry_delay_seconds).collect();
    assert_eq!(
        delays,
        [5, 5, 10, 20, 40, 80, 160, 320, 640, 900, 900, 900, 900]
    );
}
