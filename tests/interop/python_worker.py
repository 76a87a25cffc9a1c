"""A transfer worker in Python: leases tasks and does them with PyODPS. It knows nothing of mms but the contract.

usage: python_worker.py SCHEDULER REGISTRY TOKEN_FILE WORKER_ID [--hold] [--rows] [--pool POOL] [--tasks N]

--hold    prints the first lease and then only renews it, until it is killed
--rows    also moves and verifies rows, of unpartitioned tables in local files, which pyarrow reads
--pool    takes only tasks of jobs for this pool
--tasks   exits after N tasks

Without --rows it takes only tasks whose one step is SCHEMA.
"""

import argparse
import json
import threading
import time
import urllib.parse
import uuid

import grpc
import pyarrow.parquet
from google.protobuf import duration_pb2, timestamp_pb2
from odps import ODPS
from odps.errors import NoSuchObject
from odps.tunnel import TableTunnel
from odps.tunnel.tabletunnel import TableUploadSession

import mms_stubs

mms_stubs.generate()
from mms.registry.v1 import session_service_pb2 as sessions
from mms.registry.v1 import session_service_pb2_grpc as sessions_grpc
from mms.scheduler.v1 import commit_pb2 as commit
from mms.scheduler.v1 import job_pb2 as job
from mms.scheduler.v1 import job_spec_pb2 as spec
from mms.scheduler.v1 import lease_pb2 as leases
from mms.scheduler.v1 import task_pb2 as tasks
from mms.scheduler.v1 import worker_pb2 as workers
from mms.scheduler.v1 import worker_service_pb2 as work
from mms.scheduler.v1 import worker_service_pb2_grpc as work_grpc
from mms.type.v1 import delta_pb2 as delta
from mms.type.v1 import error_reason_pb2 as reasons
from mms.type.v1 import source_pb2 as sources
from mms.type.v1 import target_pb2 as targets
from mms.type.v1 import verification_pb2 as verification


class Fenced(Exception):
    """The lease is lost: the task is dropped, and nothing is reported."""


class Conflict(Exception):
    """The table at the target, or the task, is not one that this worker can handle."""


