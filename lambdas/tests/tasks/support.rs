//! A scripted AWS. It stands where the network would be, so what a test sees are the requests that
//! are really sent, and what a task sees is what the SDK makes of an answer.
//!
//! A script is a list of requests by name with the answer to each; see [`name_of`]. A request that
//! is not in it fails the test at once, and so does a script that was not used up. Requests of one
//! name are answered in the order of the script; between names there is no order, since tasks send
//! many at a time.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::RetryConfig;
use aws_types::SdkConfig;
use aws_types::sdk_config::SharedTimeSource;
use bytes::Bytes;
use lambdas::Platform;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use shared::aws::Clients;
use shared::error::TaskError;
use shared::ids::{AccountId, BucketName, DeploymentName, Region, RunId};
use shared::run::{Destination, DestinationState, Query, QueryState, Run, SourceBucket};
use shared::settings::Settings;
use shared::status::InventoryStatus;

/// The account the platform lives in.
pub(crate) const HOST: &str = "999999999999";
/// An account whose buckets are read.
pub(crate) const MEMBER: &str = "111111111111";
pub(crate) const EXECUTION: &str =
    "arn:aws:states:us-east-1:999999999999:execution:harvester:first";
pub(crate) const CONFIGURATION: &str = "s3insights-insights-nightly";
/// The destination of the run in `eu-west-1`.
pub(crate) const DESTINATION: &str = "insights-nightly-999999999999-eu-west-1";

// --- the script --------------------------------------------------------------------------------

