//! An ORC file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use s3insights_fuzz::{check, manifest::FileFormat};

fuzz_target!(|file: &[u8]| check(FileFormat::Orc, file));
