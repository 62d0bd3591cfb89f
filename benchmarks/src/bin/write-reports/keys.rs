//! Keys as buckets have them: several kinds, each with the sizes and habits of what it names.
//!
//! Every kind makes its keys in order, and [`in_order`] merges the kinds, so that the whole report
//! is sorted by key without ever being held in memory.

use fastrand::Rng;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The end of the time that the objects come from, in seconds: 2026-09-30T00:00:00Z.
pub(crate) const NOW: i64 = 1_790_726_400;

/// How long before [`NOW`] the oldest object was written, in days.
const DAYS: i64 = 4 * 365 + 1;

const SECONDS_PER_DAY: i64 = 86_400;

/// What becomes of objects as they grow older.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Nothing.
    Kept,
    /// Moved to cheaper storage and deleted in the end.
    Expires,
    /// Moved to cheaper storage, replicated and locked.
    Protected,
}

/// One kind of object.
pub(crate) struct Kind {
    /// Rows of this kind in 1,000.
    share: u64,
    /// Half of the objects are smaller, in bytes.
    pub(crate) median_size: f64,
    /// Standard deviation of the logarithm of the size.
    pub(crate) deviation: f64,
    pub(crate) habit: Habit,
    key: fn(Place, &mut Rng) -> NewKey,
}

/// Where a key stands among those of its kind.
#[derive(Clone, Copy)]
struct Place {
    index: u64,
    count: u64,
}

/// A key, and when it was written if the key itself says so (in seconds).
struct NewKey {
    key: String,
    written: Option<i64>,
}

/// A row's key.
#[derive(Clone)]
pub(crate) struct KeyRow {
    pub(crate) key: String,
    /// How many newer versions of this key stand before it.
    pub(crate) newer: u64,
    /// When the newest version was written, in seconds.
    pub(crate) written: i64,
    pub(crate) kind: &'static Kind,
}

const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * KIB;

static KINDS: [Kind; 13] = [
    kind(290, 24.0 * KIB, 1.4, Habit::Expires, access_log),
    kind(180, 48.0 * MIB, 1.2, Habit::Kept, partition_part),
    kind(150, 180.0 * KIB, 1.1, Habit::Kept, image),
    kind(80, 700.0, 0.3, Habit::Kept, store_description),
    kind(80, 300.0 * KIB, 2.4, Habit::Kept, store_archive),
    kind(30, 900.0 * MIB, 1.8, Habit::Protected, database_dump),
    kind(80, 90.0 * KIB, 1.6, Habit::Kept, document),
    kind(85, 14.0 * KIB, 1.7, Habit::Kept, web_asset),
    kind(20, 2.0 * MIB, 1.5, Habit::Kept, library),
    kind(1, 1_700.0, 0.2, Habit::Kept, certificate),
    kind(1, 2_600.0, 0.1, Habit::Kept, private_key),
    kind(1, 60.0 * KIB, 1.5, Habit::Kept, infrastructure_state),
    kind(2, 300.0 * MIB, 1.3, Habit::Kept, video),
];

const fn kind(
    share: u64,
    median_size: f64,
    deviation: f64,
    habit: Habit,
    key: fn(Place, &mut Rng) -> NewKey,
) -> Kind {
    Kind {
        share,
        median_size,
        deviation,
        habit,
        key,
    }
}

/// The keys of `rows` rows, sorted by their bytes. Versions of one key follow each other, the
/// newest first.
pub(crate) fn in_order(rows: u64, seed: u64) -> impl Iterator<Item = KeyRow> {
    let mut given = 0;
    let mut share = 0;
    let mut heads: Vec<_> = KINDS
        .iter()
        .zip(0..)
        .filter_map(|(kind, number)| {
            share += kind.share;
            let up_to = rows * share / 1_000;
            let count = up_to - given;
            given = up_to;
            let mut rows = rows_of(kind, count, Rng::with_seed(seed.wrapping_add(number)));
            Some((rows.next()?, rows))
        })
        .collect();
    std::iter::from_fn(move || {
        let keys = heads.iter().map(|(head, _)| &head.key).enumerate();
        let (first, _) = keys.min_by(|a, b| a.1.cmp(b.1))?;
        let row = match heads[first].1.next() {
            Some(next) => std::mem::replace(&mut heads[first].0, next),
            None => heads.swap_remove(first).0,
        };
        Some(row)
    })
}

