// Runs a whole migration with a client that buf generated: source, check, start, scan, job, watch; and shows one refused request.
//
// usage: node typescript_client.js REGISTRY CATALOG SCHEDULER DIR  < CREATE_DATA_SOURCE_REQUEST.json   (HOST:PORT each; DIR has the
// authority, the certificate and the token of the administrator)

import { readFileSync } from "node:fs";
import { randomUUID } from "node:crypto";
import { create, fromJson, type JsonValue } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { BadRequest, ErrorInfo } from "nice-grpc-error-details";
import { ScanService, ScanState } from "./gen/ts/mms/catalog/v1/scan_service_pb.js";
import { CheckState, CheckStepId } from "./gen/ts/mms/registry/v1/check_pb.js";
import {
  CreateDataSourceRequestSchema,
  DataSourceService,
} from "./gen/ts/mms/registry/v1/data_source_service_pb.js";
import { JobState } from "./gen/ts/mms/scheduler/v1/job_pb.js";
import { JobService } from "./gen/ts/mms/scheduler/v1/job_service_pb.js";

function show(error: ConnectError) {
  console.log("refused", Code[error.code]);
  for (const detail of error.details as { type: string; value: Uint8Array }[]) {
    if (detail.type === "google.rpc.ErrorInfo") {
      const info = ErrorInfo.decode(detail.value);
      console.log("reason", info.domain, info.reason);
    }
    if (detail.type === "google.rpc.BadRequest") {
      for (const violation of BadRequest.decode(detail.value).fieldViolations) console.log("violation", violation.field);
    }
  }
}

// The administrator's certificate and token, as deploy/make-secrets leaves them.
const folder = process.argv[5];
const own = (file: string) => readFileSync(`${folder}/${file}`, "utf8");
const nodeOptions = { ca: own("ca.crt"), cert: own("administrator.crt"), key: own("administrator.key") };
const token = own("token").trim();
const authorized: Interceptor = (next) => (call) => {
  call.header.set("authorization", `Bearer ${token}`);
  return next(call);
};
const [registry, catalog, scheduler] = process.argv
  .slice(2, 5)
  .map((address) => createGrpcTransport({ baseUrl: `https://${address}`, nodeOptions, interceptors: [authorized] }));
const sources = createClient(DataSourceService, registry);
const scans = createClient(ScanService, catalog);
const jobs = createClient(JobService, scheduler);

try {
  await sources.createDataSource(
    create(CreateDataSourceRequestSchema, {
      dataSourceId: "Not An Id",
      dataSource: { source: { case: "databricks", value: { workspaceUrl: "ftp://nowhere" } } },
    }),
  );
  throw new Error("an invalid request was taken");
} catch (error) {
  if (!(error instanceof ConnectError)) throw error;
  show(error);
}

const request = fromJson(CreateDataSourceRequestSchema, JSON.parse(readFileSync(0, "utf8")) as JsonValue);
const source = (await sources.createDataSource(request)).dataSource!;
console.log("created", source.name);
for await (const { event } of sources.checkDataSource({ target: { case: "name", value: source.name } })) {
  if (event.case === "step") console.log("check", CheckStepId[event.value.id], CheckState[event.value.state]);
  if (event.case === "report") console.log("report", CheckState[event.value.state]);
}
await sources.startDataSource({ name: source.name });

let scan = (await scans.createScan({ parent: source.name, requestId: randomUUID() })).scan!;
for await (const answer of scans.watchScan({ name: scan.name })) scan = answer.scan!;
console.log("scan", ScanState[scan.state], scan.progress!.tablesRead.toString());

const spec = { scope: { case: "schemas" as const, value: {} } };
let job = (await jobs.createJob({ parent: source.name, job: { spec }, requestId: randomUUID() })).job!;
for await (const answer of jobs.watchJob({ name: job.name })) job = answer.job!;
console.log("job", JobState[job.state], job.progress!.rowsDone.toString());
for (const table of (await jobs.listJobTables({ parent: job.name, pageSize: 100 })).jobTables) {
  console.log("table", table.table, String(table.sourceRows), String(table.targetRows));
}
