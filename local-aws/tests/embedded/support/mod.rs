//! One embedded AWS for all tests of the binary; accounts and bucket names keep them apart.

use std::path::PathBuf;

use local_aws::{LocalAws, StartOptions};
use tokio::sync::OnceCell;

static SHARED: OnceCell<LocalAws> = OnceCell::const_new();

/// A folder for one embedded AWS of these tests.
pub(crate) fn root(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// The one all tests share. It ends with the test process.
pub(crate) async fn shared() -> &'static LocalAws {
    SHARED
        .get_or_init(|| async {
            let mut options = StartOptions::new(root("shared"));
            options.report_delay = std::time::Duration::from_millis(100);
            LocalAws::start(options, |_| {}).await.expect("the embedded AWS starts")
        })
        .await
}

/// S3 as the root of an account.
pub(crate) async fn s3(account_id: &str, region: &str) -> aws_sdk_s3::Client {
    aws_sdk_s3::Client::new(&shared().await.sdk_config(account_id, region))
}
