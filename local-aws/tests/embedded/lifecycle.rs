//! Starting, finding and ending.

use std::process::Command;

use local_aws::{LocalAws, StartOptions, State};

use crate::support::root;

/// Processes whose command line names the folder.
fn processes_of(root: &std::path::Path) -> Vec<String> {
    let output = Command::new("ps")
        .args(["-eww", "-o", "pid=,command="])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .filter(|line| line.contains(&*root.to_string_lossy()))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn what_is_started_here_ends_with_stop_and_a_second_start_is_refused_meanwhile() {
    let root = root("ends-with-stop");
    let aws = LocalAws::start(StartOptions::new(&root), |_| {})
        .await
        .unwrap();
    let s3 = aws_sdk_s3::Client::new(&aws.sdk_config("111111111111", "us-east-1"));
    assert!(s3.list_buckets().send().await.unwrap().buckets().is_empty());
    assert!(!processes_of(&root).is_empty());

    let refused = LocalAws::start(StartOptions::new(&root), |_| {})
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("already running"), "{refused}");

    aws.stop().await.unwrap();
    assert_eq!(processes_of(&root), Vec::<String>::new());
    let again = LocalAws::start(StartOptions::new(&root), |_| {})
        .await
        .unwrap();
    drop(again);
    assert_eq!(processes_of(&root), Vec::<String>::new());
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for (ministack, s3) in [(Some(port), None), (None, Some(port))] {
        let mut options = StartOptions::new(root("port-taken"));
        (options.port, options.s3_port) = (ministack, s3);
        let error = LocalAws::start(options, |_| {}).await.unwrap_err();
        assert!(
            format!("{error:#}").contains(&format!("port {port} is taken")),
            "{error:#}"
        );
    }
}

#[tokio::test]
async fn a_detached_one_is_found_again_and_stopped_with_everything() {
    let root = root("detached");
    let serve = [
        env!("CARGO_BIN_EXE_serve-inventory").into(),
        "--root".into(),
        root.clone().into_os_string(),
    ];
    let options = StartOptions::new(&root);
    let started = LocalAws::start_detached(options.clone(), &serve, |_| {})
        .await
        .unwrap();
    let endpoint = started.s3_endpoint_url.clone();
    drop(started);

    let found = LocalAws::attach(&root)
        .await
        .unwrap()
        .expect("it still runs");
    assert_eq!(found.s3_endpoint_url, endpoint);
    let s3 = aws_sdk_s3::Client::new(&found.sdk_config("111111111111", "us-east-1"));
    s3.create_bucket().bucket("kept").send().await.unwrap();
    let second = LocalAws::start_detached(options, &serve, |_| {})
        .await
        .unwrap_err()
        .to_string();
    assert!(second.contains("already running"), "{second}");
    assert_eq!(s3.list_buckets().send().await.unwrap().buckets().len(), 1);

    found.stop().await.unwrap();
    assert_eq!(processes_of(&root), Vec::<String>::new());
    assert!(LocalAws::attach(&root).await.unwrap().is_none());
    assert!(State::read(&root).unwrap().is_none());
    assert!(!LocalAws::stop_detached(&root).await.unwrap());
}
