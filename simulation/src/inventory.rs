//! S3 Inventory: what it delivers for a configuration, when, in which order, and what may be wrong.

use std::collections::BTreeMap;

use bytes::Bytes;
use real_shared::manifest::Md5Hash;
use serde_json::{Value, json};

use crate::queues::{self, NOTIFICATIONS};
use crate::world::{Event, State};

/// An inventory configuration on a source bucket.
#[derive(Debug, Clone)]
pub(crate) struct Configuration {
    pub(crate) destination: String,
    /// Tells it from an earlier one under the same id.
    made: u64,
    /// When its first report begins, unless S3 never gets to it.
    first: Option<i64>,
}

/// What a data file holds: so many rows about a bucket, of one file of one report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) bucket: String,
    pub(crate) report: String,
    pub(crate) file: u64,
    pub(crate) rows: u64,
}

impl Content {
    fn bytes(&self) -> Bytes {
        let Self {
            bucket,
            report,
            file,
            rows,
        } = self;
        format!("{bucket} {report} {file} {rows}").into()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let [bucket, report, file, rows] = text.split(' ').collect::<Vec<_>>()[..] else {
            return None;
        };
        Some(Self {
            bucket: bucket.to_owned(),
            report: report.to_owned(),
            file: file.parse().ok()?,
            rows: rows.parse().ok()?,
        })
    }
}

/// A report as S3 made it. Two that were begun within a minute have the same keys: the second takes the
/// place of the first, object by object.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    destination: String,
    pub(crate) manifest_key: String,
    pub(crate) manifest_md5: Md5Hash,
    /// What each file is to hold, by its stem.
    pub(crate) files: BTreeMap<String, Bytes>,
    /// Whether all of it is what its manifest says, and comes.
    pub(crate) is_sound: bool,
}

/// What may be wrong with a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    None,
    Truncated,
    OtherBytes,
    ForeignRows,
    FileMissing,
    ManifestMissing,
    WrongChecksum,
    ForeignManifest,
}

/// A configuration was put; a report follows unless S3 never gets to it.
pub(crate) fn put(state: &mut State, bucket: &str, id: &str, destination: &str) {
    let key = (bucket.to_owned(), id.to_owned());
    if let Some(known) = state.configurations.get_mut(&key) {
        destination.clone_into(&mut known.destination);
        // Each of two requests may get a report, of the same minute.
        let (made, first) = (known.made, known.first);
        if let Some(first) = first
            && state.rng.bool()
        {
            let time = within_the_minute(state, first);
            begin_report(state, bucket, id, made, time);
        }
        return;
    }
    let made = state.id();
    // Days are short here: reports come within the first hours, and again later.
    let first = (state.rng.u32(0..20) > 0).then(|| state.now + state.rng.i64(60..12_000));
    let configuration = Configuration {
        destination: destination.to_owned(),
        made,
        first,
    };
    state.configurations.insert(key, configuration);
    let Some(first) = first else { return };
    let second = match state.rng.u32(0..6) {
        0 => within_the_minute(state, first),
        1..=2 => first + state.rng.i64(60..300),
        _ => first + state.rng.i64(600..9_000),
    };
    for time in [first, second] {
        begin_report(state, bucket, id, made, time);
    }
}

/// A moment of the minute that another is in, and not before that.
fn within_the_minute(state: &mut State, moment: i64) -> i64 {
    moment + state.rng.i64(0..60 - moment % 60)
}

fn begin_report(state: &mut State, bucket: &str, id: &str, made: u64, time: i64) {
    let (bucket, id) = (bucket.to_owned(), id.to_owned());
    state.at(time, Event::Report { bucket, id, made });
}

/// S3 makes a report, maybe in the minute of another one. One that was begun is delivered even if its configuration goes meanwhile.
pub(crate) fn report(state: &mut State, bucket: &str, id: &str, made: u64) {
    let key = (bucket.to_owned(), id.to_owned());
    let Some(configuration) = state.configurations.get(&key) else {
        return;
    };
    let source = &state.sources[bucket];
    if configuration.made != made || !source.exists || source.is_empty {
        return;
    }
    let destination = configuration.destination.clone();
    let prefix = source.account.clone();
    let objects = objects(state, bucket, &prefix, id, &destination);
    let mut time = state.now;
    for (key, body) in objects {
        time += match state.rng.u32(0..6) {
            0 => state.rng.i64(1..2_000),
            _ => state.rng.i64(0..20),
        };
        let bucket = destination.clone();
        state.at(time, Event::Deliver { bucket, key, body });
    }
}

/// A report that existed before the run.
pub(crate) fn existing(state: &mut State, bucket: &str, home: &str) -> String {
    let objects = objects(state, bucket, "earlier", "nightly", home);
    for (key, body) in &objects {
        state.put_object(home, key, body.clone());
    }
    let prefix = format!("earlier/{bucket}/nightly/{}", stamp(state));
    format!("s3://{home}/{prefix}/manifest.json")
}

fn stamp(state: &State) -> String {
    state.timestamp().strftime("%Y-%m-%dT%H-%MZ").to_string()
}

fn manifest(bucket: &str, destination: &str, files: &[Value]) -> String {
    json!({
        "sourceBucket": bucket,
        "destinationBucket": format!("arn:aws:s3:::{destination}"),
        "version": "2016-11-30",
        "creationTimestamp": "1772323200000",
        "fileFormat": "Parquet",
        "fileSchema": "message s3.inventory { required binary bucket (STRING); \
                       required binary key (STRING); }",
        "files": files,
    })
    .to_string()
}

