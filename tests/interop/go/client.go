// Runs a whole migration with a client that buf generated: source, check, start, scan, a job that is reviewed and approved,
// watch; and shows one refused request with grpc-go's own package for its details.
//
// usage: client REGISTRY CATALOG SCHEDULER DIR  < CREATE_DATA_SOURCE_REQUEST.json    (HOST:PORT each; DIR has the authority, the
// certificate and the token of the administrator, as deploy/make-secrets leaves them)
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	catalog "mms/proto/mms/catalog/v1"
	registry "mms/proto/mms/registry/v1"
	scheduler "mms/proto/mms/scheduler/v1"
)

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

// The token of each call.
type bearer string

func (token bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(token)}, nil
}

func (bearer) RequireTransportSecurity() bool { return true }

func channel(address, folder string) *grpc.ClientConn {
	own := func(name string) string { return filepath.Join(folder, name) }
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(must(os.ReadFile(own("ca.crt"))))
	certificate := must(tls.LoadX509KeyPair(own("administrator.crt"), own("administrator.key")))
	shown := credentials.NewTLS(&tls.Config{RootCAs: authorities, Certificates: []tls.Certificate{certificate}})
	token := bearer(strings.TrimSpace(string(must(os.ReadFile(own("token"))))))
	return must(grpc.NewClient(address, grpc.WithTransportCredentials(shown), grpc.WithPerRPCCredentials(token)))
}

// The last message of a stream.
func last[T any](stream grpc.ServerStreamingClient[T], each func(*T)) {
	for {
		answer, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return
		}
		each(must(answer, err))
	}
}

// An error as a caller sees it: code, ErrorInfo, every field violation.
func refused(ctx context.Context, sources registry.DataSourceServiceClient) {
	source := &registry.DataSource{Source: &registry.DataSource_Databricks{
		Databricks: &registry.DatabricksSource{WorkspaceUrl: "ftp://nowhere"},
	}}
	_, err := sources.CreateDataSource(ctx, &registry.CreateDataSourceRequest{DataSourceId: "Not An Id", DataSource: source})
	if err == nil {
		log.Fatal("an invalid request was taken")
	}
	told := status.Convert(err)
	fmt.Println("refused", told.Code())
	for _, detail := range told.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			fmt.Println("reason", detail.Domain, detail.Reason)
		case *errdetails.BadRequest:
			for _, violation := range detail.FieldViolations {
				fmt.Println("violation", violation.Field)
			}
		}
	}
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	sources := registry.NewDataSourceServiceClient(channel(os.Args[1], os.Args[4]))
	scans := catalog.NewScanServiceClient(channel(os.Args[2], os.Args[4]))
	jobs := scheduler.NewJobServiceClient(channel(os.Args[3], os.Args[4]))
	refused(ctx, sources)

	request := &registry.CreateDataSourceRequest{}
	if err := protojson.Unmarshal(must(io.ReadAll(os.Stdin)), request); err != nil {
		log.Fatal(err)
	}
	source := must(sources.CreateDataSource(ctx, request)).DataSource
	fmt.Println("created", source.Name)
	check := &registry.CheckDataSourceRequest{Target: &registry.CheckDataSourceRequest_Name{Name: source.Name}}
	last(must(sources.CheckDataSource(ctx, check)), func(answer *registry.CheckDataSourceResponse) {
		if step := answer.GetStep(); step != nil {
			fmt.Println("check", step.Id, step.State)
		}
	})
	must(sources.StartDataSource(ctx, &registry.StartDataSourceRequest{Name: source.Name}))

	scan := must(scans.CreateScan(ctx, &catalog.CreateScanRequest{Parent: source.Name})).Scan
	last(must(scans.WatchScan(ctx, &catalog.WatchScanRequest{Name: scan.Name})), func(answer *catalog.WatchScanResponse) {
		scan = answer.Scan
	})
	fmt.Println("scan", scan.State, scan.Progress.TablesRead)

	spec := &scheduler.JobSpec{Scope: &scheduler.JobSpec_Schemas{Schemas: &scheduler.SchemasScope{}}}
	create := &scheduler.CreateJobRequest{Parent: source.Name, Job: &scheduler.Job{Spec: spec}, Review: true}
	job := must(jobs.CreateJob(ctx, create)).Job
	watch, stop := context.WithCancel(ctx)
	planned := must(jobs.WatchJob(watch, &scheduler.WatchJobRequest{Name: job.Name}))
	for job.State == scheduler.JobState_JOB_STATE_PLANNING {
		job = must(planned.Recv()).Job
	}
	stop()
	fmt.Println("planned", job.State)
	review := must(jobs.ListJobTables(ctx, &scheduler.ListJobTablesRequest{Parent: job.Name, PageSize: 100}))
	for _, table := range review.JobTables {
		fmt.Println("review", table.Table, table.Decision)
	}
	must(jobs.ApproveJob(ctx, &scheduler.ApproveJobRequest{Name: job.Name, Etag: job.Etag}))
	last(must(jobs.WatchJob(ctx, &scheduler.WatchJobRequest{Name: job.Name})), func(answer *scheduler.WatchJobResponse) {
		job = answer.Job
	})
	fmt.Println("job", job.State, job.Progress.RowsDone)
	tables := must(jobs.ListJobTables(ctx, &scheduler.ListJobTablesRequest{Parent: job.Name, PageSize: 100}))
	for _, table := range tables.JobTables {
		fmt.Println("table", table.Table, table.GetSourceRows(), table.GetTargetRows())
	}
}
