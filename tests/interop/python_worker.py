"""A transfer worker in Python: leases SCHEMA-only tasks and does them with PyODPS. It speaks nothing but the contract.

usage: python_worker.py SCHEDULER REGISTRY TOKEN_FILE WORKER_ID [--hold] [--tasks N]

--hold    prints the first lease and then only keeps it alive, until it is killed
--tasks   ends after so many tasks
"""

import argparse
import threading
import time
import uuid

import grpc
from google.protobuf import duration_pb2
from odps import ODPS

import mms_stubs

mms_stubs.generate()
from mms.registry.v1 import session_service_pb2 as sessions
from mms.registry.v1 import session_service_pb2_grpc as sessions_grpc
from mms.scheduler.v1 import job_pb2 as job
from mms.scheduler.v1 import worker_service_pb2 as work
from mms.scheduler.v1 import worker_service_pb2_grpc as work_grpc


class Worker:
    def __init__(self, args):
        self.token = [("authorization", "Bearer " + open(args.token_file).read().strip())]
        self.scheduler = work_grpc.WorkerServiceStub(grpc.insecure_channel(args.scheduler))
        self.registry = sessions_grpc.SessionServiceStub(grpc.insecure_channel(args.registry))
        self.id, self.instance, self.held = args.worker_id, str(uuid.uuid4()), {}
        self.lock = threading.Lock()

    def call(self, method, request):
        """Calls through an outage: every call of the contract may be repeated."""
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
        abilities = work.Capabilities(steps=[job.TASK_STEP_SCHEMA], engine=job.ENGINE_BUILT_IN)
        request = work.RegisterWorkerRequest(
            worker_id=self.id, instance=self.instance, slots=1, contract_version=1, capabilities=abilities
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
        return answer.answers[0].accepted

    def project(self, task):
        request = sessions.OpenSessionRequest(data_source=task.data_source, holder=f"workers/{self.id}")
        target = self.call(self.registry.OpenSession, request).session.data_source.max_compute
        key = target.access_key
        return ODPS(key.access_key_id, key.access_key_secret, target.default_project, endpoint=target.endpoint)

    def make(self, task):
        """Makes the table and its partitions. Every statement can be repeated."""
        odps, table = self.project(task), task.target.table
        hints = {"odps.namespace.schema": "true", "odps.sql.type.system.odps2": "true", **task.sql_parameters}
        if task.makes_table:
            for sql in filter(None, [task.target.create_schema_sql, task.target.create_sql]):
                odps.execute_sql(sql, hints=hints)
        for unit in task.units:
            if unit.partition:
                spec = ",".join(f"{p.column}='{p.value}'" for p in unit.partition)
                odps.get_table(table.table, schema=table.schema).create_partition(spec, if_not_exists=True)
        found = [c.name.lower() for c in odps.get_table(table.table, schema=table.schema).table_schema.columns]
        planned = [c.target_column.lower() for c in task.target.columns]
        if found != planned:
            raise ValueError(f"{table.table} has columns {found}, the plan {planned}")

    def do(self, lease):
        step = job.TASK_STEP_SCHEMA
        if not self.report(lease, step_begun=work.StepBegun(step=step)):
            return False
        try:
            self.make(lease.task)
        except Exception as error:  # whatever it is, the scheduler decides what becomes of the task
            reason = job.JobReason(reason="TARGET_CONFLICT" if isinstance(error, ValueError) else "TARGET_FAILED", message=str(error))
            self.report(lease, failed=work.AttemptFailed(step=step, reason=reason))
            return False
        return self.report(lease, step_done=work.StepDone(step=step))


def main():
    parser = argparse.ArgumentParser()
    for name in ["scheduler", "registry", "token_file", "worker_id"]:
        parser.add_argument(name)
    parser.add_argument("--hold", action="store_true")
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
        if worker.do(lease):
            done += 1
            print("done", lease.task.name, flush=True)
        with worker.lock:
            worker.held.pop(lease.task.name, None)


main()