fn rows_of(kind: &'static Kind, count: u64, mut rng: Rng) -> impl Iterator<Item = KeyRow> {
    let mut last: Option<KeyRow> = None;
    (0..count).map(move |index| {
        let row = match last.take() {
            // About one row in twelve is an older version.
            Some(newest) if newest.newer < 9 && rng.u8(..) < 21 => KeyRow {
                newer: newest.newer + 1,
                ..newest
            },
            _ => {
                let NewKey { key, written } = (kind.key)(Place { index, count }, &mut rng);
                KeyRow {
                    key,
                    newer: 0,
                    written: written.unwrap_or_else(|| NOW - rng.i64(0..DAYS * SECONDS_PER_DAY)),
                    kind,
                }
            }
        };
        last = Some(row.clone());
        row
    })
}

/// A load balancer's log, one for every few minutes.
fn access_log(place: Place, rng: &mut Rng) -> NewKey {
    let written = place.second(rng);
    let [a, b, c] = [rng.u8(1..), rng.u8(..), rng.u8(1..)];
    let suffix = lower_alphanumeric(8, rng);
    NewKey {
        key: format!(
            "AWSLogs/123456789012/elasticloadbalancing/eu-west-1/{}/\
             123456789012_elasticloadbalancing_eu-west-1_app.shop.50dc6c495c0c9188_{}Z_10.{a}.{b}.{c}_{suffix}.log.gz",
            at(written, "%Y/%m/%d"),
            at(written, "%Y%m%dT%H%M%S"),
        ),
        written: Some(written),
    }
}

/// A part of a daily partition; all parts of a day carry the id of the job that wrote them.
fn partition_part(place: Place, rng: &mut Rng) -> NewKey {
    let parts = place.count.div_ceil(DAYS.unsigned_abs()).max(1);
    let day = (place.index / parts).cast_signed();
    let part = place.index % parts;
    let written = NOW - (DAYS - day) * SECONDS_PER_DAY + rng.i64(10_000..14_000);
    let job = hexadecimal(32, &mut Rng::with_seed(day.unsigned_abs()));
    NewKey {
        key: format!(
            "warehouse/events/dt={}/part-{part:05}-{}-{}-{}-{}-{}.c000.snappy.parquet",
            at(written, "%Y-%m-%d"),
            &job[..8],
            &job[8..12],
            &job[12..16],
            &job[16..20],
            &job[20..],
        ),
        written: Some(written),
    }
}

/// A picture under the beginning of its own hash.
fn image(place: Place, rng: &mut Rng) -> NewKey {
    let hash = format!("{:016x}{}", place.spread(rng), hexadecimal(16, rng));
    let extension = pick(&["jpg", "jpg", "jpg", "JPG", "png", "webp"], rng);
    let key = format!("images/{}/{}/{hash}.{extension}", &hash[..2], &hash[2..4]);
    NewKey { key, written: None }
}

/// The description of a package in a binary cache, at the top of the bucket.
fn store_description(place: Place, rng: &mut Rng) -> NewKey {
    let key = format!("{}.narinfo", store_hash(place, 32, rng));
    NewKey { key, written: None }
}

/// A package in a binary cache.
fn store_archive(place: Place, rng: &mut Rng) -> NewKey {
    let key = format!("nar/{}.nar.xz", store_hash(place, 52, rng));
    NewKey { key, written: None }
}

