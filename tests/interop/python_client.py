"""Runs a whole migration with a generated client: source, check, start, scan, job, watch; and shows one refused request.

usage: python_client.py REGISTRY CATALOG SCHEDULER DIR  < CREATE_DATA_SOURCE_REQUEST.json    (HOST:PORT each; DIR has the
authority, the certificate and the token of the administrator, as deploy/make-secrets leaves them)
"""

import json
import pathlib
import sys
import uuid

import grpc
from google.protobuf import json_format
from grpc_status import rpc_status
from google.rpc import error_details_pb2

import mms_stubs

mms_stubs.generate()
from mms.catalog.v1 import scan_service_pb2 as scans
from mms.catalog.v1 import scan_service_pb2_grpc as scans_grpc
from mms.registry.v1 import check_pb2 as checks
from mms.registry.v1 import data_source_service_pb2 as sources
from mms.registry.v1 import data_source_service_pb2_grpc as sources_grpc
from mms.scheduler.v1 import job_pb2 as job
from mms.scheduler.v1 import job_table_pb2 as job_table
from mms.scheduler.v1 import task_pb2 as jobs_task
from mms.type.v1 import verification_pb2 as verification
from mms.scheduler.v1 import job_service_pb2 as jobs
from mms.scheduler.v1 import job_service_pb2_grpc as jobs_grpc


def channels(addresses, folder):
    """TLS channels that present a client certificate and send the token with each call."""
    own = {name: (pathlib.Path(folder) / name).read_bytes() for name in ("ca.crt", "administrator.key", "administrator.crt", "token")}
    tls = grpc.ssl_channel_credentials(own["ca.crt"], own["administrator.key"], own["administrator.crt"])
    token = grpc.access_token_call_credentials(own["token"].decode().strip())
    credentials = grpc.composite_channel_credentials(tls, token)
    return [grpc.secure_channel(address, credentials) for address in addresses]


def refused(client):
    """Prints an error as a caller sees it: code, ErrorInfo, every field violation."""
    request = sources.CreateDataSourceRequest(data_source_id="Not An Id")
    request.data_source.databricks.workspace_url = "ftp://nowhere"
    try:
        client.CreateDataSource(request)
    except grpc.RpcError as error:
        print("refused", error.code().name)
        for detail in rpc_status.from_call(error).details:
            info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
            if detail.Unpack(info):
                print("reason", info.domain, info.reason)
            if detail.Unpack(bad):
                for violation in bad.field_violations:
                    print("violation", violation.field)
        return
    sys.exit("an invalid request was taken")


def main():
    registry, catalog, scheduler = channels(sys.argv[1:4], sys.argv[4])
    client = sources_grpc.DataSourceServiceStub(registry)
    refused(client)

    request = json_format.ParseDict(json.load(sys.stdin), sources.CreateDataSourceRequest())
    source = client.CreateDataSource(request).data_source
    print("created", source.name)
    assert not source.max_compute.access_key.access_key_secret, "a secret came back"
    for answer in client.CheckDataSource(sources.CheckDataSourceRequest(name=source.name)):
        if answer.HasField("step"):
            print("check", checks.CheckStepId.Name(answer.step.id).removeprefix("CHECK_STEP_ID_"), answer.step.state)
    client.StartDataSource(sources.StartDataSourceRequest(name=source.name))

    scanner = scans_grpc.ScanServiceStub(catalog)
    scan = scanner.CreateScan(scans.CreateScanRequest(parent=source.name, request_id=str(uuid.uuid4()))).scan
    for answer in scanner.WatchScan(scans.WatchScanRequest(name=scan.name)):
        scan = answer.scan
    print("scan", scans.ScanState.Name(scan.state), scan.progress.tables_read)

    worker = jobs_grpc.JobServiceStub(scheduler)
    create = jobs.CreateJobRequest(parent=source.name, request_id=str(uuid.uuid4()))
    create.job.spec.schemas.SetInParent()
    made = worker.CreateJob(create).job
    again = worker.CreateJob(create).job
    assert made.name == again.name, "the same request made two jobs"
    last = None
    for answer in worker.WatchJob(jobs.WatchJobRequest(name=made.name)):
        last = answer.job
    print("job", job.JobState.Name(last.state), last.progress.rows_done)
    found = worker.ListVerificationChecks(jobs_task.ListVerificationChecksRequest(parent=made.name + "/tasks/-", page_size=1000))
    equal = [check for check in found.checks if check.verdict == verification.VERDICT_EQUAL]
    print("checks", len(equal) == len(found.checks) > 0)
    for table in worker.ListJobTables(job_table.ListJobTablesRequest(parent=made.name, page_size=100)).job_tables:
        print("table", table.table, table.source_rows, table.target_rows)


main()
