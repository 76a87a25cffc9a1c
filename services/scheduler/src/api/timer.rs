//! TimerService. Nothing of it is done yet.

use mms_proto::ApiError;
use mms_proto::scheduler::v1 as pb;
use pb::timer_service_server::TimerService;
use tonic::{Request, Response, Status};

use super::Api;

macro_rules! not_yet {
    ($($method:ident($request:ident) -> $response:ident, $name:literal;)+) => {
        #[tonic::async_trait]
        impl TimerService for Api {
            $(async fn $method(&self, _: Request<pb::$request>) -> Result<Response<pb::$response>, Status> {
                Err(ApiError::not_yet($name).into())
            })+
        }
    };
}

not_yet! {
    create_timer(CreateTimerRequest) -> CreateTimerResponse, "CreateTimer";
    get_timer(GetTimerRequest) -> GetTimerResponse, "GetTimer";
    list_timers(ListTimersRequest) -> ListTimersResponse, "ListTimers";
    update_timer(UpdateTimerRequest) -> UpdateTimerResponse, "UpdateTimer";
    delete_timer(DeleteTimerRequest) -> DeleteTimerResponse, "DeleteTimer";
    trigger_timer(TriggerTimerRequest) -> TriggerTimerResponse, "TriggerTimer";
    get_timer_run(GetTimerRunRequest) -> GetTimerRunResponse, "GetTimerRun";
    list_timer_runs(ListTimerRunsRequest) -> ListTimerRunsResponse, "ListTimerRuns";
}
