//! What can be typed. The doc comments are the help texts.

use std::convert::Infallible;
use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};
use shared::dead_letter::Filter;
use shared::ids::{BucketName, RunId};

const AFTER_HELP: &str = "\
Exit codes:
  0    done; a run that was waited for is complete
  1    failed; a report does not verify
  2    misuse: an argument or a file given cannot be used
  3    a run that was waited for is partial
  130  interrupted

What is asked for goes to standard output (with --json as one JSON document), all else to \
standard error.";

/// Makes all objects of all S3 buckets of many accounts one SQL table.
#[derive(Debug, Parser)]
#[command(name = "s3insights", after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) noun: Noun,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Noun {
    Run(RunArguments),
    Report(PageArguments),
    Inventory(InventoryArguments),
    Queries(QueriesArguments),
    #[command(name = "deadletters")]
    DeadLetters(DeadLettersArguments),
    Local(LocalArguments),
}

/// Starts runs of a deployed platform and tells how they stand.
///
/// The platform is found by its CloudFormation stack, with the credentials and in the Region of the
/// ordinary AWS environment (`AWS_PROFILE`, `AWS_REGION`, `AWS_ENDPOINT_URL` and so on).
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct RunArguments {
    /// Stack that the platform was deployed as
    #[arg(
        long,
        global = true,
        env = "S3INSIGHTS_STACK",
        default_value = "s3insights",
        value_name = "NAME"
    )]
    pub(crate) stack: String,
    #[command(subcommand)]
    pub(crate) verb: RunVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RunVerb {
    /// Start a run and print its execution and its id
    Start {
        /// The run input, a JSON file; `-` is standard input
        #[arg(long, value_name = "FILE")]
        input: InputSource,
        /// Stay until the run has ended, and print its summary
        #[arg(long)]
        watch: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the runs on record, newest first
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Tell how a run stands, or print its summary when it has ended
    Status {
        /// The run
        run_id: RunId,
        /// Stay until the run has ended
        #[arg(long)]
        watch: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove what runs left behind: inventory configurations and destinations
    ///
    /// Snapshots, query results and summaries stay. Without a run, every run that is over is cleaned
    /// up. A run that is going on, when it is named, loses what it waits for.
    Cleanup {
        /// The run; all that are over when left out
        run_id: Option<RunId>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Writes the report page of a run into a file: every bucket, what fills it, and what was found.
///
/// The page is the one that the run has stored. Of a run that goes on, or that was stopped before it
/// stored one, it is made of what is on record now.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct PageArguments {
    /// The run
    pub(crate) run_id: RunId,
    /// Stack that the platform was deployed as
    #[arg(
        long,
        env = "S3INSIGHTS_STACK",
        default_value = "s3insights",
        value_name = "NAME"
    )]
    pub(crate) stack: String,
    /// File to write; `s3insights-report-<RUN_ID>.html` in this folder when left out
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Open it in the browser
    #[arg(long)]
    pub(crate) open: bool,
}

/// Verifies inventory reports of S3 and consolidates them, without a deployed platform.
///
/// A report is named by its `manifest.json`, a file or `s3://bucket/key`. Beside a manifest on disk, its
/// data files are looked for where S3 would have put them, and in the manifest's own folder.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct InventoryArguments {
    #[command(subcommand)]
    pub(crate) verb: InventoryVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum InventoryVerb {
    /// Verify a report and write its consolidated files and totals
    ///
    /// Nothing is written unless the whole report verifies.
    Consolidate {
        #[command(flatten)]
        report: ReportArguments,
        /// Folder to write to, or `s3://bucket/prefix`
        #[arg(long, value_name = "DIR")]
        to: PlaceArgument,
    },
    /// Check every file of a report against its manifest
    Verify {
        #[command(flatten)]
        report: ReportArguments,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ReportArguments {
    /// The report's `manifest.json`, a file or `s3://bucket/key`
    #[arg(value_name = "MANIFEST")]
    pub(crate) manifest: PlaceArgument,
    /// Files worked on at a time; one for each processor when left out
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A place on disk or in S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PlaceArgument {
    Disk(PathBuf),
    S3 { bucket: BucketName, key: String },
}

impl FromStr for PlaceArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(place) = text.strip_prefix("s3://") else {
            return Ok(Self::Disk(text.into()));
        };
        let (bucket, key) = place.split_once('/').unwrap_or((place, ""));
        let bucket = BucketName::try_from(bucket).map_err(|error| error.to_string())?;
        Ok(Self::S3 {
            bucket,
            key: key.to_owned(),
        })
    }
}

impl fmt::Display for PlaceArgument {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(path) => write!(formatter, "{}", path.display()),
            Self::S3 { bucket, key } => write!(formatter, "s3://{bucket}/{key}"),
        }
    }
}

