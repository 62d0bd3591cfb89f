"""Starts MiniStack with the few things the embedded AWS needs from the inside.

It runs MiniStack's own `main` and adds, through its modules' public entry points:

* `?inventory` requests on buckets never reach MiniStack's S3, which would take a DELETE for the
  deletion of the bucket. They are authenticated and authorised by MiniStack as usual, and then
  answered here: with an empty 200 for the S3 Inventory service that stands in front (it marks its
  requests), with 501 for anybody who bypasses it.
* `/_s3insights/bucket` tells who owns a bucket, where it is and when it was made;
  `/_s3insights/heads` answers many HeadObject calls at once. Both are what the S3 Inventory
  service needs to know about any account's bucket, as S3 itself knows it.
* A listing of versions goes on after an object of an unversioned bucket; MiniStack 1.5.33 would
  list the last one of a page again on the next.
* A batch request asks for the permission of the single one, as on AWS: `sqs:SendMessage` also for
  SendMessageBatch. MiniStack 1.5.33 asks for actions that IAM does not have.
* A part of an upload may be copied from a bucket of another account that allows it, as on AWS.
  MiniStack 1.5.33 asks the other account, and then looks for the bucket in the uploader's own.
* The time until a message of SQS is received again can be shortened, for all messages or for those
  with a given text, as MiniStack's own SFN_WAIT_SCALE shortens waits of machines.
* Every call that IAM was asked about is counted, by who called, what for and whether it was allowed;
  `/_s3insights/calls` tells. The accounts' roots, which may do anything, are not among them.
* An alarm over several metrics is made, over the first of them. MiniStack 1.5.33 knows no metric math; no
  alarm moves there anyway.
* Where a plan of faults says so, notifications that SNS puts into queues are lost, duplicated or late, calls
  of state machines are refused or their answers lost, messages are received twice, and functions end early.
* A function that does not start fails a task with `Lambda.Unknown`, as on AWS. MiniStack 1.5.33 names it
  `Runtime.Unknown`, which no machine tries again.
* A task that waits for a callback fails when its function does, as on AWS. MiniStack 1.5.33 waits on.
* The states inside of maps and of parallel branches are in the histories of executions, as on AWS.
  MiniStack 1.5.33 writes down those of the outermost level only.
* Owners of buckets are looked up at once, and items of a query compared at once, however many there are.
  MiniStack 1.5.33 looks through all buckets for each request, and reads the condition of a query anew for
  each item, so that the time of a run grows with the square of its size.
* There are the Regions that opened since: MiniStack 1.5.33 knows 31 of 34.
* What functions print goes to one file per function, as it is printed.
* When the process that started us goes away, so do we and every function process.

Every name that is replaced is looked up first, so another version of MiniStack fails at start
and not later in a strange way.
"""

import copy
import contextvars
import functools
import hashlib
import json
import os
import re
import signal
import sys
import threading
import time
from contextvars import ContextVar
from urllib.parse import parse_qs, unquote

import ministack.app as app_module
from ministack.core import iam_actions, iam_evaluator, lambda_runtime
from ministack.core.concurrency import esm_wake
from ministack.core.responses import _request_account_id
from ministack.services import account, dynamodb, ec2, s3, sns, sqs, stepfunctions
from ministack.services.cloudformation import provisioners

AUTHORISE_HEADER = "x-s3insights-authorise"

# Operations that IAM knows by another action.
IAM_ACTIONS = {
    "sns:PublishBatch": "sns:Publish",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:SendMessageBatch": "sqs:SendMessage",
}

# Factors on the time until a message is received again, by a text that its body contains.
REDELIVERY_SCALES = {"": float(os.environ.pop("S3INSIGHTS_REDELIVERY_SCALE"))}

# Regions of the standard partition that MiniStack does not know; all are to be opted in to.
# https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html
NEW_REGIONS = ["ap-east-2", "ap-southeast-6", "ap-southeast-7"]

# Seconds after which MiniStack looks for messages by itself.
POLL_INTERVAL = 1


