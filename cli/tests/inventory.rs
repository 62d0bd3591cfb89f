//! `s3insights inventory` as users type it, over reports on disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use shared::ids::{AccountId, BucketName};
use shared::manifest::Md5Hash;
use shared::smoke_report::SmokeReport;
use tempfile::TempDir;

/// A report of two rows in a folder of its own.
struct Report {
    folder: TempDir,
    manifest: PathBuf,
    data: PathBuf,
}

impl Report {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let report = SmokeReport::new(
            &AccountId::try_from("123456789012").expect("an account"),
            &BucketName::try_from("photos").expect("a bucket"),
            "daily",
            &BucketName::try_from("reports").expect("a bucket"),
            "2026-11-01T01:00:00Z".parse().expect("an instant"),
        );
        let mut paths = Vec::new();
        for (key, _, content) in report.objects {
            let path = folder.path().join(key);
            fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            fs::write(&path, content).expect("a file");
            paths.push(path);
        }
        let [data, manifest, _] = &paths[..] else {
            panic!("data, manifest, checksum");
        };
        Self {
            manifest: manifest.clone(),
            data: data.clone(),
            folder,
        }
    }

    fn to(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// Changes the manifest, and its checksum with it.
    fn change_manifest(&self, change: impl FnOnce(&mut Value)) {
        let manifest = fs::read(&self.manifest).expect("a manifest");
        let mut manifest = serde_json::from_slice(&manifest).expect("JSON");
        change(&mut manifest);
        let manifest = manifest.to_string();
        fs::write(&self.manifest, &manifest).expect("a manifest");
        let checksum = Md5Hash::of(manifest.as_bytes()).to_string();
        fs::write(self.manifest.with_file_name("manifest.checksum"), checksum).expect("a checksum");
    }

    fn consolidate(&self) -> Answer {
        let to = self.to();
        answer(
            command()
                .args(["inventory", "consolidate"])
                .arg(&self.manifest)
                .arg("--to")
                .arg(to),
        )
    }

    fn verify(&self) -> Answer {
        answer(command().args(["inventory", "verify"]).arg(&self.manifest))
    }

    /// Everything in the folder written to.
    fn written(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.to()) else {
            return Vec::new();
        };
        let name = |entry: std::io::Result<fs::DirEntry>| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        };
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    }
}

struct Answer {
    exit: i32,
    data: String,
    notes: String,
}

fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_s3insights"))
}

fn answer(command: &mut Command) -> Answer {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("the command runs");
    Answer {
        exit: status.code().expect("it was not killed"),
        data: String::from_utf8(stdout).expect("text"),
        notes: String::from_utf8(stderr).expect("text"),
    }
}

#[test]
fn a_report_is_verified_and_consolidated() {
    let report = Report::new();
    let verified = report.verify();
    assert_eq!(verified.exit, 0, "{}", verified.notes);
    assert!(
        verified.data.contains("The report about photos is whole"),
        "{}",
        verified.data
    );

    let done = report.consolidate();
    assert_eq!(done.exit, 0, "{}", done.notes);
    assert!(
        done.data.starts_with("2 rows of 1 file, verified"),
        "{}",
        done.data
    );
    assert_eq!(report.written(), ["smoke-test.parquet", "totals.json"]);

    // Again, it is the same.
    let first = fs::read(report.to().join("smoke-test.parquet")).expect("a file");
    assert_eq!(report.consolidate().exit, 0);
    assert_eq!(
        fs::read(report.to().join("smoke-test.parquet")).expect("a file"),
        first
    );
    assert_eq!(report.written().len(), 2);
}

