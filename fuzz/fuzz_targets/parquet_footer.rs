//! The footer of a Parquet file whose pages are valid and whose trailer fits the footer.

#![no_main]

use libfuzzer_sys::fuzz_target;
use s3insights_fuzz::{check, footer_start, manifest::FileFormat};

const VALID: &[u8] = include_bytes!("../seeds/parquet/plain.parquet");

fuzz_target!(|footer: &[u8]| {
    let length = u32::try_from(footer.len()).expect("inputs are small");
    let file = [
        &VALID[..footer_start(VALID)],
        footer,
        &length.to_le_bytes(),
        b"PAR1",
    ]
    .concat();
    check(FileFormat::Parquet, &file);
});