/// Shows the catalogue: queries over a snapshot that a run input can name.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct QueriesArguments {
    #[command(subcommand)]
    pub(crate) verb: QueriesVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueriesVerb {
    /// List the queries of the catalogue with their parameters
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what a query tells, what to do about it, its parameters and its SQL
    Show {
        /// The query
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Shows and replays messages that failed until their queue gave them up.
///
/// They are kept as files in the consolidated bucket, each with the reason. Which are meant is told by
/// filters such as `run=nightly`; keys are `id`, `run`, `queue`, `account`, `bucket` and `reason`. Of
/// several filters with the same key one has to fit, of every key that is named.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct DeadLettersArguments {
    /// Stack that the platform was deployed as
    #[arg(
        long,
        global = true,
        env = "S3INSIGHTS_STACK",
        default_value = "s3insights",
        value_name = "NAME"
    )]
    pub(crate) stack: String,
    #[command(subcommand)]
    pub(crate) verb: DeadLettersVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersVerb {
    /// List dead letters, newest first
    List {
        /// Only those with this value; may be repeated
        #[arg(long = "filter", value_name = "KEY=VALUE")]
        filters: Vec<Filter>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show all of a dead letter
    Show {
        /// Id of the message
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    Replay(ReplayArguments),
}

/// Send messages again to the queue that gave them up
///
/// The oldest first. Those that were replayed before are left out, and so are those of runs that are
/// over, which change nothing any more. A message that comes twice is counted once.
#[derive(Debug, Args)]
pub(crate) struct ReplayArguments {
    /// Only those with this value; may be repeated
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    pub(crate) filters: Vec<Filter>,
    /// Tell what would be sent, and send nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Messages sent in a second at most
    #[arg(long, value_name = "N", default_value = "10")]
    pub(crate) rate: NonZeroU32,
    /// Also those that were replayed before, and those of runs that are over
    #[arg(long)]
    pub(crate) all: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs the platform on this machine, on an embedded AWS, without an AWS account.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct LocalArguments {
    /// Folder of the embedded AWS; `.local` in the repository when left out
    #[arg(long, global = true, env = "S3INSIGHTS_LOCAL_DIR", value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) verb: LocalVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LocalVerb {
    /// Start the embedded AWS, deploy the platform, and print how to reach them
    Up {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Run the Harvester over an estate of buckets and show the summary
    ///
    /// Starts and deploys what is not there, and ends it again. The exit code is 0 when every bucket
    /// ends as the estate expects, complete or not. With an input of your own, which an estate knows
    /// nothing of, it is that of `run start --watch`.
    Harvest {
        /// The estate to make, a YAML file; a built-in one when left out
        #[arg(long, value_name = "FILE")]
        estate: Option<PathBuf>,
        /// The run input, a JSON file; the estate's own when left out
        #[arg(long, value_name = "FILE")]
        input: Option<InputSource>,
        /// Leave everything running
        #[arg(long)]
        keep: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// End the embedded AWS and forget what is in it
    Down,
    /// Serve the S3 Inventory of an embedded AWS that was started to stay
    #[command(hide = true)]
    ServeInventory {
        /// Folder of the embedded AWS
        #[arg(long, value_name = "DIR")]
        root: PathBuf,
    },
}

/// Where a run input comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InputSource {
    Standard,
    File(PathBuf),
}

impl FromStr for InputSource {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "-" {
            Self::Standard
        } else {
            Self::File(text.into())
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<Noun, ErrorKind> {
        let words = std::iter::once("s3insights").chain(line.split_whitespace());
        Arguments::try_parse_from(words)
            .map(|arguments| arguments.noun)
            .map_err(|error| error.kind())
    }

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_stack_may_be_named_before_or_after_the_verb() {
        for line in ["run --stack prod list", "run list --stack prod"] {
            let Ok(Noun::Run(RunArguments {
                stack,
                verb: RunVerb::List { json: false },
            })) = parse(line)
            else {
                panic!("{line}");
            };
            assert_eq!(stack, "prod");
        }
    }

    #[test]
    fn places_are_on_disk_or_in_s3() {
        let cases = [
            ("a/manifest.json", "a/manifest.json"),
            (
                "s3://reports/a/manifest.json",
                "s3://reports/a/manifest.json",
            ),
            ("s3://reports", "s3://reports/"),
        ];
        for (text, shown) in cases {
            assert_eq!(text.parse::<PlaceArgument>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn a_dash_is_standard_input() {
        let Ok(Noun::Run(RunArguments {
            verb: RunVerb::Start { input, watch, json },
            ..
        })) = parse("run start --input - --watch --json")
        else {
            panic!();
        };
        assert!(watch && json);
        assert_eq!(input, InputSource::Standard);
        assert_eq!("a.json".parse(), Ok(InputSource::File("a.json".into())));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let cases = [
            ("run start", ErrorKind::MissingRequiredArgument),
            ("run status", ErrorKind::MissingRequiredArgument),
            ("run status Not-A-Run", ErrorKind::ValueValidation),
            ("run cleanup ../x", ErrorKind::ValueValidation),
            ("report", ErrorKind::MissingRequiredArgument),
            ("report ../x", ErrorKind::ValueValidation),
            ("run list --colour", ErrorKind::UnknownArgument),
            ("inventory verify", ErrorKind::MissingRequiredArgument),
            ("inventory verify s3://UP/a", ErrorKind::ValueValidation),
            (
                "inventory consolidate a",
                ErrorKind::MissingRequiredArgument,
            ),
            ("inventory verify a --threads 0", ErrorKind::ValueValidation),
            ("queries show", ErrorKind::MissingRequiredArgument),
            ("deadletters show", ErrorKind::MissingRequiredArgument),
            (
                "deadletters list --filter rum=nightly",
                ErrorKind::ValueValidation,
            ),
            (
                "deadletters replay --filter nightly",
                ErrorKind::ValueValidation,
            ),
            ("deadletters replay --rate 0", ErrorKind::ValueValidation),
            ("local side", ErrorKind::InvalidSubcommand),
            ("local", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
            ("local serve-inventory", ErrorKind::MissingRequiredArgument),
        ];
        for (line, kind) in cases {
            assert_eq!(parse(line).map(|_| ()), Err(kind), "{line}");
        }
    }

    #[test]
    fn a_report_is_of_a_run_and_goes_where_it_is_told() {
        let Ok(Noun::Report(arguments)) =
            parse("report nightly --stack prod --out a/b.html --open")
        else {
            panic!();
        };
        assert_eq!(arguments.run_id.as_str(), "nightly");
        assert_eq!(arguments.stack, "prod");
        assert_eq!(arguments.out, Some(PathBuf::from("a/b.html")));
        assert!(arguments.open);
    }

    #[test]
    fn filters_may_be_repeated_and_a_replay_has_a_pace() {
        let Ok(Noun::DeadLetters(DeadLettersArguments {
            stack,
            verb: DeadLettersVerb::Replay(replay),
        })) = parse("deadletters replay --filter run=a --filter run=b --dry-run --stack prod")
        else {
            panic!();
        };
        assert_eq!((stack.as_str(), replay.filters.len()), ("prod", 2));
        assert_eq!((replay.rate.get(), replay.all), (10, false));
        assert!(replay.dry_run);
    }

    #[test]
    fn a_cleanup_may_leave_the_run_out() {
        for (line, expected) in [
            ("run cleanup --yes", None),
            ("run cleanup nightly --yes", Some("nightly")),
        ] {
            let Ok(Noun::Run(RunArguments {
                verb: RunVerb::Cleanup {
                    run_id, yes: true, ..
                },
                ..
            })) = parse(line)
            else {
                panic!("{line}");
            };
            assert_eq!(run_id.as_ref().map(RunId::as_str), expected);
        }
    }

    #[test]
    fn the_help_tells_the_exit_codes_and_hides_the_service() {
        let mut command = Arguments::command();
        let help = command.render_long_help().to_string();
        assert!(
            help.contains("Exit codes:") && help.contains("partial"),
            "{help}"
        );
        let local = command
            .find_subcommand_mut("local")
            .unwrap()
            .render_long_help()
            .to_string();
        assert!(
            local.contains("harvest") && !local.contains("serve-inventory"),
            "{local}"
        );
    }
}