def guard_inventory_requests():
    serve = s3.handle_request
    error = s3._error
    parse = s3._parse_bucket_key

    async def handle_request(method, path, headers, body, query_params, *args, **kwargs):
        if "inventory" in query_params:
            bucket, key = parse(path, headers)
            if bucket and not key:
                if AUTHORISE_HEADER not in headers:
                    return error("NotImplemented",
                                 "Inventory configurations are served by the S3 endpoint of the embedded AWS.", 501)
                # A listing of nothing: it changes nothing and still meets S3's checks of bucket and Region.
                nothing = {"list-type": ["2"], "max-keys": ["0"]}
                status, found, document = await serve("GET", path, headers, b"", nothing, *args, **kwargs)
                return (200, {}, b"") if status == 200 else (status, found, document)
        return await serve(method, path, headers, body, query_params, *args, **kwargs)

    s3.handle_request = handle_request


def mend_version_listing():
    list_versions = s3._list_object_versions
    versions = s3._object_versions

    def list_object_versions(bucket, query_params):
        key = (query_params.get("key-marker") or [""])[0]
        version = (query_params.get("version-id-marker") or [""])[0]
        if version == "null" and not versions.get((bucket, key)):
            # There is nothing else under this key: go on behind it.
            query_params = {name: value for name, value in query_params.items() if name != "version-id-marker"}
        return list_versions(bucket, query_params)

    s3._list_object_versions = list_object_versions


def mend_batch_permissions():
    extract = iam_actions.extract_iam_action

    def extract_iam_action(*args, **kwargs):
        action = extract(*args, **kwargs)
        return IAM_ACTIONS.get(action, action)

    iam_actions.extract_iam_action = extract_iam_action


def mend_copies_from_other_accounts():
    copy_part = s3._upload_part_copy
    ensure = s3._ensure_bucket
    source = ContextVar("source", default=None)

    def upload_part_copy(bucket, key, query_params, headers):
        path = headers.get("x-amz-copy-source", "").lstrip("/").partition("?")[0]
        token = source.set(unquote(path).partition("/")[0])
        try:
            return copy_part(bucket, key, query_params, headers)
        finally:
            source.reset(token)

    def ensure_bucket(name):
        found = ensure(name)
        if found is None and name == source.get():
            # Whether the caller may read it was asked before.
            owner = s3._bucket_owner_account(name)
            found = s3._buckets.get_scoped(owner, "", name) if owner else None
        return found

    s3._upload_part_copy = upload_part_copy
    s3._ensure_bucket = ensure_bucket


def find_owners_at_once():
    search = s3._bucket_owner_account
    buckets = s3._buckets._data
    owners = {}

    def bucket_owner_account(name):
        owner = owners.get(name)
        if (owner, name) not in buckets:
            owner = search(name)
            if owner:
                owners[name] = owner
        return owner

    s3._bucket_owner_account = bucket_owner_account


def compare_keys_at_once():
    evaluate = dynamodb._evaluate_condition
    condition = re.compile(r"(\w+) = (:\w+) AND begins_with\((\w+), (:\w+)\)")

    @functools.lru_cache
    def names_of(expression):
        found = condition.fullmatch(expression)
        return found and found.groups()

    def evaluate_condition(expression, item, values, names, slot="ConditionExpression"):
        if slot == "KeyConditionExpression" and (found := names_of(expression)):
            key, value, sort_key, prefix = found
            sort_value = item.get(sort_key, {}).get("S")
            start = values.get(prefix, {}).get("S")
            if sort_value is not None and start is not None and value in values:
                return item.get(key) == values[value] and sort_value.startswith(start)
        return evaluate(expression, item, values, names, slot=slot)

    dynamodb._evaluate_condition = evaluate_condition


def open_new_regions():
    for region in NEW_REGIONS:
        account._REGIONS_LIST.append(region)
        account._OPT_IN_REQUIRED.add(region)
        ec2._AWS_REGIONS.append((region, "opted-in"))


def take_alarms_over_several_metrics():
    record = provisioners._cw_metric_alarm_record

    def alarm_record(name, properties):
        if metrics := properties.get("Metrics"):
            stat = next(metric["MetricStat"] for metric in metrics if "MetricStat" in metric)
            properties = {key: value for key, value in properties.items() if key != "Metrics"}
            properties |= stat["Metric"] | {"Period": stat["Period"], "Statistic": stat["Stat"]}
        return record(name, properties)

    provisioners._cw_metric_alarm_record = alarm_record


