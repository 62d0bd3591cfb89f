//! CloudFormation templates made ready for deployment, as `sam package` does: functions zipped and
//! pointed at, definitions of state machines taken in, short tags written out.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};
use serde_yaml_ng::Value as Yaml;

/// A template that can be given to CloudFormation once its packages are uploaded.
#[derive(Debug)]
pub(crate) struct Packaged {
    /// The template, as JSON.
    pub(crate) template: Value,
    /// Zip files by the key they are expected under in the artifact bucket.
    pub(crate) packages: BTreeMap<String, PathBuf>,
}

/// Reads a template. `binaries` is the folder that holds the functions' binaries: `<task>` as cargo
/// writes them, or `<task>/bootstrap` as cargo-lambda does. Needed when the template has functions.
pub(crate) fn package(
    template: &Path,
    binaries: Option<&Path>,
    artifact_bucket: &str,
) -> Result<Packaged> {
    let text =
        fs::read_to_string(template).with_context(|| format!("reading {}", template.display()))?;
    let yaml: Yaml = serde_yaml_ng::from_str(&text)
        .with_context(|| format!("parsing {}", template.display()))?;
    let mut document = to_json(&yaml).with_context(|| format!("reading {}", template.display()))?;
    let folder = template.parent().unwrap_or(Path::new("."));
    let mut tasks = BTreeMap::new();
    for (name, resource) in document["Resources"].as_object_mut().into_iter().flatten() {
        match resource["Type"].as_str() {
            Some("AWS::Serverless::Function") => {
                let Some(Value::String(code)) = resource["Properties"].get("CodeUri").cloned()
                else {
                    continue;
                };
                let task = Path::new(&code).file_name().and_then(|name| name.to_str());
                let task = task
                    .with_context(|| format!("CodeUri of {name} names no folder"))?
                    .to_owned();
                let binaries =
                    binaries.with_context(|| format!("{name} needs a folder of binaries"))?;
                let binary = find_binary(binaries, &task)?;
                let key = format!("{task}-{}.zip", age_and_size(&binary)?);
                resource["Properties"]["CodeUri"] = json!({"Bucket": artifact_bucket, "Key": key});
                tasks.insert(key, binary);
            }
            Some("AWS::Serverless::StateMachine") => {
                take_definition_in(folder, resource)
                    .with_context(|| format!("state machine {name}"))?;
            }
            _ => {}
        }
    }
    let packages = zip_all(&tasks)?;
    Ok(Packaged {
        template: document,
        packages,
    })
}

fn take_definition_in(folder: &Path, resource: &mut Value) -> Result<()> {
    let Some(properties) = resource["Properties"].as_object_mut() else {
        return Ok(());
    };
    let Some(Value::String(uri)) = properties.get("DefinitionUri").cloned() else {
        return Ok(());
    };
    let path = folder.join(uri);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let definition: Value =
        serde_json::from_str(&text).with_context(|| format!("parsing {}", path.display()))?;
    properties.remove("DefinitionUri");
    properties.insert("Definition".to_owned(), definition);
    Ok(())
}

fn find_binary(folder: &Path, task: &str) -> Result<PathBuf> {
    [folder.join(task).join("bootstrap"), folder.join(task)]
        .into_iter()
        .find(|path| path.is_file())
        .with_context(|| {
            format!(
                "{} has no binary of the task {task}; build it first",
                folder.display()
            )
        })
}

/// Changes whenever the binary does.
fn age_and_size(binary: &Path) -> Result<String> {
    let metadata = fs::metadata(binary).with_context(|| format!("reading {}", binary.display()))?;
    let age = metadata.modified()?.duration_since(UNIX_EPOCH)?;
    Ok(format!("{:x}-{:x}", age.as_nanos(), metadata.len()))
}

/// Zips binaries that were not zipped before, a few at a time. The zip files stay beside the
/// binaries, for the next deployment.
fn zip_all(tasks: &BTreeMap<String, PathBuf>) -> Result<BTreeMap<String, PathBuf>> {
    let queue = std::sync::Mutex::new(tasks.iter());
    let zip_some = || -> Result<Vec<(String, PathBuf)>> {
        let mut done = Vec::new();
        loop {
            let next = queue.lock().ok().and_then(|mut queue| queue.next());
            let Some((key, binary)) = next else {
                return Ok(done);
            };
            done.push((key.clone(), zip(key, binary)?));
        }
    };
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let results: Vec<Result<Vec<(String, PathBuf)>>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(zip_some)).collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| bail!("zipping a function panicked"))
            })
            .collect()
    });
    let mut packages = BTreeMap::new();
    for result in results {
        packages.extend(result?);
    }
    Ok(packages)
}

