//! The virtual environment MiniStack runs in, made on first use from the lock file.
//!
//! Environments are named by the hash of the lock and shared by every embedded AWS on the machine
//! that uses the same folder. One that is being made carries no `ready` mark; whoever holds the
//! file lock makes it, the others wait.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

/// Pinned packages with hashes, for every platform and Python 3.10 or newer.
const LOCK: &str = include_str!("../requirements.lock");

/// Oldest Python that MiniStack and the packages in the lock run on.
const OLDEST: (u32, u32) = (3, 10);

/// Names tried for the interpreter unless `S3INSIGHTS_PYTHON` names one.
const NAMES: [&str; 7] = [
    "python3",
    "python",
    "python3.14",
    "python3.13",
    "python3.12",
    "python3.11",
    "python3.10",
];

/// Returns the interpreter of the virtual environment under `folder`, making it when absent.
pub(crate) fn ensure(folder: &Path, progress: &impl Fn(&str)) -> Result<PathBuf> {
    let interpreter = find()?;
    let mut identity = Sha256::new();
    identity.update(LOCK);
    // A virtual environment belongs to the interpreter that made it.
    identity.update(interpreter.path.as_os_str().as_encoded_bytes());
    identity.update(format!(
        "{}.{}",
        interpreter.version.0, interpreter.version.1
    ));
    let hash = hex::encode(identity.finalize());
    let environment = folder.join(format!("python-{}", &hash[..12]));
    let python = environment.join("bin").join("python");
    let ready = environment.join("ready");
    if ready.exists() {
        return Ok(python);
    }

    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let lock_path = folder.join(format!("python-{}.lock", &hash[..12]));
    let lock =
        File::create(&lock_path).with_context(|| format!("creating {}", lock_path.display()))?;
    lock.lock()
        .with_context(|| format!("locking {}", lock_path.display()))?;
    if ready.exists() {
        return Ok(python);
    }
    if environment.exists() {
        // Left over from an attempt that was interrupted.
        fs::remove_dir_all(&environment)
            .with_context(|| format!("removing {}", environment.display()))?;
    }
    progress("making the virtual environment for MiniStack (once)");
    make(&interpreter.path, &environment, &python)?;
    fs::write(&ready, "").with_context(|| format!("writing {}", ready.display()))?;
    Ok(python)
}

fn make(interpreter: &Path, environment: &Path, python: &Path) -> Result<()> {
    let venv = Command::new(interpreter)
        .args(["-m", "venv"])
        .arg(environment)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("running {}", interpreter.display()))?;
    if !venv.status.success() {
        bail!(
            "{} cannot make virtual environments; install its venv module (on Debian and Ubuntu the \
             package python3-venv). It says: {}",
            interpreter.display(),
            tail(&[venv.stdout, venv.stderr].concat())
        );
    }
    let requirements = environment.join("requirements.lock");
    fs::write(&requirements, LOCK)
        .with_context(|| format!("writing {}", requirements.display()))?;
    let install = Command::new(python)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-input",
            "--disable-pip-version-check",
        ])
        // Building from source would fetch build tools that no hash protects.
        .args(["--only-binary", ":all:", "--require-hashes", "-r"])
        .arg(&requirements)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("running {}", python.display()))?;
    if !install.status.success() {
        let said = tail(&[install.stdout, install.stderr].concat());
        bail!(
            "the Python packages of the embedded AWS could not be installed. {} pip says: {said}",
            explain_pip(&said)
        );
    }
    Ok(())
}

/// What the person can do about a failed `pip install`.
fn explain_pip(said: &str) -> &'static str {
    let no_network = [
        "NewConnectionError",
        "Temporary failure in name resolution",
        "ConnectTimeout",
        "ProxyError",
    ];
    if no_network.iter().any(|sign| said.contains(sign)) {
        "The package index could not be reached: the first start needs the network (or pip configured for a mirror)."
    } else if said.contains("HASHES") || said.contains("hashes") {
        "A downloaded file is not the one the lock names."
    } else if said.contains("No matching distribution") {
        "There is no ready-made package for this platform and this Python; another Python version may have one."
    } else {
        "Try again; nothing half-made is kept."
    }
}

