//! A run input as it comes.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use s3insights_fuzz::foreign_text::is_invisible;
use s3insights_fuzz::ids::Region;
use s3insights_fuzz::input::{self, Checked, MAX_STORED_BYTES, RunInput, Surroundings};

static ENABLED: LazyLock<[Region; 2]> = LazyLock::new(|| {
    ["us-east-1", "eu-west-1"].map(|code| Region::try_from(code).expect("this is a Region"))
});

fuzz_target!(|text: &[u8]| {
    let Ok(raw) = serde_json::from_slice(text) else {
        return;
    };
    let surroundings = Surroundings {
        enabled_regions: &*ENABLED,
        execution_arn: "arn:aws:states:us-east-1:123456789012:execution:h:1",
        started_at: jiff::Timestamp::UNIX_EPOCH,
    };
    match input::check(&raw, &surroundings) {
        Ok(Checked { input, .. }) => {
            let stored = serde_json::to_string(&input).expect("an input is JSON");
            assert!(stored.len() <= MAX_STORED_BYTES);
            let read: RunInput = serde_json::from_str(&stored).expect("it reads back");
            assert_eq!(read, input);
            let addresses = input.recipient_email_addresses.iter();
            for address in addresses.chain([&input.sender_email_address]) {
                assert!(address.chars().all(|c| c.is_ascii_graphic()), "{address:?}");
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            let answer = input::describe(&problems);
            assert!(answer.len() < 10_000);
            for line in answer.lines().skip(1) {
                assert!(line.starts_with("- ") && !line.contains(is_invisible), "{line:?}");
            }
        }
    }
});
