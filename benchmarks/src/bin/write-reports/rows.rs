//! Rows: what a report says of an object, a version or a delete marker.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fastrand::Rng;

use crate::keys::{self, Habit, KeyRow};

const SECONDS_PER_DAY: i64 = 86_400;

/// S3's own size of a part, as its command line tools upload.
const PART_BYTES: i64 = 8 * 1024 * 1024;

/// A value of a report.
pub(crate) enum Value<'a> {
    Text(Option<&'a str>),
    Flag(Option<bool>),
    Number(Option<i64>),
    /// Milliseconds since 1970.
    Instant(Option<i64>),
}

/// One row. `None` is null in the report.
pub(crate) struct Row {
    key: String,
    version_id: String,
    is_latest: bool,
    is_delete_marker: bool,
    size: Option<i64>,
    last_modified: i64,
    e_tag: Option<String>,
    storage_class: Option<&'static str>,
    is_multipart_uploaded: Option<bool>,
    replication_status: Option<&'static str>,
    encryption_status: Option<&'static str>,
    lock_retain_until: Option<i64>,
    lock_mode: Option<&'static str>,
    legal_hold: Option<&'static str>,
    access_tier: Option<&'static str>,
    bucket_key_status: Option<&'static str>,
    checksum_algorithm: Option<&'static str>,
    expires: Option<i64>,
}

/// What is the same in all rows.
pub(crate) struct Constants {
    pub(crate) bucket: String,
    access_control_list: String,
    owner: String,
}

impl Constants {
    pub(crate) fn new(bucket: &str) -> Self {
        let owner = keys::hexadecimal(64, &mut Rng::with_seed(0));
        let grants = format!(
            r#"{{"version":"2022-11-10","status":"AVAILABLE","grants":[{{"canonicalId":"{owner}","type":"CanonicalUser","permission":"FULL_CONTROL"}}]}}"#
        );
        Self {
            bucket: bucket.to_owned(),
            access_control_list: BASE64_STANDARD.encode(grants),
            owner,
        }
    }
}

/// All rows of a report, in its order.
pub(crate) fn all(rows: u64, seed: u64) -> impl Iterator<Item = Row> {
    let mut rng = Rng::with_seed(!seed);
    let mut keys = keys::in_order(rows, seed).peekable();
    std::iter::from_fn(move || {
        let key = keys.next()?;
        let has_older = keys.peek().is_some_and(|next| next.key == key.key);
        Some(row(key, has_older, &mut rng))
    })
}

fn row(key: KeyRow, has_older: bool, rng: &mut Rng) -> Row {
    let KeyRow {
        key,
        newer,
        written,
        kind,
    } = key;
    let version_id = version_id(rng);
    let is_latest = newer == 0;
    let written = written - i64::try_from(newer).unwrap_or(0) * rng.i64(1..20 * SECONDS_PER_DAY);
    let age = (keys::NOW - written) / SECONDS_PER_DAY;
    let empty = Row {
        key,
        version_id,
        is_latest,
        is_delete_marker: true,
        size: None,
        last_modified: written * 1_000,
        e_tag: None,
        storage_class: None,
        is_multipart_uploaded: None,
        replication_status: None,
        encryption_status: None,
        lock_retain_until: None,
        lock_mode: None,
        legal_hold: None,
        access_tier: None,
        bucket_key_status: None,
        checksum_algorithm: None,
        expires: None,
    };
    if is_latest && has_older && one_in(4, rng) {
        return empty;
    }

    let size = log_normal(kind.median_size, kind.deviation, rng);
    let is_multipart = size > PART_BYTES;
    let mut e_tag = keys::hexadecimal(32, rng);
    if is_multipart {
        e_tag = format!("{e_tag}-{}", size.div_euclid(PART_BYTES) + 1);
    }
    let storage_class = match kind.habit {
        Habit::Kept if one_in(8, rng) => "INTELLIGENT_TIERING",
        Habit::Kept => "STANDARD",
        Habit::Expires | Habit::Protected if age < 90 => "STANDARD",
        Habit::Expires | Habit::Protected if age < 365 => "STANDARD_IA",
        Habit::Expires => "GLACIER",
        Habit::Protected => "DEEP_ARCHIVE",
    };
    // Since January 2023 nothing is stored unencrypted any more.
    let encryption_status = match rng.u8(0..100) {
        0..20 if age > 1_364 => "NOT-SSE",
        0..15 => "SSE-KMS",
        _ => "SSE-S3",
    };
    let is_protected = kind.habit == Habit::Protected;
    let is_locked = is_protected && age < 700;
    Row {
        is_delete_marker: false,
        size: Some(size),
        e_tag: Some(e_tag),
        storage_class: Some(storage_class),
        is_multipart_uploaded: Some(is_multipart),
        replication_status: is_protected.then_some(match rng.u8(..) {
            0 => "FAILED",
            1..4 => "PENDING",
            _ => "COMPLETED",
        }),
        encryption_status: Some(encryption_status),
        lock_retain_until: is_locked.then_some((written + 2_555 * SECONDS_PER_DAY) * 1_000),
        lock_mode: is_locked.then_some("GOVERNANCE"),
        legal_hold: is_locked.then_some(if one_in(50, rng) { "ON" } else { "OFF" }),
        access_tier: (storage_class == "INTELLIGENT_TIERING").then_some(match age {
            ..30 => "FREQUENT",
            30..90 => "INFREQUENT",
            _ => "ARCHIVE_INSTANT",
        }),
        bucket_key_status: (encryption_status == "SSE-KMS").then_some(if one_in(3, rng) {
            "DISABLED"
        } else {
            "ENABLED"
        }),
        checksum_algorithm: (age < 600).then_some("CRC64NVME"),
        expires: (kind.habit == Habit::Expires)
            .then_some((written / SECONDS_PER_DAY + 1_826) * SECONDS_PER_DAY * 1_000),
        ..empty
    }
}