struct Interpreter {
    path: PathBuf,
    version: (u32, u32),
}

/// The first interpreter that is new enough.
fn find() -> Result<Interpreter> {
    if let Some(named) = std::env::var_os("S3INSIGHTS_PYTHON") {
        return match probe(Path::new(&named)) {
            Some(found) if found.version >= OLDEST => Ok(found),
            Some(found) => bail!("S3INSIGHTS_PYTHON names {}; {}", describe(&found), needed()),
            None => bail!(
                "S3INSIGHTS_PYTHON names {}, which is not a Python; {}",
                named.display(),
                needed()
            ),
        };
    }
    choose(NAMES.iter().filter_map(|name| probe(Path::new(name))))
}

fn choose(candidates: impl Iterator<Item = Interpreter>) -> Result<Interpreter> {
    let mut too_old = Vec::new();
    for candidate in candidates {
        if candidate.version >= OLDEST {
            return Ok(candidate);
        }
        too_old.push(describe(&candidate));
    }
    if too_old.is_empty() {
        bail!("no Python was found on the PATH; {}", needed());
    }
    too_old.dedup();
    bail!(
        "Python is too old: found {}; {}",
        too_old.join(", "),
        needed()
    )
}

fn describe(interpreter: &Interpreter) -> String {
    let (major, minor) = interpreter.version;
    format!("Python {major}.{minor} ({})", interpreter.path.display())
}

fn needed() -> String {
    format!(
        "the embedded AWS needs Python {}.{} or newer with its venv module. Install one, or name it with S3INSIGHTS_PYTHON",
        OLDEST.0, OLDEST.1
    )
}

fn probe(interpreter: &Path) -> Option<Interpreter> {
    let script = "import sys; print(sys.version_info[0], sys.version_info[1], sys.executable)";
    let output = Command::new(interpreter)
        .args(["-c", script])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut words = text.trim().splitn(3, ' ');
    let version = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(Interpreter {
        path: PathBuf::from(words.next()?),
        version,
    })
}

/// The end of what a program printed, enough to see what went wrong.
fn tail(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn python(minor: u32) -> Interpreter {
        Interpreter {
            path: PathBuf::from(format!("/usr/bin/python3.{minor}")),
            version: (3, minor),
        }
    }

    #[test]
    fn the_first_interpreter_that_is_new_enough_is_taken() {
        let chosen = choose([python(8), python(12), python(13)].into_iter()).unwrap();
        assert_eq!(chosen.version, (3, 12));
    }

    #[test]
    fn an_old_python_is_named_together_with_what_is_needed() {
        let error = choose([python(8)].into_iter()).err().unwrap().to_string();
        assert!(
            error.contains("found Python 3.8 (/usr/bin/python3.8)"),
            "{error}"
        );
        assert!(error.contains("needs Python 3.10 or newer"), "{error}");
    }

    #[test]
    fn a_missing_python_is_said_to_be_missing() {
        let error = choose(std::iter::empty()).err().unwrap().to_string();
        assert!(error.starts_with("no Python was found"), "{error}");
    }

    #[test]
    fn the_lock_names_no_index_and_hashes_every_package() {
        assert!(
            !LOCK.contains("://"),
            "an address of a package index is in the lock"
        );
        let pinned = LOCK
            .lines()
            .filter(|line| line.contains("==") && !line.starts_with('#'));
        for line in pinned {
            assert!(line.ends_with('\\'), "no hash follows {line}");
        }
    }

    #[test]
    fn a_missing_network_is_told_from_a_wrong_file() {
        assert!(explain_pip("NewConnectionError: failed").contains("needs the network"));
        assert!(explain_pip("THESE PACKAGES DO NOT MATCH THE HASHES").contains("not the one"));
    }
}
