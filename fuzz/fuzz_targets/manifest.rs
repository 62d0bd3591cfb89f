//! The documents of a report, and the keys and places that tell of them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use s3insights_fuzz::manifest::{Manifest, ManifestUri, Md5Hash, ReportLocation, verify_checksum};

fuzz_target!(|data: &[u8]| {
    if let Ok(manifest) = Manifest::parse(data) {
        for column in ["bucket", "key"] {
            assert!(
                manifest.schema.iter().any(|field| field.name == column),
                "{column}"
            );
        }
    }
    let checksum = Md5Hash::of(data).to_string();
    assert_eq!(verify_checksum(data, checksum.as_bytes()), Ok(()));
    // No text holds its own hash.
    assert!(verify_checksum(data, data).is_err());
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Some(location) = ReportLocation::parse(text) {
        assert_eq!(location.checksum_key(), text);
    }
    if let Ok(uri) = ManifestUri::try_from(text) {
        assert_eq!(uri.to_string(), text);
    }
});
