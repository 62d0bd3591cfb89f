//! A CSV file as it is delivered, which finds what is wrong with its compression.

#![no_main]

use libfuzzer_sys::fuzz_target;
use s3insights_fuzz::{check, manifest::FileFormat};

fuzz_target!(|file: &[u8]| check(FileFormat::Csv, file));