class Worker:
    def __init__(self, args):
        self.token = [("authorization", "Bearer " + open(args.token_file).read().strip())]
        self.scheduler = work_grpc.WorkerServiceStub(grpc.insecure_channel(args.scheduler))
        self.registry = sessions_grpc.SessionServiceStub(grpc.insecure_channel(args.registry))
        self.id, self.instance, self.held = args.worker_id, str(uuid.uuid4()), {}
        self.rows, self.pool = args.rows, args.pool
        self.lock = threading.Lock()

    def call(self, method, request):
        """Retries a call during an outage: every call of this contract may be repeated."""
        while True:
            try:
                return method(request, metadata=self.token, timeout=60)
            except grpc.RpcError as error:
                if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN):
                    raise
                time.sleep(0.2)

    def me(self):
        return {"worker": f"workers/{self.id}", "instance": self.instance}

    def register(self):
        steps = [tasks.TASK_STEP_SCHEMA, tasks.TASK_STEP_LOOK]
        abilities = workers.Capabilities(steps=steps, engine=spec.ENGINE_BUILT_IN)
        if self.rows:
            # No reader features: tables that need one are left to other workers.
            abilities.steps.extend([tasks.TASK_STEP_DATA, tasks.TASK_STEP_VERIFICATION])
            abilities.read_paths.append(sources.READ_PATH_STORAGE)
            abilities.target_kinds.extend([targets.TARGET_KIND_ORDINARY, targets.TARGET_KIND_APPEND_DELTA])
        request = work.RegisterWorkerRequest(
            worker_id=self.id, instance=self.instance, pool=self.pool, slots=1, contract_version=1, capabilities=abilities
        )
        answer = self.call(self.scheduler.RegisterWorker, request)
        interval = answer.heartbeat_interval.ToTimedelta().total_seconds()
        threading.Thread(target=self.beat, args=(interval,), daemon=True).start()

    def beat(self, interval):
        while True:
            time.sleep(interval)
            with self.lock:
                beats = [work.LeaseBeat(task=task, epoch=epoch) for task, epoch in self.held.items()]
            if not beats:
                continue
            for answer in self.call(self.scheduler.Heartbeat, work.HeartbeatRequest(beats=beats, **self.me())).answers:
                if answer.verdict == work.LEASE_VERDICT_STOP_NOW:
                    with self.lock:
                        self.held.pop(answer.task, None)

    def lease(self):
        request = work.LeaseTasksRequest(max_tasks=1, wait=duration_pb2.Duration(seconds=10), **self.me())
        for lease in self.call(self.scheduler.LeaseTasks, request).leases:
            with self.lock:
                self.held[lease.task.name] = lease.epoch
            return lease
        return None

    def report(self, lease, **event):
        report = work.TaskReport(task=lease.task.name, epoch=lease.epoch, **event)
        answer = self.call(self.scheduler.ReportTasks, work.ReportTasksRequest(reports=[report], **self.me()))
        if not answer.answers[0].accepted:
            raise Fenced
        return answer.answers[0]

    def project(self, task):
        purposes = [sessions.SESSION_PURPOSE_WRITE_ROWS] + [sessions.SESSION_PURPOSE_READ_ROWS] * self.rows
        request = sessions.OpenSessionRequest(
            data_source=task.data_source, holder=f"workers/{self.id}", purposes=purposes
        )
        target = self.call(self.registry.OpenSession, request).session.data_source.max_compute
        key = target.access_key
        return ODPS(key.access_key_id, key.access_key_secret, target.default_project, endpoint=target.endpoint)

    def do(self, lease):
        """Does the remaining steps. If one fails, the scheduler decides what happens to the task."""
        steps = {
            tasks.TASK_STEP_SCHEMA: self.make,
            tasks.TASK_STEP_DATA: self.move,
            tasks.TASK_STEP_VERIFICATION: self.verify,
            tasks.TASK_STEP_LOOK: self.look,
        }
        odps = self.project(lease.task)
        for step in [step for step in lease.task.steps if step >= lease.first_step]:
            self.report(lease, step_begun=work.StepBegun(step=step))
            try:
                done = steps[step](odps, lease)
            except Fenced:
                raise
            except Exception as error:
                conflict = isinstance(error, Conflict)
                reason = reasons.ERROR_REASON_TARGET_CONFLICT if conflict else reasons.ERROR_REASON_TARGET_FAILED
                why = job.JobReason(reason=reason, message=str(error) or repr(error))
                self.report(lease, failed=work.AttemptFailed(step=step, reason=why))
                return False
            if self.report(lease, step_done=work.StepDone(step=step, **done)).lease_ended:
                # The remaining steps come later, with another lease.
                return False
        return True

    def make(self, odps, lease):
        """SCHEMA: creates the table and its partitions. Every statement can be repeated."""
        task = lease.task
        table = task.target.table
        hints = {"odps.namespace.schema": "true", "odps.sql.type.system.odps2": "true", **task.sql_parameters}
        if task.makes_table:
            marks = f"TBLPROPERTIES ('mms.job'='{task.job_uid}', 'mms.nonce'='{uuid.uuid4()}', "
            create = marks.join(task.target.create_sql.rsplit("TBLPROPERTIES (", 1))
            for sql in filter(None, [task.target.create_schema_sql, create]):
                odps.execute_sql(sql, hints=hints)
        for unit in task.units:
            if unit.partition:
                partition = ",".join(f"{p.column}='{p.value}'" for p in unit.partition)
                odps.get_table(table.table, schema=table.schema).create_partition(partition, if_not_exists=True)
        found = [c.name.lower() for c in odps.get_table(table.table, schema=table.schema).table_schema.columns]
        planned = [c.target_column.lower() for c in task.target.columns]
        if found != planned:
            raise Conflict(f"{table.table} has columns {found}, the plan {planned}")
        return {"identity": self.identity(odps, task)}

    def identity(self, odps, task):
        """Identifies the table at the target: one that is created anew has another id, time and nonce."""
        table = odps.get_table(task.target.table.table, schema=task.target.table.schema)
        table.reload()
        nonce = (table.reserved or {}).get("mms.nonce", "")
        made = timestamp_pb2.Timestamp(seconds=int(table.creation_time.timestamp()))
        return targets.TargetIdentity(table_id=table.table_id or "", create_time=made, nonce=nonce)

    def move(self, odps, lease):
        """DATA: writes each unit's files in a session of its own, which replaces the rows that the unit had."""
        task, tunnel = lease.task, TableTunnel(odps)
        for intent in lease.open_intents:
            self.resolve(lease, intent, self.ask(tunnel, task, intent))
        done = {unit.unit_index: unit for unit in lease.units_done}
        for unit in [unit for unit in task.units if unit.index not in done]:
            done[unit.index] = self.publish(odps, tunnel, lease, unit)
        return {"rows": sum(unit.rows for unit in done.values()), "bytes": sum(unit.bytes for unit in done.values())}

    def session(self, tunnel, task, **which):
        return tunnel.create_upload_session(task.target.table.table, schema=task.target.table.schema or None, **which)

    def publish(self, odps, tunnel, lease, unit):
        task = lease.task
        by_name = task.WhichOneof("format") == "delta" and task.delta.column_mapping == delta.COLUMN_MAPPING_MODE_NONE
        if unit.partition or not by_name:
            raise Conflict(f"unit {unit.index} of {task.table} is not of an unpartitioned table without column mapping")
        session, rows = self.session(tunnel, task, overwrite=True), 0
        identity = self.identity(odps, task)
        names = [column.source_column for column in task.target.columns]
        missing = set(names) - {field["name"] for field in json.loads(task.delta.schema_json)["fields"]}
        if missing:
            raise Conflict(f"{task.table} has no column {missing}")
        with session.open_record_writer(0) as writer:
            for file in self.files(lease, unit):
                if file.HasField("deletion_vector"):
                    raise Conflict(f"{file.path} has deleted rows")
                url = urllib.parse.urlsplit(urllib.parse.urljoin(task.location, file.path))
                read = pyarrow.parquet.read_table(urllib.parse.unquote(url.path), columns=names)
                if file.HasField("row_count") and read.num_rows != file.row_count:
                    raise Conflict(f"{file.path} has {read.num_rows} rows, the log {file.row_count}")
                for row in zip(*(read.column(name).to_pylist() for name in names)):
                    writer.write(session.new_record(list(row)))
                rows += read.num_rows
        covered = commit.IntentUnit(unit_index=unit.index, rows=rows, bytes=unit.source_bytes)
        intent = commit.CommitIntent(
            intent_id=str(uuid.uuid4()), target=task.target.table, units=[covered], identity=identity
        )
        intent.tunnel.session_id = session.id
        intent.tunnel.block_ids.append(0)
        self.begin(tunnel, lease, intent)
        session.commit([0])
        self.resolve(lease, intent, commit.COMMIT_OUTCOME_COMMITTED)
        return leases.UnitResult(unit_index=unit.index, rows=rows, bytes=unit.source_bytes)

    def files(self, lease, unit):
        request = work.ReadTaskManifestRequest(
            worker=f"workers/{self.id}", task=lease.task.name, epoch=lease.epoch, unit_index=unit.index
        )
        for part in self.scheduler.ReadTaskManifest(request, metadata=self.token, timeout=60):
            yield from part.files

    def begin(self, tunnel, lease, intent):
        """Has the scheduler store the intent; an open intent on the unit is resolved first."""
        request = commit.CommitRequest(task=lease.task.name, epoch=lease.epoch, intent=intent)
        while True:
            answer = self.call(self.scheduler.BeginCommit, commit.BeginCommitRequest(requests=[request], **self.me()))
            said = answer.answers[0].WhichOneof("answer")
            if said == "granted":
                return
            if said == "fenced":
                raise Fenced
            other = answer.answers[0].open_intent
            self.resolve(lease, other, self.ask(tunnel, lease.task, other))

    def ask(self, tunnel, task, intent):
        """The outcome of a session. One that can still be committed is committed now, so that it cannot be committed later."""
        states = TableUploadSession.Status
        try:
            session = self.session(tunnel, task, upload_id=intent.tunnel.session_id)
            if session.status == states.Normal:
                session.commit(list(intent.tunnel.block_ids))
                return commit.COMMIT_OUTCOME_COMMITTED
        except NoSuchObject:
            return commit.COMMIT_OUTCOME_UNKNOWN_TO_SERVER
        outcomes = {
            states.Closed: commit.COMMIT_OUTCOME_COMMITTED,
            states.Canceled: commit.COMMIT_OUTCOME_CANCELLED,
            states.Expired: commit.COMMIT_OUTCOME_EXPIRED,
        }
        if session.status not in outcomes:
            raise RuntimeError(f"session {session.id} is {session.status}: it is asked again later")
        return outcomes[session.status]

    def resolve(self, lease, intent, outcome):
        resolution = commit.CommitResolution(
            task=lease.task.name, epoch=lease.epoch, intent_id=intent.intent_id, outcome=outcome
        )
        request = commit.ResolveCommitsRequest(resolutions=[resolution], **self.me())
        if not self.call(self.scheduler.ResolveCommits, request).answers[0].accepted:
            raise Fenced

    def verify(self, odps, lease):
        """VERIFICATION: compares the rows at the target with those that the log records."""
        task, checks = lease.task, []
        for unit in task.units:
            table = task.target.table
            found = TableTunnel(odps).create_download_session(table.table, schema=table.schema or None).count
            checks.append(
                verification.VerificationCheck(
                    unit_index=unit.index,
                    kind=verification.VERIFICATION_KIND_ROW_COUNT,
                    source_value=str(unit.source_rows),
                    source_origin=verification.VALUE_ORIGIN_LOG,
                    target_value=str(found),
                    verdict=verification.VERDICT_EQUAL if found == unit.source_rows else verification.VERDICT_DIFFERENT,
                )
            )
        verdict = max((check.verdict for check in checks), default=verification.VERDICT_EQUAL)
        level = verification.VERIFICATION_LEVEL_ROW_COUNT
        return {"verification": verification.VerificationResult(level=level, checks=checks, verdict=verdict)}


    def look(self, odps, lease):
        """LOOK: compares the whole table with everything that the tasks of the job published."""
        task, expected, rows, different = lease.task, [], 0, []
        request = work.ReadPublishedUnitsRequest(worker=f"workers/{self.id}", task=task.name, epoch=lease.epoch)
        for part in self.scheduler.ReadPublishedUnits(request, metadata=self.token, timeout=60):
            expected.extend(part.units)
        identity, name = self.identity(odps, task), task.target.table
        table = odps.get_table(name.table, schema=name.schema)
        for unit in expected:
            spec_text = ",".join(f"{value.column}='{value.value}'" for value in unit.partition)
            if spec_text and not table.exist_partition(spec_text):
                different.append(work.LookedUnit(partition=unit.partition))
            elif unit.HasField("rows"):
                session = TableTunnel(odps).create_download_session(
                    name.table, schema=name.schema or None, partition_spec=spec_text or None
                )
                rows += session.count
                if session.count != unit.rows:
                    different.append(work.LookedUnit(partition=unit.partition, rows=session.count))
        seen = work.TargetLook(identity=identity, rows=rows, different_count=len(different), different=different[:1000])
        return {"look": seen}


def main():
    parser = argparse.ArgumentParser()
    for name in ["scheduler", "registry", "token_file", "worker_id"]:
        parser.add_argument(name)
    parser.add_argument("--hold", action="store_true")
    parser.add_argument("--rows", action="store_true")
    parser.add_argument("--pool", default="")
    parser.add_argument("--tasks", type=int, default=0)
    args = parser.parse_args()
    worker = Worker(args)
    worker.register()
    print("registered", flush=True)
    done = 0
    while not args.tasks or done < args.tasks:
        lease = worker.lease()
        if lease is None:
            continue
        print("leased", lease.task.name, flush=True)
        while args.hold:
            time.sleep(60)
        try:
            if worker.do(lease):
                done += 1
                print("done", lease.task.name, flush=True)
        except Fenced:
            pass
        with worker.lock:
            worker.held.pop(lease.task.name, None)


main()