def redelivery_scale(body):
    # The longest text says the most about the message.
    return REDELIVERY_SCALES[max((text for text in list(REDELIVERY_SCALES) if text in body), key=len)]


def set_redelivery_scale(request):
    containing, factor = request["containing"], float(request["factor"])
    if containing and factor == 1:
        REDELIVERY_SCALES.pop(containing, None)
    else:
        REDELIVERY_SCALES[containing] = factor
    return {}


def scale_redelivery():
    collect = sqs._collect_msgs
    change = sqs._HANDLERS["ChangeMessageVisibility"]
    change_batch = sqs._HANDLERS["ChangeMessageVisibilityBatch"]

    def scale(messages):
        now = time.time()
        for message in messages:
            factor = redelivery_scale(message["body"])
            left = (message["visible_at"] - now) * factor
            if factor == 1 or left < 0:
                continue
            message["visible_at"] = now + left
            if left < POLL_INTERVAL:
                timer = threading.Timer(left + 0.002, esm_wake.set)
                timer.daemon = True
                timer.start()

    def scale_received(url, receipts):
        scale([message for message in sqs._get_q(url)["messages"] if message["receipt_handle"] in receipts])

    def collect_msgs(*args, **kwargs):
        messages = collect(*args, **kwargs)
        scale(messages)
        return messages

    def change_visibility(data, url):
        answer = change(data, url)
        scale_received(data.get("QueueUrl", url), {data["ReceiptHandle"]})
        return answer

    def change_visibility_batch(data, url):
        answer = change_batch(data, url)
        changed = {entry["Id"] for entry in answer["Successful"]}
        receipts = {entry["ReceiptHandle"] for entry in data["Entries"] if entry["Id"] in changed}
        scale_received(data.get("QueueUrl", url), receipts)
        return answer

    sqs._collect_msgs = collect_msgs
    sqs._HANDLERS["ChangeMessageVisibility"] = change_visibility
    sqs._HANDLERS["ChangeMessageVisibilityBatch"] = change_visibility_batch


# By principal, action and whether it was allowed: how often, and on what the last time.
calls = {}


def mend_histories():
    add_event = stepfunctions._add_event
    run = stepfunctions._run_sub_machine

    class Watched(dict):
        """The context of one sub-machine, which is told about every state before anything else."""

        def __init__(self, context, entered):
            super().__init__(context)
            self.entered = entered

        def __deepcopy__(self, memo):
            return copy.deepcopy(dict(self), memo)

        def __setitem__(self, key, value):
            super().__setitem__(key, value)
            if key == "State" and value["RetryCount"] == 0:
                caller = sys._getframe(1).f_locals
                if "state_def" in caller and "current_input" in caller:
                    self.entered(value["Name"], caller["state_def"]["Type"], caller["current_input"])

    def run_sub_machine(states, start_at, input_data, execution, ctx):
        def entered(name, kind, payload):
            details = {"name": name, "input": json.dumps(payload)}
            add_event(execution, kind + "StateEntered", {"stateEnteredEventDetails": details})

        return run(states, start_at, input_data, execution, Watched(ctx, entered))

    stepfunctions._run_sub_machine = run_sub_machine


def count_calls():
    enforce = iam_evaluator.enforce
    evaluate = iam_evaluator.evaluate
    lock = threading.Lock()
    caller = ContextVar("caller", default=None)

    def evaluate_for(context, *args, **kwargs):
        caller.set(context.principal_arn)
        return evaluate(context, *args, **kwargs)

    def enforce_and_count(access_key_id, action, service, region, resource_arn="*", **kwargs):
        token = caller.set(None)
        try:
            denied = enforce(access_key_id, action, service, region, resource_arn=resource_arn, **kwargs)
            principal = caller.get()
        finally:
            caller.reset(token)
        if principal:
            # Sessions of a role are one caller.
            if ":assumed-role/" in principal:
                principal = principal.rsplit("/", 1)[0]
            with lock:
                count, _ = calls.get((principal, action, denied is None), (0, ""))
                calls[principal, action, denied is None] = (count + 1, resource_arn)
        return denied

    iam_evaluator.evaluate = evaluate_for
    iam_evaluator.enforce = enforce_and_count


def describe_calls():
    # Copied first: calls go on meanwhile.
    return [{"principal": principal, "action": action, "allowed": allowed, "count": count, "last_resource": resource}
            for (principal, action, allowed), (count, resource) in sorted(list(calls.items()))]


