// Runs a whole migration with a generated client: source, check, start, scan, a job that is reviewed and approved, watch; and
// shows one refused request with grpc-java's own package for its details.
//
// usage: Client REGISTRY CATALOG SCHEDULER DIR  < CREATE_DATA_SOURCE_REQUEST.json    (HOST:PORT each; DIR has the authority, the
// certificate and the token of the administrator, as deploy/make-secrets leaves them)

import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Iterator;
import java.util.concurrent.TimeUnit;

import com.google.protobuf.Any;
import com.google.protobuf.util.JsonFormat;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import io.grpc.Channel;
import io.grpc.ClientInterceptors;
import io.grpc.Context;
import io.grpc.Grpc;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.MetadataUtils;

import mms.catalog.v1.CreateScanRequest;
import mms.catalog.v1.Scan;
import mms.catalog.v1.ScanServiceGrpc;
import mms.catalog.v1.WatchScanRequest;
import mms.registry.v1.CheckDataSourceRequest;
import mms.registry.v1.CheckDataSourceResponse;
import mms.registry.v1.CreateDataSourceRequest;
import mms.registry.v1.DataSource;
import mms.registry.v1.DataSourceServiceGrpc;
import mms.registry.v1.DatabricksSource;
import mms.registry.v1.StartDataSourceRequest;
import mms.scheduler.v1.ApproveJobRequest;
import mms.scheduler.v1.CreateJobRequest;
import mms.scheduler.v1.Job;
import mms.scheduler.v1.JobServiceGrpc;
import mms.scheduler.v1.JobSpec;
import mms.scheduler.v1.JobState;
import mms.scheduler.v1.JobTable;
import mms.scheduler.v1.ListJobTablesRequest;
import mms.scheduler.v1.SchemasScope;
import mms.scheduler.v1.WatchJobRequest;
import mms.scheduler.v1.WatchJobResponse;

public final class Client {
    private final String[] args;

    private Client(String[] args) {
        this.args = args;
    }

    private Channel channel(String address) throws Exception {
        Path own = Path.of(args[3]);
        var credentials = TlsChannelCredentials.newBuilder()
            .trustManager(own.resolve("ca.crt").toFile())
            .keyManager(own.resolve("administrator.crt").toFile(), own.resolve("administrator.key").toFile())
            .build();
        ManagedChannel encrypted = Grpc.newChannelBuilder(address, credentials).build();
        var token = new Metadata();
        var key = Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);
        token.put(key, "Bearer " + Files.readString(own.resolve("token")).strip());
        return ClientInterceptors.intercept(encrypted, MetadataUtils.newAttachHeadersInterceptor(token));
    }

    /** An error as a caller sees it: code, ErrorInfo, every field violation. */
    private static void refused(DataSourceServiceGrpc.DataSourceServiceBlockingStub sources) throws Exception {
        var databricks = DatabricksSource.newBuilder().setWorkspaceUrl("ftp://nowhere");
        var source = DataSource.newBuilder().setDatabricks(databricks);
        try {
            sources.createDataSource(CreateDataSourceRequest.newBuilder().setDataSourceId("Not An Id").setDataSource(source).build());
        } catch (StatusRuntimeException refusal) {
            System.out.println("refused " + refusal.getStatus().getCode());
            for (Any detail : StatusProto.fromThrowable(refusal).getDetailsList()) {
                if (detail.is(ErrorInfo.class)) {
                    var info = detail.unpack(ErrorInfo.class);
                    System.out.println("reason " + info.getDomain() + " " + info.getReason());
                } else if (detail.is(BadRequest.class)) {
                    for (var violation : detail.unpack(BadRequest.class).getFieldViolationsList()) {
                        System.out.println("violation " + violation.getField());
                    }
                }
            }
            return;
        }
        throw new IllegalStateException("an invalid request was taken");
    }

    private void walk() throws Exception {
        var sources = DataSourceServiceGrpc.newBlockingStub(channel(args[0])).withDeadlineAfter(2, TimeUnit.MINUTES);
        var scans = ScanServiceGrpc.newBlockingStub(channel(args[1])).withDeadlineAfter(2, TimeUnit.MINUTES);
        var jobs = JobServiceGrpc.newBlockingStub(channel(args[2])).withDeadlineAfter(2, TimeUnit.MINUTES);
        refused(sources);

        var request = CreateDataSourceRequest.newBuilder();
        JsonFormat.parser().merge(new InputStreamReader(System.in, StandardCharsets.UTF_8), request);
        DataSource source = sources.createDataSource(request.build()).getDataSource();
        System.out.println("created " + source.getName());
        Iterator<CheckDataSourceResponse> steps =
            sources.checkDataSource(CheckDataSourceRequest.newBuilder().setName(source.getName()).build());
        while (steps.hasNext()) {
            CheckDataSourceResponse answer = steps.next();
            if (answer.hasStep()) {
                System.out.println("check " + answer.getStep().getId() + " " + answer.getStep().getState());
            }
        }
        sources.startDataSource(StartDataSourceRequest.newBuilder().setName(source.getName()).build());

        Scan scan = scans.createScan(CreateScanRequest.newBuilder().setParent(source.getName()).build()).getScan();
        var progress = scans.watchScan(WatchScanRequest.newBuilder().setName(scan.getName()).build());
        while (progress.hasNext()) {
            scan = progress.next().getScan();
        }
        System.out.println("scan " + scan.getState() + " " + scan.getProgress().getTablesRead());

        var spec = JobSpec.newBuilder().setSchemas(SchemasScope.getDefaultInstance());
        var create = CreateJobRequest.newBuilder().setParent(source.getName()).setReview(true).setJob(Job.newBuilder().setSpec(spec));
        String name = jobs.createJob(create.build()).getJob().getName();
        Job job = watch(jobs, name, true);
        System.out.println("planned " + job.getState());
        var tables = ListJobTablesRequest.newBuilder().setParent(name).setPageSize(100).build();
        for (JobTable table : jobs.listJobTables(tables).getJobTablesList()) {
            System.out.println("review " + table.getTable() + " " + table.getDecision());
        }
        jobs.approveJob(ApproveJobRequest.newBuilder().setName(name).setEtag(job.getEtag()).build());
        job = watch(jobs, name, false);
        System.out.println("job " + job.getState() + " " + job.getProgress().getRowsDone());
        for (JobTable table : jobs.listJobTables(tables).getJobTablesList()) {
            System.out.println("table " + table.getTable() + " " + table.getSourceRows() + " " + table.getTargetRows());
        }
    }

    /** The job at its end, or once it is planned. A stream that is not read to its end is cancelled with its context. */
    private static Job watch(JobServiceGrpc.JobServiceBlockingStub jobs, String name, boolean untilPlanned) throws Exception {
        var context = Context.current().withCancellation();
        try {
            return context.call(() -> {
                Iterator<WatchJobResponse> stream = jobs.watchJob(WatchJobRequest.newBuilder().setName(name).build());
                Job job = stream.next().getJob();
                while (stream.hasNext() && !(untilPlanned && job.getState() != JobState.JOB_STATE_PLANNING)) {
                    job = stream.next().getJob();
                }
                return job;
            });
        } finally {
            context.cancel(null);
        }
    }

    public static void main(String[] args) throws Exception {
        new Client(args).walk();
        // Channels keep threads of their own.
        System.exit(0);
    }
}
