//! The streams of CheckDataSource and CheckNetworkConnection: each step as it runs, then the report.

use std::time::{Duration, Instant};

use mms_http::{HttpClient, Method, Url};
use mms_proto::registry::v1 as pb;
use mms_proto::time::{duration, timestamp};
use mms_proto::{ApiError, FieldViolation, Role};
use mms_server::Caller;
use pb::check_data_source_request::Target;
use pb::check_data_source_response::Event;
use pb::check_network_connection_response::Event as NetworkEvent;
use tokio::sync::mpsc;
use tonic::Status;

use super::change::refuse;
use super::{Answers, Api, check, id};
use crate::access;
use crate::check::Steps;
use crate::convert::report_from;
use crate::error::{RegistryError, Result};
use crate::far;
use crate::reference::is_literal;
use crate::secrets::Secrets;
use crate::source;

/// Steps that are buffered for a slow caller.
const QUEUE: usize = 16;
/// Longest attempt to connect to one URL.
const URL_LIMIT: Duration = Duration::from_secs(20);

impl Api {
    pub(super) async fn check_stream(
        &self,
        caller: Caller,
        request: pb::CheckDataSourceRequest,
    ) -> Result<Answers<pb::CheckDataSourceResponse>, Status> {
        let (stored, access) = match &request.target {
            None => return Err(ApiError::invalid_field("target", "is required: set one of name, data_source").into()),
            Some(Target::Name(name)) => {
                check(&request)?;
                let id = id(name);
                self.core.store.read(|read| source::living(read, &id))?;
                let access = access::stored(&self.core, &id).await;
                (Some(id), access)
            }
            Some(Target::DataSource(given)) => {
                let (public, secrets) = self.new_source(&request, given)?;
                may_refer(&caller, &secrets)?;
                let access = access::unsaved(&self.core, &crate::secrets::join(&public, &secrets)).await;
                if let Err(RegistryError::NotFound(_)) = access {
                    access?;
                    return Err(RegistryError::CutOff.into());
                }
                (None, access)
            }
        };
        let (core, now_ms) = (self.core.clone(), crate::now_ms);
        Ok(mms_server::stream(QUEUE, move |send| async move {
            let (listener, mut told) = mpsc::channel(QUEUE);
            let forward = send.clone();
            // Ends when the check drops its sender, or when the caller disconnects; the check's next step then notices that.
            let forwarding = tokio::spawn(async move {
                while let Some(step) = told.recv().await {
                    let answer = pb::CheckDataSourceResponse { event: Some(Event::Step(step)) };
                    if forward.send(Ok(answer)).await.is_err() {
                        return;
                    }
                }
            });
            let steps = Steps::new(listener);
            let checked = crate::check::run(access, request.start_cluster, steps, now_ms, &core.traffic);
            let checked = Box::pin(checked).await;
            // Send all steps before the report.
            drop(forwarding.await);
            let Ok(report) = checked else { return };
            if let Some(id) = stored {
                let record = report_from(&report);
                let kept = core.store.commit(move |tx| source::set_report(tx, &id, record)).await;
                // A data source that was deleted meanwhile keeps no report.
                if let Err(error) = kept.or_else(|error| match error {
                    RegistryError::NotFound(_) => Ok(()),
                    error => Err(error),
                }) {
                    return drop(send.send(Err(error.into())).await);
                }
            }
            let answer = pb::CheckDataSourceResponse { event: Some(Event::Report(report)) };
            drop(send.send(Ok(answer)).await);
        }))
    }

    pub(super) async fn check_network_stream(
        &self,
        request: pb::CheckNetworkConnectionRequest,
    ) -> Result<Answers<pb::CheckNetworkConnectionResponse>, Status> {
        check(&request)?;
        let (mut urls, mut found) = (Vec::new(), Vec::new());
        for (at, text) in request.urls.iter().enumerate() {
            match Url::parse(text) {
                Ok(url) if matches!(url.scheme(), "http" | "https") => urls.push(url),
                _ => found.push(FieldViolation::new(format!("urls[{at}]"), "is not an http(s) URL")),
            }
        }
        refuse(found)?;
        let network = access::network(&self.core, &id(&request.name)).await?;
        let http = far::http(Some(&network), &self.core.traffic).map_err(|error| RegistryError::EndFailed {
            end: crate::error::End::Source,
            step: pb::CheckStepId::Url,
            message: error.to_string(),
        })?;
        Ok(mms_server::stream(QUEUE, move |send| async move {
            let mut report = pb::CheckReport { state: pb::CheckState::Ok as i32, ..pb::CheckReport::default() };
            for url in urls {
                let step = connect(&http, url).await;
                if step.state == pb::CheckState::Failed as i32 {
                    report.state = step.state;
                }
                report.steps.push(step.clone());
                let answer = pb::CheckNetworkConnectionResponse { event: Some(NetworkEvent::Step(step)) };
                if send.send(Ok(answer)).await.is_err() {
                    return;
                }
            }
            report.end_time = timestamp(crate::now_ms());
            let answer = pb::CheckNetworkConnectionResponse { event: Some(NetworkEvent::Report(report)) };
            drop(send.send(Ok(answer)).await);
        }))
    }
}

/// A reference in a configuration that is not stored would send the secret it refers to wherever the caller says. So it needs the
/// role of those who may store one; secrets that the caller sends are the caller's own.
fn may_refer(caller: &Caller, secrets: &Secrets) -> Result<(), ApiError> {
    match secrets.iter().find(|(_, secret)| !is_literal(secret)) {
        None => Ok(()),
        Some((path, _)) => caller.needs(Role::Editor, format!("a reference in a check (data_source.{path})")),
    }
}

/// Sends HEAD, so that no content is transferred. Any status shows that the connection works.
async fn connect(http: &HttpClient, url: Url) -> pb::CheckStep {
    let begun = Instant::now();
    let shown = mms_http::redact::redact_url(&url);
    let (state, message, remedy) = match http.request(Method::HEAD, url).timeout(URL_LIMIT).send().await {
        Ok(answer) => (pb::CheckState::Ok, format!("{shown} answers, with status {}", answer.status()), String::new()),
        Err(error) => {
            let remedy = "check the address, the proxy, the certificate authorities and the allowed hosts";
            (pb::CheckState::Failed, error.to_string(), remedy.to_owned())
        }
    };
    pb::CheckStep {
        id: pb::CheckStepId::Url as i32,
        subject: shown,
        state: state as i32,
        message,
        remedy,
        duration: duration(begun.elapsed()),
    }
}