# What the plan of faults says of what stays in here, and what came of it.
plan = {"faults": {}, "numbers": {}, "counts": {}}
plan_lock = threading.Lock()


def set_fault_plan(request):
    if "seed" in request:
        plan.update(numbers={}, counts={})
    plan["faults"] = request
    return {}


def share(number, kind):
    """A number from 0 to 1 that belongs to one event and one kind of fault."""
    text = f"{plan['faults']['seed']}|{number}|{kind}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32


def next_fault(subject, shares):
    """The first kind of fault that the plan has for the next event of a subject, and its number."""
    with plan_lock:
        number = plan["numbers"][subject] = plan["numbers"].get(subject, 0) + 1
        kind = next((kind for kind, wanted in shares.items() if share(number, kind) < wanted), None)
        if kind:
            name = f"{subject}_{kind}"
            plan["counts"][name] = plan["counts"].get(name, 0) + 1
    return kind, number


def disturb_notifications():
    deliver = sns._deliver_to_sqs

    def deliver_to_sqs(*args, **kwargs):
        faults = plan["faults"].get("notifications")
        if not faults:
            return deliver(*args, **kwargs)
        kind, number = next_fault("notification", {kind: faults[kind] for kind in ("lost", "duplicated", "late")})
        if kind == "lost":
            return None
        if kind == "duplicated":
            deliver(*args, **kwargs)
        if kind == "late":
            # The account and the Region of the request go with it.
            context = contextvars.copy_context()
            seconds = faults["late_seconds"] * share(number, "seconds")
            timer = threading.Timer(seconds, lambda: context.run(deliver, *args, **kwargs))
            timer.daemon = True
            timer.start()
            return None
        return deliver(*args, **kwargs)

    sns._deliver_to_sqs = deliver_to_sqs


def mend_failed_starts():
    call = stepfunctions._call_lambda

    def call_lambda(*args, **kwargs):
        try:
            return call(*args, **kwargs)
        except stepfunctions._ExecutionError as error:
            if error.error == "Runtime.Unknown":
                raise stepfunctions._ExecutionError("Lambda.Unknown", error.cause) from error
            raise

    stepfunctions._call_lambda = call_lambda


def mend_callbacks():
    invoke = stepfunctions._invoke_with_callback
    call = stepfunctions._call_lambda
    waiting = ContextVar("waiting", default=None)

    def invoke_with_callback(resource, input_data, token, state):
        mark = waiting.set(token)
        try:
            return invoke(resource, input_data, token, state)
        finally:
            waiting.reset(mark)

    def call_lambda(*args, **kwargs):
        try:
            return call(*args, **kwargs)
        except stepfunctions._ExecutionError as error:
            if record := stepfunctions._task_tokens.get(waiting.get()):
                record["error"] = {"Error": error.error, "Cause": error.cause}
                record["event"].set()
            raise

    stepfunctions._invoke_with_callback = invoke_with_callback
    stepfunctions._call_lambda = call_lambda


def disturb_machines():
    def disturb(name, refused, answer_lost):
        call = getattr(stepfunctions, name)

        def disturbed(*args, **kwargs):
            faults = plan["faults"].get("machines")
            if not faults:
                return call(*args, **kwargs)
            kind, _ = next_fault("machine", faults)
            if kind == "refused":
                raise stepfunctions._ExecutionError(refused, "A fault on purpose.")
            answer = call(*args, **kwargs)
            if kind == "answer_lost":
                raise stepfunctions._ExecutionError(answer_lost, "A fault on purpose.")
            return answer

        setattr(stepfunctions, name, disturbed)

    disturb("_call_lambda", "Lambda.TooManyRequestsException", "Lambda.SdkClientException")
    disturb("_invoke_dynamodb", "DynamoDB.ThrottlingException", "DynamoDB.SdkClientException")
    disturb("_invoke_nested_start_execution_sync",
            "StepFunctions.ThrottlingException", "StepFunctions.SdkClientException")


def disturb_messages():
    collect = sqs._collect_msgs

    def collect_msgs(*args, **kwargs):
        messages = collect(*args, **kwargs)
        wanted = plan["faults"].get("received_twice")
        for message in messages if wanted else ():
            kind, _ = next_fault("message", {"received_twice": wanted})
            if kind:
                message["visible_at"] = time.time()
        return messages

    sqs._collect_msgs = collect_msgs