fn database_dump(place: Place, rng: &mut Rng) -> NewKey {
    const DATABASES: [&str; 12] = [
        "accounts",
        "analytics",
        "billing",
        "catalogue",
        "crm",
        "identity",
        "inventory",
        "orders",
        "payments",
        "reviews",
        "shipping",
        "wiki",
    ];
    let (database, place) = place.within(&DATABASES);
    let written = place.second(rng);
    NewKey {
        key: format!(
            "backups/postgresql/{database}/{}/{database}-{}.sql.gz",
            at(written, "%Y/%m"),
            at(written, "%Y%m%dT%H%M%S"),
        ),
        written: Some(written),
    }
}

/// A document that people named: with blanks, and in more than ASCII.
fn document(place: Place, rng: &mut Rng) -> NewKey {
    const TEAMS: [&str; 6] = [
        "Facilities & Safety",
        "Human Resources",
        "Ventas América",
        "Vertrieb Süd",
        "Éditions",
        "営業部",
    ];
    const TITLES: [&str; 10] = [
        "Quarterly report.docx",
        "Angebot Müller + Söhne.pdf",
        "Budget (final) v2.xlsx",
        "Présentation clients.pptx",
        "議事録.docx",
        "Invoice.pdf",
        "contract signed.PDF",
        "Travel expenses 100%.xlsx",
        "scan.tiff",
        "Notes",
    ];
    let (team, place) = place.within(&TEAMS);
    let title = pick(&TITLES, rng);
    let key = format!("documents/{team}/{:07} {title}", place.index);
    NewKey { key, written: None }
}

/// A file of a web site, released again and again.
fn web_asset(place: Place, rng: &mut Rng) -> NewKey {
    const FILES: [(&str, &str); 12] = [
        ("assets/fonts/inter-latin-wght-normal", "woff2"),
        ("assets/icons/sprite", "svg"),
        ("assets/logo", "png"),
        ("css/main", "css"),
        ("css/vendor", "css"),
        ("index", "html"),
        ("js/account", "js"),
        ("js/account", "js.map"),
        ("js/checkout", "js"),
        ("js/main", "js"),
        ("js/main", "js.map"),
        ("manifest", "json"),
    ];
    let files = FILES.len() as u64;
    let releases = place.count.div_ceil(files);
    let release = Place {
        index: place.index / files,
        count: releases,
    };
    let span = (DAYS * SECONDS_PER_DAY).unsigned_abs();
    let since = release.index * span / releases;
    let written = NOW - DAYS * SECONDS_PER_DAY + since.cast_signed();
    let (name, extension) = pick_at(&FILES, place.index % files);
    let hash = format!("{:03x}{}", place.index % files, hexadecimal(5, rng));
    NewKey {
        key: format!(
            "static/{}-{:06}/{name}.{hash}.{extension}",
            at(written, "%Y%m%d"),
            release.index
        ),
        written: Some(written),
    }
}

fn library(place: Place, rng: &mut Rng) -> NewKey {
    const NAMES: [&str; 4] = ["catalogue", "common", "gateway", "payments"];
    let (name, place) = place.within(&NAMES);
    let build = place.index;
    let ending = pick(&[".jar", ".jar", ".pom", "-sources.jar", ".jar.sha1"], rng);
    let key = format!("releases/com/example/{name}/1.{build:07}/{name}-1.{build:07}{ending}");
    NewKey { key, written: None }
}

fn certificate(place: Place, rng: &mut Rng) -> NewKey {
    let name = pick(&["privkey.pem", "fullchain.pem", "store.jks"], rng);
    let key = format!("certificates/host-{:06}.example.com/{name}", place.index);
    NewKey { key, written: None }
}

fn private_key(place: Place, rng: &mut Rng) -> NewKey {
    let name = pick(
        &[
            "id_rsa",
            "id_rsa",
            "id_ed25519",
            "id_rsa.pub",
            "known_hosts",
        ],
        rng,
    );
    let key = format!("home/user{:06}/.ssh/{name}", place.index);
    NewKey { key, written: None }
}

fn infrastructure_state(place: Place, rng: &mut Rng) -> NewKey {
    let name = pick(
        &["terraform.tfstate", "terraform.tfstate", "prod.tfvars"],
        rng,
    );
    let key = format!("infrastructure/component-{:06}/{name}", place.index);
    NewKey { key, written: None }
}