/// One request by its name, and what AWS answers.
pub(crate) type Line = (&'static str, Reply);

/// An answer of AWS.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Json(Value),
    Xml(String),
    Bytes(Vec<u8>),
    /// An object of S3, of which each request gets the range that it asks for. It answers every
    /// request of its name, and at least one is expected.
    Object(Bytes),
    /// An answer of S3 without a body, which tells by its headers.
    Head {
        status: u16,
        headers: Vec<(&'static str, String)>,
    },
    /// An error as the service's protocol writes it.
    Error {
        status: u16,
        code: &'static str,
        message: String,
        /// Further fields of an error of a JSON protocol.
        details: Value,
    },
    /// What a load balancer answers when there is nobody behind it.
    BadGateway,
    /// The connection breaks.
    Unreachable,
}

/// Done, and nothing to tell.
pub(crate) fn done() -> Reply {
    Reply::Json(json!({}))
}

pub(crate) fn error(status: u16, code: &'static str) -> Reply {
    error_with(status, code, "said AWS")
}

pub(crate) fn error_with(status: u16, code: &'static str, message: &str) -> Reply {
    Reply::Error {
        status,
        code,
        message: message.to_owned(),
        details: json!({}),
    }
}

/// The answer to a conditional write whose condition does not hold.
pub(crate) fn condition_failed() -> Reply {
    error(400, "ConditionalCheckFailedException")
}

/// The answer to a transaction, with the reason of each of its parts.
pub(crate) fn cancelled(reasons: &[&str]) -> Reply {
    let reasons: Vec<Value> = reasons.iter().map(|code| json!({ "Code": code })).collect();
    Reply::Error {
        status: 400,
        code: "TransactionCanceledException",
        message: "Transaction cancelled".to_owned(),
        details: json!({ "CancellationReasons": reasons }),
    }
}

/// `GetItem` found this.
pub(crate) fn item<T: Serialize>(stored: &T) -> Reply {
    Reply::Json(json!({ "Item": attributes(stored) }))
}

/// `GetItem` found nothing.
pub(crate) fn no_item() -> Reply {
    done()
}

/// `Query` found these, and that is all.
pub(crate) fn items<T: Serialize>(stored: &[T]) -> Reply {
    let items: Vec<Value> = stored.iter().map(attributes).collect();
    Reply::Json(json!({ "Items": items, "Count": items.len(), "ScannedCount": items.len() }))
}

/// `Query` found this, and there is more.
pub(crate) fn items_and_more<T: Serialize>(stored: &[T]) -> Reply {
    let items: Vec<Value> = stored.iter().map(attributes).collect();
    Reply::Json(json!({
        "Items": items, "Count": items.len(), "ScannedCount": items.len(),
        "LastEvaluatedKey": { "pk": { "S": "run#nightly" }, "sk": { "S": "the last of this page" } },
    }))
}

pub(crate) fn xml(text: impl Into<String>) -> Reply {
    Reply::Xml(text.into())
}

/// `ListObjectVersions` found these keys, each with one version.
pub(crate) fn versions(keys: &[&str]) -> Reply {
    let versions = keys
        .iter()
        .map(|key| format!("<Version><Key>{key}</Key><VersionId>v1</VersionId></Version>"))
        .collect::<Vec<_>>()
        .concat();
    xml(format!(
        "<ListVersionsResult>{versions}</ListVersionsResult>"
    ))
}

/// `ListObjectsV2` found these keys.
pub(crate) fn keys(keys: &[&str]) -> Reply {
    let contents = keys
        .iter()
        .map(|key| format!("<Contents><Key>{key}</Key></Contents>"))
        .collect::<Vec<_>>()
        .concat();
    xml(format!("<ListBucketResult>{contents}</ListBucketResult>"))
}

/// `DeleteObjects` deleted everything.
/// What S3 says of an object without giving it, with its `ETag`.
pub(crate) fn head_of(content: &[u8], e_tag: &str) -> Reply {
    Reply::Head {
        status: 200,
        headers: vec![
            ("content-length", content.len().to_string()),
            ("etag", format!("\"{e_tag}\"")),
        ],
    }
}

/// What S3 says of a bucket without giving anything, with its Region if it tells it.
pub(crate) fn head_of_bucket(status: u16, region: Option<&str>) -> Reply {
    let region = region.map(|region| ("x-amz-bucket-region", region.to_owned()));
    Reply::Head {
        status,
        headers: region.into_iter().collect(),
    }
}

pub(crate) fn deleted() -> Reply {
    xml("<DeleteResult/>")
}

/// `DescribeStacks` found these; `None` for a next page.
pub(crate) fn stacks(stacks: &[String], next: Option<&str>) -> Reply {
    let members = stacks
        .iter()
        .map(|stack| format!("<member>{stack}</member>"))
        .collect::<Vec<_>>()
        .concat();
    let next = next.map_or_else(String::new, |token| {
        format!("<NextToken>{token}</NextToken>")
    });
    xml(format!(
        "<DescribeStacksResponse><DescribeStacksResult><Stacks>{members}</Stacks>{next}\
         </DescribeStacksResult></DescribeStacksResponse>"
    ))
}

/// A stack of a run as CloudFormation describes it.
pub(crate) fn stack_of(run_id: &str, status: &str) -> String {
    format!(
        "<StackName>insights-{run_id}-eu-west-1</StackName>\
         <StackId>arn:aws:cloudformation:eu-west-1:{HOST}:stack/insights-{run_id}/1</StackId>\
         <CreationTime>2026-03-01T00:00:00Z</CreationTime><StackStatus>{status}</StackStatus>\
         <Tags><member><Key>s3insights:deployment</Key><Value>insights</Value></member>\
         <member><Key>s3insights:run-id</Key><Value>{run_id}</Value></member></Tags>\
         <Parameters><member><ParameterKey>SourceAccounts</ParameterKey>\
         <ParameterValue>{MEMBER}, 222222222222</ParameterValue></member></Parameters>\
         <Outputs><member><OutputKey>DestinationBucketName</OutputKey>\
         <OutputValue>insights-{run_id}-{HOST}-eu-west-1</OutputValue></member>\
         <member><OutputKey>DestinationBucketArn</OutputKey>\
         <OutputValue>arn:aws:s3:::insights-{run_id}-{HOST}-eu-west-1</OutputValue></member></Outputs>"
    )
}

/// The stack that is asked for by name does not exist.
pub(crate) fn no_stack() -> Reply {
    error_with(400, "ValidationError", "Stack with id x does not exist")
}

// --- the scripted AWS --------------------------------------------------------------------------

/// AWS as one test needs it.
#[derive(Debug, Clone)]
pub(crate) struct Aws {
    wire: Arc<Wire>,
}

#[derive(Debug)]
struct Wire {
    script: Mutex<Vec<Line>>,
    calls: Mutex<Vec<Call>>,
    fault: Option<(usize, Fault)>,
}

/// A passing trouble of AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Throttled,
    BadGateway,
    Unreachable,
}