def limit_functions():
    invoke = lambda_runtime.ProvidedWorker.invoke

    def limited(self, *args, **kwargs):
        if seconds := plan["faults"].get("function_seconds"):
            self.config = self.config | {"Timeout": min(seconds, self.config.get("Timeout", 30))}
        return invoke(self, *args, **kwargs)

    lambda_runtime.ProvidedWorker.invoke = limited


def describe_bucket(name):
    owner = s3._bucket_owner_account(name)
    record = s3._buckets.get_scoped(owner, "", name) if owner else None
    if record is None:
        return None
    return {
        "name": name,
        "account_id": owner,
        "region": record.get("region") or "us-east-1",
        "created": str(record["created"]),
    }


def heads(request):
    _request_account_id.set(request["account_id"])
    answer = []
    for key, version_id in request["objects"]:
        query = {"versionId": [version_id]} if version_id else {}
        status, headers, _ = s3._head_object(request["bucket"], key, {}, query)
        if status == 200:
            answer.append({name.lower(): str(value) for name, value in headers.items()})
        elif status == 400:
            # Refused for want of the customer's key: that it has one is all there is to know.
            answer.append({"x-amz-server-side-encryption-customer-algorithm": "AES256"})
        else:
            answer.append(None)
    return answer


async def read_body(receive):
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


def add_endpoints():
    serve = app_module.app

    async def app(scope, receive, send):
        if scope["type"] != "http" or not scope["path"].startswith("/_s3insights/"):
            return await serve(scope, receive, send)
        if scope["path"] == "/_s3insights/identity":
            document = {"pid": os.getpid()}
        elif scope["path"] == "/_s3insights/bucket":
            document = describe_bucket(parse_qs(scope["query_string"].decode())["name"][0])
        elif scope["path"] == "/_s3insights/calls":
            document = describe_calls()
        elif scope["path"] == "/_s3insights/heads":
            document = heads(json.loads(await read_body(receive)))
        elif scope["path"] == "/_s3insights/fault-plan":
            if scope["method"] == "GET":
                document = plan["counts"]
            else:
                document = set_fault_plan(json.loads(await read_body(receive)))
        elif scope["path"] == "/_s3insights/redelivery-scale":
            document = set_redelivery_scale(json.loads(await read_body(receive)))
        else:
            document = None
        body = json.dumps(document).encode()
        await send({"type": "http.response.start", "status": 404 if document is None else 200,
                    "headers": [(b"content-type", b"application/json"),
                                (b"content-length", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})

    app_module.app = app


def copy_function_output(folder):
    os.makedirs(folder, exist_ok=True)
    pump = lambda_runtime.ProvidedWorker._pump_output

    class Copying:
        def __init__(self, stream, path):
            self.stream = stream
            self.file = open(path, "ab", buffering=0)

        def readline(self):
            line = self.stream.readline()
            self.file.write(line)
            return line

        def close(self):
            self.file.close()
            self.stream.close()

    def pump_output(self, stream, log_queue):
        name = re.sub(r"[^A-Za-z0-9_-]", "_", self.func_name)
        return pump(self, Copying(stream, os.path.join(folder, name + ".log")), log_queue)

    lambda_runtime.ProvidedWorker._pump_output = pump_output


def end_with_standard_input():
    def wait():
        while sys.stdin.buffer.read(4096):
            pass
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True, name="end-with-parent").start()


guard_inventory_requests()
mend_version_listing()
mend_batch_permissions()
mend_copies_from_other_accounts()
take_alarms_over_several_metrics()
find_owners_at_once()
compare_keys_at_once()
open_new_regions()
scale_redelivery()
disturb_notifications()
mend_failed_starts()
disturb_machines()
mend_callbacks()
disturb_messages()
limit_functions()
mend_histories()
count_calls()
add_endpoints()
copy_function_output(os.environ.pop("S3INSIGHTS_FUNCTION_LOGS"))
if os.environ.pop("S3INSIGHTS_END_WITH_STDIN", ""):
    end_with_standard_input()
sys.argv = sys.argv[:1]
app_module.main()