fn zip(key: &str, binary: &Path) -> Result<PathBuf> {
    let parent = binary.parent().unwrap_or(Path::new("."));
    // With cargo-lambda every binary has a folder of its own.
    let shared = if binary.ends_with("bootstrap") {
        parent.parent().unwrap_or(parent)
    } else {
        parent
    };
    let folder = shared.join("packages");
    let path = folder.join(key);
    if path.exists() {
        return Ok(path);
    }
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let code = fs::read(binary).with_context(|| format!("reading {}", binary.display()))?;
    // Fast rather than small: it travels within one machine.
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .compression_level(Some(1))
        .unix_permissions(0o755);
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    archive.start_file("bootstrap", options)?;
    archive.write_all(&code)?;
    let archive = archive.finish()?.into_inner();
    // Renamed into place: another process may be looking for it.
    let unfinished = folder.join(format!("{key}.{}", std::process::id()));
    fs::write(&unfinished, archive)
        .and_then(|()| fs::rename(&unfinished, &path))
        .with_context(|| format!("writing {}", path.display()))?;
    remove_older(&folder, key);
    Ok(path)
}

/// Packages of earlier builds of the same task.
fn remove_older(folder: &Path, key: &str) {
    let task = |name: &str| {
        name.trim_end_matches(".zip")
            .rsplitn(3, '-')
            .last()
            .unwrap_or_default()
            .to_owned()
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "zip")
            && name != key
            && task(&name) == task(key)
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// YAML with CloudFormation's short tags as JSON with its long functions.
fn to_json(yaml: &Yaml) -> Result<Value> {
    Ok(match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(flag) => Value::Bool(*flag),
        Yaml::Number(number) => serde_json::to_value(number)?,
        Yaml::String(text) => Value::String(text.clone()),
        Yaml::Sequence(items) => Value::Array(items.iter().map(to_json).collect::<Result<_>>()?),
        Yaml::Mapping(mapping) => {
            let mut object = Map::new();
            for (key, value) in mapping {
                let key = match key {
                    Yaml::String(key) => key.clone(),
                    Yaml::Number(number) => number.to_string(),
                    Yaml::Bool(flag) => flag.to_string(),
                    _ => bail!("a key is neither text nor a number"),
                };
                object.insert(key, to_json(value)?);
            }
            Value::Object(object)
        }
        Yaml::Tagged(tagged) => {
            let tag = tagged.tag.to_string();
            let tag = tag.trim_start_matches('!');
            let value = to_json(&tagged.value)?;
            match (tag, value) {
                ("Ref" | "Condition", value) => json!({ tag: value }),
                ("GetAtt", Value::String(path)) => {
                    let (resource, attribute) = path
                        .split_once('.')
                        .with_context(|| format!("!GetAtt {path} names no attribute"))?;
                    json!({"Fn::GetAtt": [resource, attribute]})
                }
                (tag, value) => json!({ format!("Fn::{tag}"): value }),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "
Transform: AWS::Serverless-2016-10-31
Resources:
  OneFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: ../target/lambda/one-task/
      Policies: [{Version: 2012-10-17}]
      Environment: !If [HasIt, !Sub '${A}-b', !GetAtt Two.Outputs.Arn]
  Machine:
    Type: AWS::Serverless::StateMachine
    Properties:
      DefinitionUri: machine.asl.json
      DefinitionSubstitutions: {OneFunctionArn: !GetAtt OneFunction.Arn}
  Bucket:
    Type: AWS::S3::Bucket
    Condition: HasIt
";

    #[test]
    fn functions_and_definitions_are_packaged_and_tags_written_out() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("template.yaml"), TEMPLATE).unwrap();
        fs::write(
            folder.path().join("machine.asl.json"),
            r#"{"StartAt": "${OneFunctionArn}"}"#,
        )
        .unwrap();
        let binaries = folder.path().join("debug");
        fs::create_dir(&binaries).unwrap();
        let template = folder.path().join("template.yaml");
        let missing = package(&template, Some(&binaries), "artifacts")
            .unwrap_err()
            .to_string();
        assert!(
            missing.contains("no binary of the task one-task"),
            "{missing}"
        );

        fs::write(binaries.join("one-task"), "machine code").unwrap();
        let packaged = package(&template, Some(&binaries), "artifacts").unwrap();
        let resources = &packaged.template["Resources"];
        let function = &resources["OneFunction"]["Properties"];
        let (key, file) = packaged.packages.first_key_value().unwrap();
        assert_eq!(
            function["CodeUri"],
            json!({"Bucket": "artifacts", "Key": key})
        );
        assert_eq!(function["Policies"], json!([{"Version": "2012-10-17"}]));
        assert_eq!(
            function["Environment"],
            json!({"Fn::If": ["HasIt", {"Fn::Sub": "${A}-b"}, {"Fn::GetAtt": ["Two", "Outputs.Arn"]}]})
        );
        let machine = &resources["Machine"]["Properties"];
        assert_eq!(machine["Definition"]["StartAt"], "${OneFunctionArn}");
        assert!(machine.get("DefinitionUri").is_none());
        assert!(machine.get("DefinitionSubstitutions").is_some());

        let mut archive = zip::ZipArchive::new(fs::File::open(file).unwrap()).unwrap();
        let bootstrap = archive.by_name("bootstrap").unwrap();
        assert_eq!(bootstrap.unix_mode().unwrap() & 0o777, 0o755);
        drop(bootstrap);

        fs::write(binaries.join("one-task"), "other machine code").unwrap();
        let changed = package(&template, Some(&binaries), "artifacts").unwrap();
        assert_ne!(changed.packages.first_key_value().unwrap().0, key);
        assert!(!file.exists(), "the package of the older build is removed");
    }
}