impl Row {
    /// The value of a column of the snapshot's schema; a derived one has none.
    pub(crate) fn value<'a>(&'a self, column: &str, constants: &'a Constants) -> Value<'a> {
        let of_version = (!self.is_delete_marker).then_some(constants);
        match column {
            "bucket" => Value::Text(Some(&constants.bucket)),
            "key" => Value::Text(Some(&self.key)),
            "version_id" => Value::Text(Some(&self.version_id)),
            "is_latest" => Value::Flag(Some(self.is_latest)),
            "is_delete_marker" => Value::Flag(Some(self.is_delete_marker)),
            "size" => Value::Number(self.size),
            "last_modified_date" => Value::Instant(Some(self.last_modified)),
            "e_tag" => Value::Text(self.e_tag.as_deref()),
            "storage_class" => Value::Text(self.storage_class),
            "is_multipart_uploaded" => Value::Flag(self.is_multipart_uploaded),
            "replication_status" => Value::Text(self.replication_status),
            "encryption_status" => Value::Text(self.encryption_status),
            "object_lock_retain_until_date" => Value::Instant(self.lock_retain_until),
            "object_lock_mode" => Value::Text(self.lock_mode),
            "object_lock_legal_hold_status" => Value::Text(self.legal_hold),
            "intelligent_tiering_access_tier" => Value::Text(self.access_tier),
            "bucket_key_status" => Value::Text(self.bucket_key_status),
            "checksum_algorithm" => Value::Text(self.checksum_algorithm),
            "object_access_control_list" => {
                Value::Text(of_version.map(|constants| constants.access_control_list.as_str()))
            }
            "object_owner" => Value::Text(of_version.map(|constants| constants.owner.as_str())),
            "lifecycle_expiration_date" => Value::Instant(self.expires),
            _ => Value::Text(None),
        }
    }
}

fn one_in(chances: u32, rng: &mut Rng) -> bool {
    rng.u32(..chances) == 0
}

fn version_id(rng: &mut Rng) -> String {
    const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ._abcdefghijklmnopqrstuvwxyz";
    let mut bytes = [0; 32];
    rng.fill(&mut bytes);
    let digits = bytes.iter().map(|byte| DIGITS[usize::from(byte % 64)]);
    digits.map(char::from).collect()
}

/// A whole number of bytes whose logarithm is spread normally (Box-Muller).
#[expect(clippy::cast_possible_truncation, reason = "clamped to what S3 stores")]
fn log_normal(median: f64, deviation: f64, rng: &mut Rng) -> i64 {
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    let normal = radius * (std::f64::consts::TAU * rng.f64()).cos();
    (median * (deviation * normal).exp()).clamp(0.0, 5e12) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delete_markers_have_no_size_and_older_versions_are_not_the_latest() {
        let constants = Constants::new("bucket");
        let rows: Vec<Row> = all(20_000, 3).collect();
        let markers = rows.iter().filter(|row| row.is_delete_marker).count();
        assert!((100..2_000).contains(&markers), "{markers}");
        for row in &rows {
            assert_eq!(row.is_delete_marker, row.size.is_none(), "{}", row.key);
            let owner = row.value("object_owner", &constants);
            assert!(matches!(owner, Value::Text(owner) if owner.is_none() == row.is_delete_marker));
        }
        for pair in rows.windows(2) {
            assert_eq!(
                pair[1].is_latest,
                pair[0].key != pair[1].key,
                "{}",
                pair[1].key
            );
        }
    }
}