impl Fault {
    pub(crate) const ALL: [Self; 3] = [Self::Throttled, Self::BadGateway, Self::Unreachable];

    /// The name under which the machines see it.
    pub(crate) fn error_name(self) -> &'static str {
        match self {
            Self::Throttled => "Throttled",
            Self::BadGateway | Self::Unreachable => "Unavailable",
        }
    }

    /// As the service says it.
    fn reply(self, service: &str) -> Reply {
        match (self, service) {
            (Self::BadGateway, _) => Reply::BadGateway,
            (Self::Unreachable, _) => Reply::Unreachable,
            (Self::Throttled, "s3") => error(503, "SlowDown"),
            (Self::Throttled, "sqs") => error(400, "RequestThrottled"),
            (Self::Throttled, "cloudformation") => error(400, "Throttling"),
            (Self::Throttled, "athena" | "account" | "email") => {
                error(429, "TooManyRequestsException")
            }
            (Self::Throttled, "dynamodb") => error(400, "ProvisionedThroughputExceededException"),
            (Self::Throttled, _) => error(400, "ThrottlingException"),
        }
    }
}

/// One request that was sent.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) host: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Bytes,
}

impl Call {
    /// The body of a request of a JSON protocol.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).expect("the body is text")
    }

    /// A field of the form that a request of the query protocol is.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        form(&self.text()).remove(name)
    }

    /// The item that `PutItem` writes, as plain JSON.
    pub(crate) fn item(&self) -> Value {
        plain(&json!({ "M": self.json()["Item"] }))
    }

    /// A value of an expression, as plain JSON.
    pub(crate) fn value(&self, name: &str) -> Value {
        plain(&self.json()["ExpressionAttributeValues"][name])
    }

    pub(crate) fn condition(&self) -> String {
        self.json()["ConditionExpression"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The parts of `TransactWriteItems`, each as a request of its own.
    pub(crate) fn parts(&self) -> Vec<Self> {
        let body = self.json();
        let parts = body["TransactItems"].as_array().expect("a transaction");
        parts
            .iter()
            .map(|part| Self {
                body: part["Update"].to_string().into(),
                ..self.clone()
            })
            .collect()
    }
}

impl Aws {
    pub(crate) fn scripted(script: Vec<Line>) -> Self {
        Self::with_fault(script, None)
    }

    /// Like the script, but the request of this number meets a fault. What the task does after
    /// it is not scripted: every request it sends then is answered, with nothing if need be.
    pub(crate) fn failing(script: Vec<Line>, at: usize, fault: Fault) -> Self {
        Self::with_fault(script, Some((at, fault)))
    }

    fn with_fault(script: Vec<Line>, fault: Option<(usize, Fault)>) -> Self {
        Self {
            wire: Arc::new(Wire {
                script: Mutex::new(script),
                calls: Mutex::default(),
                fault,
            }),
        }
    }

    /// A platform that talks to this AWS.
    pub(crate) fn platform(&self) -> Arc<Platform> {
        Arc::new(Platform {
            settings: settings(),
            clients: self.clients(),
        })
    }

    pub(crate) fn clients(&self) -> Clients {
        let wire = Arc::clone(&self.wire);
        let http = http_client_fn(move |_, _| SharedHttpConnector::new(Network(Arc::clone(&wire))));
        Clients::from_config(&sdk_config().http_client(http).build())
    }

    /// Names of all requests but `AssumeRole`, in the order in which they were sent.
    pub(crate) fn names(&self) -> Vec<String> {
        lock(&self.wire.calls)
            .iter()
            .map(|call| call.name.clone())
            .filter(|name| !name.starts_with("AssumeRole"))
            .collect()
    }

    /// All requests of a name.
    pub(crate) fn calls(&self, name: &str) -> Vec<Call> {
        lock(&self.wire.calls)
            .iter()
            .filter(|call| call.name == name)
            .cloned()
            .collect()
    }

    /// The one request of a name.
    pub(crate) fn call(&self, name: &str) -> Call {
        let mut calls = self.calls(name);
        assert_eq!(calls.len(), 1, "requests {name:?} of {:?}", self.names());
        calls.remove(0)
    }

    /// Asserts that one request was sent before another.
    pub(crate) fn assert_order(&self, first: &str, second: &str) {
        let names = self.names();
        let at = |name: &str| {
            names
                .iter()
                .position(|sent| sent == name)
                .unwrap_or_else(|| panic!("no request {name:?} in {names:?}"))
        };
        assert!(at(first) < at(second), "{first:?} after {second:?}");
    }

    /// Asserts that the script was used up.
    pub(crate) fn assert_used_up(&self) {
        let calls = lock(&self.wire.calls);
        let left: Vec<&str> = lock(&self.wire.script)
            .iter()
            .filter(|(name, reply)| {
                let is_object = matches!(reply, Reply::Object(_));
                !is_object || calls.iter().all(|call| call.name != *name)
            })
            .map(|(name, _)| *name)
            .collect();
        drop(calls);
        assert!(
            left.is_empty(),
            "requests that were not sent: {left:?}; sent: {:?}",
            self.names()
        );
    }
}

/// Runs a task against a script, which has to be used up.
pub(crate) async fn run<F, T>(
    script: Vec<Line>,
    task: impl FnOnce(Arc<Platform>) -> F,
) -> (Aws, Result<T, TaskError>)
where
    F: Future<Output = Result<T, TaskError>>,
{
    let aws = Aws::scripted(script);
    let answer = Box::pin(task(aws.platform())).await;
    aws.assert_used_up();
    (aws, answer)
}

/// A task's input as the state machine gives it.
pub(crate) fn input<I: DeserializeOwned>(payload: Value) -> I {
    shared::runtime::parse(payload).expect("the input is what the task takes")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What clients of the host account are made of, but for the network; nothing is tried again.
pub(crate) fn sdk_config() -> aws_types::sdk_config::Builder {
    let credentials = Credentials::new(format!("AK{HOST}"), "secret", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(aws_types::region::Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .retry_config(RetryConfig::disabled())
        .time_source(SharedTimeSource::default())
}

struct Network(Arc<Wire>);

impl fmt::Debug for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Network")
    }
}

impl HttpConnector for Network {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let service = service_of(&request);
        let call = Call {
            name: name_of(&service, &request),
            host: host_of(&request),
            headers: request
                .headers()
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            body: body_of(&request),
        };
        let reply = self.0.answer(&service, call);
        HttpConnectorFuture::ready(render(&service, reply))
    }
}

impl Wire {
    fn answer(&self, service: &str, call: Call) -> Reply {
        let name = call.name.clone();
        let range = call.headers.get("range").cloned();
        let number = {
            let mut calls = lock(&self.calls);
            if service != "sts" {
                calls.push(call);
            } else if calls.iter().all(|known| known.name != name) {
                // Every client of a Region fetches credentials of its own.
                calls.push(call);
            }
            let numbered = calls
                .iter()
                .filter(|call| !call.name.starts_with("AssumeRole"));
            numbered.count()
        };
        if let Some((at, fault)) = self.fault
            && service != "sts"
            && number == at + 1
        {
            return fault.reply(service);
        }
        let scripted = {
            let mut script = lock(&self.script);
            let position = script.iter().position(|(scripted, _)| *scripted == name);
            position.map(|position| match &script[position].1 {
                Reply::Object(object) => Reply::Bytes(range_of(object, range.as_deref())),
                _ => script.remove(position).1,
            })
        };
        match scripted {
            Some(reply) => reply,
            None if service == "sts" => credentials_of(&name),
            None if self.fault.is_some_and(|(at, _)| number > at) => done(),
            None => panic!(
                "request {name:?} is not in the script; left are {:?}",
                lock(&self.script)
                    .iter()
                    .map(|(name, _)| name)
                    .collect::<Vec<_>>()
            ),
        }
    }
}

/// The bytes that a request with a `Range` header asks for.
fn range_of(object: &Bytes, header: Option<&str>) -> Vec<u8> {
    let Some(header) = header else {
        return object.to_vec();
    };
    let range = header
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'));
    let (first, last) = range.expect("a range has a first and a last byte");
    let place = |text: &str| text.parse::<usize>().expect("a place in the object");
    object[place(first)..=place(last)].to_vec()
}

/// Credentials whose access key tells the account of the role.
pub(crate) fn credentials_of(name: &str) -> Reply {
    let account = name.split(':').nth(4).unwrap_or_default();
    xml(format!(
        "<AssumeRoleResponse><AssumeRoleResult><AssumedRoleUser><AssumedRoleId>r</AssumedRoleId>\
         <Arn>arn:aws:sts::{account}:assumed-role/r/s</Arn></AssumedRoleUser><Credentials>\
         <AccessKeyId>AK{account}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
         <SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>\
         </Credentials></AssumeRoleResult></AssumeRoleResponse>"
    ))
}

pub(crate) fn render(service: &str, reply: Reply) -> Result<HttpResponse, ConnectorError> {
    let is_xml = matches!(service, "s3" | "sts" | "cloudformation");
    let mut told = Vec::new();
    let (status, body) = match reply {
        Reply::Unreachable => {
            return Err(ConnectorError::io("the connection broke".into()));
        }
        Reply::BadGateway => (502, b"<html><h1>502 Bad Gateway</h1></html>".to_vec()),
        // An answer of no content is right for every request that wants none.
        Reply::Json(_) if is_xml => (200, Vec::new()),
        Reply::Json(value) => (200, value.to_string().into_bytes()),
        Reply::Xml(text) => (200, text.into_bytes()),
        Reply::Bytes(bytes) => (200, bytes),
        Reply::Object(bytes) => (200, bytes.to_vec()),
        Reply::Head { status, headers } => {
            told = headers;
            (status, Vec::new())
        }
        Reply::Error {
            status,
            code,
            message,
            details,
        } => {
            let body = match service {
                "s3" => format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>"),
                "sts" | "cloudformation" => format!(
                    "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>\
                     <Message>{message}</Message></Error></ErrorResponse>"
                ),
                _ => {
                    let mut body = json!({ "__type": code, "message": message });
                    let fields = body.as_object_mut().expect("an object");
                    fields.extend(details.as_object().cloned().unwrap_or_default());
                    body.to_string()
                }
            };
            (status, body.into_bytes())
        }
    };
    let status = status.try_into().expect("a status of HTTP");
    let mut response = HttpResponse::new(status, SdkBody::from(body));
    for (name, value) in told {
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

// --- what a request is called ------------------------------------------------------------------

/// The service and operation of a request, with what it is about:
///
/// | Service | Name |
/// |---|---|
/// | DynamoDB | operation and sort keys (`GetItem run`, `Query bucket#`, `Query runs` for the index); the keys of another run than `nightly` begin with its id and `:`, those of no run with their partition |
/// | S3 | method, Region, bucket, key, query, and the account whose role acts unless it is the host's own credentials (`GET@eu-west-1 photos?versions&max-keys=1 as 111111111111`) |
/// | CloudFormation | operation, Region, name of the stack |
/// | SES, Account | method and path |
/// | others | operation and the name of the thing |
pub(crate) fn name_of(service: &str, request: &HttpRequest) -> String {
    let operation = request
        .headers()
        .get("x-amz-target")
        .and_then(|target| target.rsplit_once('.'))
        .map(|(_, operation)| operation.to_owned());
    let body = body_of(request);
    let Some(operation) = operation else {
        return match service {
            "s3" => s3_name(request),
            "sts" | "cloudformation" => {
                let form = form(&String::from_utf8_lossy(&body));
                let field = |name: &str| form.get(name).cloned().unwrap_or_default();
                if service == "sts" {
                    return format!("{} {}", field("Action"), field("RoleArn"));
                }
                let host = host_of(request);
                let region = host.split('.').nth(1).unwrap_or_default();
                format!("{}@{region} {}", field("Action"), field("StackName"))
                    .trim_end()
                    .to_owned()
            }
            _ => format!("{} {}", request.method(), decoded(path_of(request))),
        };
    };
    let body: Value = serde_json::from_slice(&body).expect("the body is JSON");
    let about = match service {
        "dynamodb" => dynamodb_subject(&body),
        _ => subject(&body),
    };
    format!("{operation} {about}").trim_end().to_owned()
}

fn dynamodb_subject(body: &Value) -> String {
    let key_of = |key: &Value| {
        let run_id = key["pk"]["S"].as_str().unwrap_or_default();
        let sort = key["sk"]["S"].as_str().unwrap_or_default();
        match run_id.strip_prefix("run#") {
            Some("nightly") => sort.to_owned(),
            Some(other) => format!("{other}:{sort}"),
            None => format!("{run_id} {sort}"),
        }
    };
    let values = &body["ExpressionAttributeValues"];
    if let Some(index) = body["IndexName"].as_str() {
        return index.to_owned();
    }
    if let Some(parts) = body["TransactItems"].as_array() {
        let keys: Vec<String> = parts
            .iter()
            .map(|part| key_of(&part["Update"]["Key"]))
            .collect();
        return keys.join(" ");
    }
    if let Some(tables) = body["RequestItems"].as_object() {
        let keys: Vec<String> = tables
            .values()
            .flat_map(|requests| requests.as_array().into_iter().flatten())
            .map(|request| key_of(&request["PutRequest"]["Item"]))
            .collect();
        return keys.join(" ");
    }
    if body["KeyConditionExpression"].is_string() {
        return key_of(&json!({ "pk": values[":pk"], "sk": values[":prefix"] }));
    }
    key_of(if body["Key"].is_object() {
        &body["Key"]
    } else {
        &body["Item"]
    })
}

/// What a request of Athena, Glue, SQS or Step Functions is about.
fn subject(body: &Value) -> String {
    let last = |text: &str| text.rsplit(['/', ':']).next().unwrap_or(text).to_owned();
    for field in ["QueueUrl", "executionArn", "taskToken", "QueryExecutionId"] {
        if let Some(text) = body[field].as_str() {
            return last(text);
        }
    }
    let database = body["DatabaseName"].as_str();
    let name = [
        &body["Name"],
        &body["TableName"],
        &body["TableInput"]["Name"],
        &body["DatabaseInput"]["Name"],
    ]
    .into_iter()
    .find_map(Value::as_str);
    match (database, name) {
        (Some(database), Some(name)) => format!("{database}.{name}"),
        (Some(name), None) | (None, Some(name)) => name.to_owned(),
        (None, None) => String::new(),
    }
}

fn s3_name(request: &HttpRequest) -> String {
    let host = host_of(request);
    let (bucket, region) = match host.split_once(".s3.") {
        Some((bucket, rest)) => (bucket, rest),
        None => ("", host.trim_start_matches("s3.")),
    };
    let region = region.trim_end_matches(".amazonaws.com");
    let path = decoded(path_of(request));
    let place = if bucket.is_empty() {
        path.trim_start_matches('/').to_owned()
    } else {
        format!("{bucket}{}", path.trim_end_matches('/'))
    };
    let uri = request.uri();
    let query: Vec<String> = uri
        .split_once('?')
        .map_or("", |(_, query)| query)
        .split('&')
        .filter(|part| !part.is_empty() && !part.starts_with("x-id="))
        .map(|part| decoded(part).trim_end_matches('=').to_owned())
        .collect();
    let query = if query.is_empty() {
        String::new()
    } else {
        format!("?{}", query.join("&"))
    };
    let account = request
        .headers()
        .get("authorization")
        .and_then(|header| header.split("Credential=AK").nth(1))
        .and_then(|rest| rest.split('/').next())
        .unwrap_or("nobody");
    let actor = if account == HOST && !is_assumed(request) {
        String::new()
    } else {
        format!(" as {account}")
    };
    format!("{}@{region} {place}{query}{actor}", request.method())
}

/// Whether temporary credentials were used, which are those of a role.
fn is_assumed(request: &HttpRequest) -> bool {
    request.headers().get("x-amz-security-token").is_some()
}

pub(crate) fn service_of(request: &HttpRequest) -> String {
    let host = host_of(request);
    let mut labels: Vec<&str> = host.trim_end_matches(".amazonaws.com").split('.').collect();
    if labels.contains(&"s3") {
        return "s3".to_owned();
    }
    labels.truncate(1);
    labels.concat()
}

fn host_of(request: &HttpRequest) -> String {
    let rest = request.uri().split_once("://").map_or("", |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or_default().to_owned()
}

fn path_of(request: &HttpRequest) -> &str {
    let rest = request.uri().split_once("://").map_or("", |(_, rest)| rest);
    let path = rest.find('/').map_or("", |at| &rest[at..]);
    path.split('?').next().unwrap_or_default()
}

fn body_of(request: &HttpRequest) -> Bytes {
    Bytes::copy_from_slice(request.body().bytes().unwrap_or_default())
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}

fn form(body: &str) -> BTreeMap<String, String> {
    body.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decoded(name), decoded(&value.replace('+', " "))))
        .collect()
}

// --- items -------------------------------------------------------------------------------------

/// A value as the attributes of an item.
fn attributes<T: Serialize>(stored: &T) -> Value {
    let fields = serde_json::to_value(stored).expect("records are JSON");
    attribute(&fields)["M"].take()
}

fn attribute(value: &Value) -> Value {
    match value {
        Value::Null => json!({ "NULL": true }),
        Value::Bool(flag) => json!({ "BOOL": flag }),
        Value::Number(number) => json!({ "N": number.to_string() }),
        Value::String(text) => json!({ "S": text }),
        Value::Array(list) => {
            json!({ "L": list.iter().map(attribute).collect::<Vec<_>>() })
        }
        Value::Object(fields) => {
            let fields: Map<String, Value> = fields
                .iter()
                .map(|(name, value)| (name.clone(), attribute(value)))
                .collect();
            json!({ "M": fields })
        }
    }
}

/// The other way round.
pub(crate) fn plain(attribute: &Value) -> Value {
    let Some((kind, value)) = attribute
        .as_object()
        .and_then(|attribute| attribute.iter().next())
    else {
        return Value::Null;
    };
    match (kind.as_str(), value) {
        ("NULL", _) => Value::Null,
        ("N", Value::String(digits)) => serde_json::from_str(digits).expect("a number"),
        ("L", Value::Array(list)) => list.iter().map(plain).collect(),
        ("M", Value::Object(fields)) => fields
            .iter()
            .map(|(name, value)| (name.clone(), plain(value)))
            .collect::<Map<_, _>>()
            .into(),
        _ => value.clone(),
    }
}

// --- records -----------------------------------------------------------------------------------

pub(crate) fn account(id: &str) -> AccountId {
    id.try_into().expect("an account")
}

pub(crate) fn region(code: &str) -> Region {
    code.try_into().expect("a Region")
}

pub(crate) fn named(bucket: &str) -> BucketName {
    bucket.try_into().expect("a bucket name")
}

pub(crate) fn run_id(id: &str) -> RunId {
    id.try_into().expect("a run id")
}

pub(crate) fn settings() -> Settings {
    Settings {
        deployment: DeploymentName::try_from("insights").expect("a deployment name"),
        host_account: account(HOST),
        run_table: "insights-runs".to_owned(),
        consolidated_bucket: named("consolidated"),
        notification_queue_arn: "arn:aws:sqs:us-east-1:999999999999:notifications".to_owned(),
        notification_queue_url: "https://sqs.us-east-1.amazonaws.com/999999999999/notifications"
            .to_owned(),
        file_queue_url: "https://sqs.us-east-1.amazonaws.com/999999999999/files".to_owned(),
        work_group: "insights".to_owned(),
        member_role: "insights-s3insights-member".to_owned(),
        external_id: Some("shared secret".to_owned()),
    }
}

/// A run of one member account that waits for its reports.
pub(crate) fn the_run() -> Run {
    Run {
        run_id: run_id("nightly"),
        execution_arn: EXECUTION.to_owned(),
        started_at: "2026-03-01T00:00:00Z".parse().expect("a time"),
        deadline: "2099-01-01T00:00:00Z".parse().expect("a time"),
        input: serde_json::from_value(json!({
            "run_id": "nightly",
            "accounts": [{ "id": MEMBER, "exclude": ["tmp-*"] }],
            "athena_database_name": "s3insights",
            "athena_table_name": "inventory_nightly",
            "is_smoke_test": false,
            "athena_queries": [
                { "name": "All", "query": "SELECT * FROM {ATHENA_TABLE}" },
                { "catalog": "stale-buckets", "parameters": { "days": 30 } },
            ],
            "sender_email_address": "platform@example.com",
            "recipient_email_addresses": ["a@example.com", "b@example.com"],
            "supported_regions": ["eu-west-1", "us-east-1"],
            "inventory_timeout_minutes": 3000,
            "status_refresh_minutes": 30,
        }))
        .expect("a checked run input"),
        warnings: Vec::new(),
        regions: [].into(),
        in_progress: 1,
        task_token: None,
        frozen_at: None,
        made_database: false,
        made_table: false,
        failure: None,
        summary_sent_at: None,
        mail_failure: None,
        outcome: None,
        cleaned_up_at: None,
    }
}

/// The same as a smoke run.
pub(crate) fn smoke_run() -> Run {
    let mut run = the_run();
    run.input.is_smoke_test = true;
    run.regions = [region("eu-west-1")].into();
    run
}

/// The run after publication, or Cleanup, has begun.
pub(crate) fn frozen_run() -> Run {
    let mut run = the_run();
    run.frozen_at = Some("2026-03-02T00:00:00Z".parse().expect("a time"));
    run
}

/// A source bucket of the member account in `eu-west-1`, just discovered.
pub(crate) fn discovered(name: &str) -> SourceBucket {
    SourceBucket::discovered(account(MEMBER), named(name), region("eu-west-1"))
}

/// The same with its inventory configuration in place.
pub(crate) fn in_progress(name: &str) -> SourceBucket {
    SourceBucket {
        status: InventoryStatus::InProgress,
        configured: true,
        ..discovered(name)
    }
}

/// The same when its only file is in the snapshot.
pub(crate) fn finished(name: &str) -> SourceBucket {
    SourceBucket {
        status: InventoryStatus::Done,
        report: Some("manifest".to_owned()),
        files: Some(1),
        files_pending: Some(0),
        rows: 2,
        objects: 2,
        bytes: 3,
        ..in_progress(name)
    }
}

/// A bucket whose report existed before the run, and is to be taken.
pub(crate) fn existing(name: &str) -> SourceBucket {
    let manifest = format!("s3://reports/team/{name}/daily/2026-02-27T01-00Z/manifest.json");
    SourceBucket {
        status: InventoryStatus::InProgress,
        existing_report: Some(manifest.try_into().expect("the place of a manifest")),
        ..discovered(name)
    }
}

/// The destination in `eu-west-1`.
pub(crate) fn destination() -> Destination {
    Destination {
        region: region("eu-west-1"),
        stack: "insights-nightly-eu-west-1".to_owned(),
        state: DestinationState::Complete,
        bucket: Some(named(DESTINATION)),
        bucket_arn: Some(format!("arn:aws:s3:::{DESTINATION}")),
        reason: None,
        seen_empty_at: None,
    }
}

/// The first query of the run.
pub(crate) fn query(state: QueryState) -> Query {
    Query {
        number: 0,
        name: "All".to_owned(),
        tells: None,
        severity: None,
        sql: "SELECT * FROM \"s3insights\".\"inventory_nightly\"".to_owned(),
        state,
        execution_id: (state != QueryState::Waiting).then(|| "q-1".to_owned()),
        rows: None,
        sample: None,
        result_location: None,
        scanned_bytes: None,
        reason: None,
    }
}
