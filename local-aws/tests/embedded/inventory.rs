//! The S3 Inventory service.