#[test]
fn json_tells_all_figures_and_the_totals() {
    let report = Report::new();
    let mut consolidate = command();
    consolidate.args(["inventory", "consolidate", "--json", "--threads", "1"]);
    let done = answer(
        consolidate
            .arg(&report.manifest)
            .arg("--to")
            .arg(report.to()),
    );
    let done: Value = serde_json::from_str(&done.data).expect("JSON alone");
    let delivered = fs::metadata(&report.data).expect("a file").len();
    assert_eq!(done["rows"], 2);
    assert_eq!(done["files"], 1);
    assert_eq!(done["bytes_delivered"], delivered);
    assert_eq!(done["manifest_checksum"], true);
    assert_eq!(done["totals"]["all"]["objects"], 2);
    let number = |name: &str| done[name].as_u64().unwrap_or_else(|| panic!("{name}"));
    for name in ["seconds", "seconds_hashing", "seconds_copying"] {
        assert!(
            done[name].as_f64().is_some_and(|seconds| seconds >= 0.0),
            "{name}"
        );
    }
    for name in ["bytes_read", "bytes_written", "bytes_copied"] {
        assert!(number(name) > 0, "{name}");
    }
    let passed = number("bytes_read") + number("bytes_hashed");
    assert!(passed >= delivered, "every byte was hashed");
    let written = fs::metadata(report.to().join("smoke-test.parquet"))
        .expect("a file")
        .len();
    assert_eq!(number("bytes_written") + number("bytes_copied"), written);
}

#[test]
fn a_report_without_its_checksum_is_taken_and_that_is_said() {
    let report = Report::new();
    fs::remove_file(report.manifest.with_file_name("manifest.checksum")).expect("it was there");
    let done = report.consolidate();
    assert_eq!(done.exit, 0);
    assert!(
        done.notes.contains("there is no manifest.checksum"),
        "{}",
        done.notes
    );
}

#[test]
fn a_copied_report_is_found_beside_its_manifest() {
    let report = Report::new();
    let flat = report.folder.path().join("flat");
    fs::create_dir(&flat).expect("a folder");
    for path in [&report.manifest, &report.data] {
        let name = path.file_name().expect("a name");
        fs::rename(path, flat.join(name)).expect("it moves");
    }
    let verified = answer(
        command()
            .args(["inventory", "verify"])
            .arg(flat.join("manifest.json")),
    );
    assert_eq!(verified.exit, 0, "{}", verified.notes);
}

type Damage = fn(&Report);

#[test]
fn what_differs_is_named_and_nothing_is_written() {
    let cases: [(&str, Damage, &str); 6] = [
        (
            "altered",
            |report| {
                let mut data = fs::read(&report.data).expect("a file");
                let middle = data.len() / 2;
                data[middle] ^= 1;
                fs::write(&report.data, data).expect("a file");
            },
            "the manifest says MD5",
        ),
        (
            "truncated",
            |report| {
                let data = fs::read(&report.data).expect("a file");
                fs::write(&report.data, &data[..100]).expect("a file");
            },
            "but the file has 100",
        ),
        (
            "missing",
            |report| fs::remove_file(&report.data).expect("it was there"),
            "it is not there",
        ),
        (
            "of another bucket",
            |report| report.change_manifest(|manifest| manifest["sourceBucket"] = json!("videos")),
            "row 0 is about the bucket",
        ),
        (
            "without a promised column",
            |report| {
                report.change_manifest(|manifest| {
                    let schema = manifest["fileSchema"].as_str().expect("text");
                    let more = schema.replace('}', " optional binary object_owner (UTF8);}");
                    manifest["fileSchema"] = json!(more);
                });
            },
            "the file has no column \"object_owner\"",
        ),
        (
            "no Parquet",
            |report| {
                fs::write(&report.data, b"PAR1 but no more").expect("a file");
                report.change_manifest(|manifest| {
                    manifest["files"][0]["size"] = json!(16);
                    manifest["files"][0]["MD5checksum"] = json!(Md5Hash::of(b"PAR1 but no more"));
                });
            },
            "cannot be read",
        ),
    ];
    for (case, damage, expected) in cases {
        let report = Report::new();
        damage(&report);
        let done = report.consolidate();
        assert_eq!(done.exit, 1, "{case}: {}", done.notes);
        assert!(done.notes.contains(expected), "{case}: {}", done.notes);
        assert!(
            done.notes.contains("data/smoke-test.parquet: "),
            "{case}: {}",
            done.notes
        );
        assert_eq!(done.data, "", "{case}");
        assert_eq!(report.written(), [""; 0], "{case}");
    }
}