fn video(place: Place, rng: &mut Rng) -> NewKey {
    let extension = pick(&["mp4", "mp4", "mov", "m2ts"], rng);
    let key = format!("footage/camera-{:08}.{extension}", place.index);
    NewKey { key, written: None }
}

impl Place {
    /// A number that looks random and grows with the place.
    fn spread(self, rng: &mut Rng) -> u64 {
        let scaled = (u128::from(self.index) << 64) + u128::from(rng.u64(..));
        u64::try_from(scaled / u128::from(self.count)).unwrap_or(u64::MAX)
    }

    /// An instant that grows with the place, in seconds.
    fn second(self, rng: &mut Rng) -> i64 {
        let span = (DAYS * SECONDS_PER_DAY).unsigned_abs();
        let since = (u128::from(self.spread(rng)) * u128::from(span)) >> 64;
        NOW - DAYS * SECONDS_PER_DAY + i64::try_from(since).unwrap_or(0)
    }

    /// One of some sorted folders, and the place in it.
    fn within<'a>(self, folders: &[&'a str]) -> (&'a str, Self) {
        let count = self.count.div_ceil(folders.len() as u64);
        let place = Self {
            index: self.index % count,
            count,
        };
        (pick_at(folders, self.index / count), place)
    }
}

/// Letters and digits as Nix spells hashes, of which the first twelve grow with the place.
fn store_hash(place: Place, length: usize, rng: &mut Rng) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";
    let digit = |number: u64| char::from(DIGITS[(number % 32) as usize]);
    let number = place.spread(rng);
    let ordered = (0..12).map(|index| digit(number >> (59 - 5 * index)));
    let mut hash: String = ordered.collect();
    hash.extend((12..length).map(|_| digit(rng.u64(..))));
    hash
}

/// Random hexadecimal digits.
pub(crate) fn hexadecimal(length: usize, rng: &mut Rng) -> String {
    let mut bytes = vec![0; length.div_ceil(2)];
    rng.fill(&mut bytes);
    let mut text = hex::encode(bytes);
    text.truncate(length);
    text
}

fn lower_alphanumeric(length: usize, rng: &mut Rng) -> String {
    (0..length)
        .map(|_| rng.alphanumeric().to_ascii_lowercase())
        .collect()
}

fn pick<T: Copy>(values: &[T], rng: &mut Rng) -> T {
    values[rng.usize(..values.len())]
}

fn pick_at<T: Copy>(values: &[T], index: u64) -> T {
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    values[index.min(values.len() - 1)]
}

fn at(second: i64, format: &str) -> String {
    let instant = Timestamp::from_second(second).unwrap_or_default();
    instant.to_zoned(TimeZone::UTC).strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::derived::{Category, category};
    use std::collections::BTreeSet;

    #[test]
    fn shares_add_up() {
        assert_eq!(KINDS.iter().map(|kind| kind.share).sum::<u64>(), 1_000);
    }

    #[test]
    fn keys_are_sorted_and_only_versions_share_one() {
        let rows: Vec<KeyRow> = in_order(50_000, 7).collect();
        assert_eq!(rows.len(), 50_000);
        for pair in rows.windows(2) {
            let expected = if pair[0].key == pair[1].key {
                pair[0].newer + 1
            } else {
                0
            };
            assert!(
                pair[0].key <= pair[1].key,
                "{} > {}",
                pair[0].key,
                pair[1].key
            );
            assert_eq!(pair[1].newer, expected, "{}", pair[1].key);
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_keys() {
        let keys = |seed| in_order(1_000, seed).map(|row| row.key).collect::<Vec<_>>();
        assert_eq!(keys(1), keys(1));
        assert_ne!(keys(1), keys(2));
    }

    #[test]
    fn every_category_is_there() {
        let found: BTreeSet<Category> = in_order(20_000, 1).map(|row| category(&row.key)).collect();
        let missing: Vec<_> = Category::ALL
            .iter()
            .filter(|c| !found.contains(c))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
