//! Stacks are made, updated, and explained when they fail.

use std::{collections::BTreeMap, fs};

use local_aws::StackSource;

use crate::support::*;

const TEMPLATE: &str = "
AWSTemplateFormatVersion: '2010-09-09'
Transform: AWS::Serverless-2016-10-31
Parameters:
  Name: {Type: String}
Resources:
  EchoFunction:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: !Sub ${Name}-echo
      Runtime: provided.al2023
      Handler: bootstrap
      CodeUri: ../target/lambda/echo/
  Machine:
    Type: AWS::Serverless::StateMachine
    Properties:
      Name: !Sub ${Name}-machine
      DefinitionUri: machine.asl.json
      DefinitionSubstitutions: {EchoFunctionArn: !GetAtt EchoFunction.Arn}
      Policies:
        - LambdaInvokePolicy: {FunctionName: !Ref EchoFunction}
Outputs:
  MachineArn: {Value: !Ref Machine}
  Greeting: {Value: !Sub 'hello ${Name}'}
";

const MACHINE: &str = r#"{"QueryLanguage": "JSONata", "StartAt": "Echo", "States": {"Echo": {"Type": "Task",
    "Resource": "arn:aws:states:::lambda:invoke", "End": true, "Output": "{% $states.result.Payload %}",
    "Arguments": {"FunctionName": "${EchoFunctionArn}", "Payload": "{% $states.input %}"}}}}"#;

/// A function that says who it is in its log, and ends.
const ECHO: &str = "#!/bin/sh\necho \"started as $AWS_LAMBDA_FUNCTION_NAME\"\nexit 3\n";

#[tokio::test]
async fn a_stack_is_made_updated_and_leaves_no_artifacts() {
    let aws = shared().await;
    let folder = tempfile::tempdir().unwrap();
    let template = folder.path().join("template.yaml");
    fs::write(&template, TEMPLATE).unwrap();
    fs::write(folder.path().join("machine.asl.json"), MACHINE).unwrap();
    let binaries = folder.path().join("debug");
    fs::create_dir(&binaries).unwrap();
    fs::write(binaries.join("echo"), ECHO).unwrap();
    let source = StackSource {
        account_id: "666666666666",
        region: REGION,
        name: "echo",
        template: &template,
        binaries: Some(&binaries),
    };
    let parameters = |name: &str| BTreeMap::from([("Name".to_owned(), name.to_owned())]);
    let outputs = aws.deploy_stack(source, &parameters("one")).await.unwrap();
    assert_eq!(outputs["Greeting"], "hello one");
    assert!(
        outputs["MachineArn"].ends_with(":stateMachine:one-machine"),
        "{outputs:?}"
    );
    let buckets = s3("666666666666")
        .await
        .list_buckets()
        .send()
        .await
        .unwrap();
    assert!(buckets.buckets().is_empty(), "{:?}", buckets.buckets());

    assert_eq!(
        aws.deploy_stack(source, &parameters("one")).await.unwrap(),
        outputs
    );
    fs::write(&template, TEMPLATE.replace("hello", "good day")).unwrap();
    let updated = aws.deploy_stack(source, &parameters("one")).await.unwrap();
    assert_eq!(updated["Greeting"], "good day one");
}

#[tokio::test]
async fn a_stack_that_fails_names_the_resource_and_the_reason_and_can_be_made_again() {
    let aws = shared().await;
    let folder = tempfile::tempdir().unwrap();
    let template = folder.path().join("template.yaml");
    let source = StackSource {
        account_id: "777777777777",
        region: REGION,
        name: "broken",
        template: &template,
        binaries: None,
    };
    let nested = "{Type: 'AWS::CloudFormation::Stack', Properties: {TemplateURL: 'http://127.0.0.1/absent/template'}}";
    fs::write(&template, format!("Resources: {{Absent: {nested}}}")).unwrap();
    let error = aws
        .deploy_stack(source, &BTreeMap::new())
        .await
        .unwrap_err();
    let error = format!("{error:#}");
    assert!(
        error.contains("Absent (AWS::CloudFormation::Stack): Failed to fetch"),
        "{error}"
    );
    fs::write(
        &template,
        "Resources: {Fine: {Type: 'AWS::S3::Bucket', Properties: {BucketName: 'deploy-fine'}}}",
    )
    .unwrap();
    aws.deploy_stack(source, &BTreeMap::new()).await.unwrap();
}