#[test]
fn differences_are_json_too() {
    let report = Report::new();
    fs::write(&report.data, b"").expect("a file");
    let done = answer(
        command()
            .args(["inventory", "verify", "--json"])
            .arg(&report.manifest),
    );
    assert_eq!(done.exit, 1);
    let differs: Value = serde_json::from_str(&done.data).expect("JSON");
    assert_eq!(differs["verified"], false);
    let file = differs["differences"][0]["file"].as_str().expect("a file");
    assert!(file.ends_with("data/smoke-test.parquet"));
}

#[test]
fn an_altered_manifest_is_told_by_its_checksum() {
    let report = Report::new();
    let manifest = fs::read_to_string(&report.manifest).expect("a manifest");
    fs::write(&report.manifest, manifest.replace("photos", "videos")).expect("a file");
    let verified = report.verify();
    assert_eq!(verified.exit, 1);
    assert!(
        verified.notes.contains("manifest.checksum says"),
        "{}",
        verified.notes
    );
}

#[test]
fn what_cannot_be_a_manifest_is_misuse() {
    let cases: [(Damage, &str); 5] = [
        (
            |report| report.change_manifest(|manifest| manifest["version"] = json!("2099-01-01")),
            "manifest field `version`: \"2099-01-01\" is not 2016-11-30",
        ),
        (
            |report| {
                report.change_manifest(|manifest| {
                    let file = manifest["files"][0].clone();
                    manifest["files"].as_array_mut().expect("a list").push(file);
                });
            },
            "is listed twice",
        ),
        (
            |report| {
                report.change_manifest(|manifest| {
                    manifest["files"][0]["key"] = json!("../../../etc/passwd");
                });
            },
            "is not a key that S3 delivers to",
        ),
        (
            |report| report.change_manifest(|manifest| *manifest = json!([])),
            "manifest field",
        ),
        (
            |report| fs::remove_file(&report.manifest).expect("it was there"),
            "manifest.json: No such file",
        ),
    ];
    for (damage, expected) in cases {
        let report = Report::new();
        damage(&report);
        let done = report.consolidate();
        assert_eq!(done.exit, 2, "{expected}: {}", done.notes);
        assert!(done.notes.contains(expected), "{}", done.notes);
        assert_eq!(report.written(), [""; 0]);
    }
    let report = Report::new();
    let folder = report.manifest.parent().expect("a folder");
    let done = answer(command().args(["inventory", "verify"]).arg(folder));
    assert_eq!(done.exit, 2);
    assert!(
        done.notes.contains("is a directory") && done.notes.contains("hint: name"),
        "{}",
        done.notes
    );
}

#[test]
fn a_key_that_is_absolute_does_not_lead_out_of_the_folder() {
    let report = Report::new();
    let elsewhere = tempfile::tempdir().expect("a folder");
    let outside = elsewhere.path().join("smoke-test.parquet");
    fs::rename(&report.data, &outside).expect("it moves");
    report.change_manifest(|manifest| manifest["files"][0]["key"] = json!(outside));
    let verified = report.verify();
    assert_ne!(verified.exit, 0);
    assert!(
        verified.notes.contains("leads out of the report's folder"),
        "{}",
        verified.notes
    );
}

