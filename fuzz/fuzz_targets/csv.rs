//! The text of a CSV file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use s3insights_fuzz::{check, gzip, manifest::FileFormat};

fuzz_target!(|text: &[u8]| check(FileFormat::Csv, &gzip(text)));
