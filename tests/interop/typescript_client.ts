// Walks the line with a client that buf generated: source, check, start, scan, job, watch; and shows one refused request.
//
// usage: node typescript_client.js REGISTRY CATALOG SCHEDULER  < CREATE_DATA_SOURCE_REQUEST.json   (http://HOST:PORT each)

import { readFileSync } from "node:fs";
import { randomUUID } from "node:crypto";
import { create, fromJson, type JsonValue } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { ScanService, ScanState } from "./gen/ts/mms/catalog/v1/scan_service_pb.js";
import { CheckState, CheckStepId } from "./gen/ts/mms/registry/v1/check_pb.js";
import {
  CreateDataSourceRequestSchema,
  DataSourceService,
} from "./gen/ts/mms/registry/v1/data_source_service_pb.js";
import { JobState } from "./gen/ts/mms/scheduler/v1/job_pb.js";
import { JobService } from "./gen/ts/mms/scheduler/v1/job_service_pb.js";

// google.rpc.ErrorInfo and BadRequest, read by hand: the contracts vendor no third-party protos.
function* fields(bytes: Uint8Array): Generator<[number, Uint8Array]> {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      value |= (byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const length = varint();
    yield [tag >> 3, bytes.subarray(at, at + length)];
    at += length;
  }
}
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

function show(error: ConnectError) {
  console.log("refused", Code[error.code]);
  for (const detail of error.details as { type: string; value: Uint8Array }[]) {
    const found = [...fields(detail.value)];
    if (detail.type === "google.rpc.ErrorInfo") {
      const get = (number: number) => text(found.find(([n]) => n === number)?.[1] ?? new Uint8Array());
      console.log("reason", get(2), get(1));
    }
    if (detail.type === "google.rpc.BadRequest") {
      for (const [, violation] of found) {
        console.log("violation", text([...fields(violation)].find(([n]) => n === 1)?.[1] ?? new Uint8Array()));
      }
    }
  }
}

const [registry, catalog, scheduler] = process.argv.slice(2, 5).map((baseUrl) => createGrpcTransport({ baseUrl }));
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