/// Makes the report one of several files, each of the same content.
fn with_files(report: &Report, names: &[&str]) -> Vec<PathBuf> {
    let content = fs::read(&report.data).expect("data");
    let paths = names.iter().map(|name| report.data.with_file_name(name));
    let paths: Vec<_> = paths.collect();
    for path in &paths {
        fs::write(path, &content).expect("a file");
    }
    report.change_manifest(|manifest| {
        let file = manifest["files"][0].clone();
        let files = names.iter().map(|name| {
            let mut file = file.clone();
            file["key"] = json!(name);
            file
        });
        manifest["files"] = files.collect();
    });
    paths
}

#[test]
fn files_that_are_verified_together_are_consolidated_and_told_apart() {
    let report = Report::new();
    let names: Vec<String> = (0..11)
        .map(|number| format!("{number:02}.parquet"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let paths = with_files(&report, &names);
    let verified = report.verify();
    assert_eq!(verified.exit, 0, "{}", verified.notes);
    let done = report.consolidate();
    assert_eq!(done.exit, 0, "{}", done.notes);
    assert!(
        done.data.starts_with("22 rows of 11 files"),
        "{}",
        done.data
    );
    let mut expected = names.clone();
    expected.push("totals.json");
    assert_eq!(report.written(), expected);
    let written = fs::read(report.to().join("03.parquet")).expect("a file");
    fs::remove_dir_all(report.to()).expect("it goes");

    let alone = Report::new();
    assert_eq!(alone.consolidate().exit, 0);
    let same = fs::read(alone.to().join("smoke-test.parquet")).expect("a file");
    assert_eq!(written, same, "hashed together or alone");

    let mut other = fs::read(&paths[4]).expect("a file");
    other[20] ^= 1;
    fs::write(&paths[4], other).expect("a file");
    fs::remove_file(&paths[7]).expect("it goes");
    for answer in [report.verify(), report.consolidate()] {
        assert_eq!(answer.exit, 1, "{}", answer.notes);
        assert!(
            answer.notes.contains("04.parquet: the manifest says MD5"),
            "{}",
            answer.notes
        );
        assert!(
            answer.notes.contains("07.parquet: it is not there"),
            "{}",
            answer.notes
        );
        assert!(
            answer.notes.contains("2 files of it differ"),
            "{}",
            answer.notes
        );
    }
    assert!(!report.to().exists(), "a folder is left");
}

/// A file that takes a while to hash, and no place on most disks.
#[test]
#[cfg(unix)]
fn an_interruption_leaves_nothing_behind() {
    let report = Report::new();
    let size = 20 << 30;
    let file = fs::File::create(&report.data).expect("a file");
    file.set_len(size).expect("a size");
    report.change_manifest(|manifest| manifest["files"][0]["size"] = json!(size));
    let mut process = command()
        .args(["inventory", "consolidate"])
        .arg(&report.manifest)
        .arg("--to")
        .arg(report.to())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the command runs");
    while report.written().is_empty() {
        assert_eq!(process.try_wait().expect("a process"), None);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(report.written()[0].ends_with(".partial"));
    let killed = Command::new("kill").arg(process.id().to_string()).status();
    assert!(killed.expect("a status").success());
    let status = process.wait().expect("a status");
    assert_eq!(status.code(), Some(130));
    assert!(!report.to().exists(), "a folder is left");
}

/// A limit on the size of files is as near as a test comes to a full disk.
#[test]
#[cfg(unix)]
fn a_full_disk_leaves_nothing_behind() {
    let report = Report::new();
    let script = format!(
        "trap '' XFSZ; ulimit -f 1; exec {} inventory consolidate {} --to {}",
        quoted(Path::new(env!("CARGO_BIN_EXE_s3insights"))),
        quoted(&report.manifest),
        quoted(&report.to())
    );
    let done = answer(Command::new("sh").args(["-c", &script]));
    assert_eq!(done.exit, 1, "{}", done.notes);
    assert!(done.notes.contains("File too large"), "{}", done.notes);
    assert!(!report.to().exists(), "a folder is left");
}

#[cfg(unix)]
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display())
}