/// The objects of a report, in the order in which they come.
fn objects(
    state: &mut State,
    bucket: &str,
    prefix: &str,
    id: &str,
    destination: &str,
) -> Vec<(String, Bytes)> {
    use Damage::{
        FileMissing, ForeignManifest, ForeignRows, ManifestMissing, None as Good, OtherBytes,
        Truncated, WrongChecksum,
    };
    let damages = [
        Truncated,
        OtherBytes,
        ForeignRows,
        FileMissing,
        ManifestMissing,
        WrongChecksum,
        ForeignManifest,
    ];
    let damage = match state.rng.u32(0..8) {
        0 => damages[state.rng.usize(0..damages.len())],
        _ => Good,
    };
    let count = match state.rng.u32(0..10) {
        0 => 0,
        1..=5 => 1,
        6..=8 => 2,
        _ => 4,
    };
    let place = format!("{prefix}/{bucket}/{id}");
    let folder = format!("{place}/{}", stamp(state));
    let manifest_key = format!("{folder}/manifest.json");
    let mut names = names_to_take(state, destination, &manifest_key).into_iter();
    let mut files = Vec::new();
    let mut objects = Vec::new();
    let mut truth = BTreeMap::new();
    for file in 0..count {
        let first = file == 0;
        let of = if first && damage == ForeignRows {
            "somebody-elses"
        } else {
            bucket
        };
        let report = state.id().to_string();
        let rows = state.rng.u64(1..1_000);
        let content = Content {
            bucket: of.to_owned(),
            report: report.clone(),
            file,
            rows,
        };
        let good = content.bytes();
        let stem = names.next().unwrap_or_else(|| format!("{report}-{file}"));
        let key = format!("{place}/data/{stem}.parquet");
        files.push(json!({
            "key": key, "size": good.len(), "MD5checksum": Md5Hash::of(&good).to_string(),
        }));
        let body = match damage {
            Truncated if first => good.slice(..good.len() - 1),
            OtherBytes if first => vec![b'x'; good.len()].into(),
            _ => good.clone(),
        };
        if !(first && damage == FileMissing) {
            objects.push((key, body));
        }
        truth.insert(stem, good);
    }
    let about = if damage == ForeignManifest {
        "somebody-elses"
    } else {
        bucket
    };
    let manifest = manifest(about, destination, &files);
    let manifest_md5 = Md5Hash::of(manifest.as_bytes());
    let checksum = match damage {
        WrongChecksum => Md5Hash::of(b"another"),
        _ => manifest_md5,
    };
    if damage != ManifestMissing {
        objects.push((manifest_key.clone(), manifest.into()));
    }
    objects.push((
        format!("{folder}/manifest.checksum"),
        checksum.to_string().into(),
    ));
    if state.rng.u32(0..4) == 0 {
        state.rng.shuffle(&mut objects);
    }
    let is_harmless = damage == Good
        || (count == 0 && !matches!(damage, ManifestMissing | WrongChecksum | ForeignManifest));
    state.reports.push(Report {
        destination: destination.to_owned(),
        manifest_key,
        manifest_md5,
        files: truth,
        is_sound: is_harmless,
    });
    objects
}

/// The names of files that a report takes from one whose place it takes: all of them, or none.
fn names_to_take(state: &mut State, destination: &str, manifest_key: &str) -> Vec<String> {
    let other = state
        .reports
        .iter()
        .find(|report| report.destination == destination && report.manifest_key == manifest_key);
    let Some(other) = other else {
        return Vec::new();
    };
    let names = other.files.keys().cloned().collect();
    state.figures.same_keys += 1;
    if state.rng.bool() { names } else { Vec::new() }
}

/// Between two requests of a reader S3 may put another object in the place of the one that is read.
pub(crate) fn may_be_replaced(state: &mut State, (bucket, key): &(String, String)) {
    let is_it = |event: &Event| matches!(event, Event::Deliver { bucket: to, key: name, .. } if to == bucket && name == key);
    let coming = state.timers.iter().find(|(_, event)| is_it(event));
    let Some((&time, _)) = coming else { return };
    if state.rng.bool()
        && let Some(Event::Deliver { body, .. }) = state.timers.remove(&time)
    {
        deliver(state, bucket, key, body);
    }
}

/// S3 puts an object into a destination and tells of it, if the destination is there.
pub(crate) fn deliver(state: &mut State, bucket: &str, key: &str, body: Bytes) {
    if !state.put_object(bucket, key, body) {
        return;
    }
    state.note(|| format!("S3 delivers {bucket}/{key}"));
    // Notifications of other objects are acknowledged by the processor; a few will do.
    if !key.ends_with("manifest.checksum") && state.rng.u32(0..4) > 0 {
        return;
    }
    if state.happens(state.chaos.lost) {
        state.note(|| "  and its notification is lost".to_owned());
        state.figures.lost += 1;
        return;
    }
    let notification = json!({ "Records": [{
        "eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
        "s3": { "bucket": { "name": bucket }, "object": { "key": key } },
    }]});
    queues::send(state, NOTIFICATIONS, &notification.to_string(), None);
}
