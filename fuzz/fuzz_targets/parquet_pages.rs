//! The pages of a Parquet file whose footer is valid.

#![no_main]

use libfuzzer_sys::fuzz_target;
use s3insights_fuzz::{check, footer_start, manifest::FileFormat};

const VALID: &[u8] = include_bytes!("../seeds/parquet/plain.parquet");

fuzz_target!(|pages: &[u8]| {
    let footer_start = footer_start(VALID);
    // What is missing is as it was.
    let mut file = VALID.to_vec();
    let there = pages.len().min(footer_start);
    file[..there].copy_from_slice(&pages[..there]);
    check(FileFormat::Parquet, &file);
});
