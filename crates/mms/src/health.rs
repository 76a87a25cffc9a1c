//! `mms health`: checks with gRPC's health protocol whether services are serving, for people and for probes of
//! containers.

use clap::Args;
use futures::future::join_all;
use mms_server::Client;
use serde::Serialize;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::command::Talk;
use crate::output;

/// Check that the services are serving; fails unless all of them are.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mms health
  mms health --data-dir ./mms-data
  mms health https://localhost:7401 --ca-file ca.crt --cert-file registry.crt --key-file registry.key")]
pub struct Health {
    /// URL of a service; several can be given. Default: all services of the suite that the options name.
    #[arg(value_name = "URL")]
    urls: Vec<String>,
    #[command(flatten)]
    pub talk: Talk,
}

/// What a service answered.
#[derive(Debug, Serialize)]
struct Answer {
    service: &'static str,
    url: String,
    state: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    error: String,
}

impl Health {
    pub async fn run(self) -> anyhow::Result<bool> {
        let channels = self.talk.remote.health_channels(&self.urls)?;
        let answers = join_all(channels.into_iter().map(|(service, channel)| ask(service, channel))).await;
        if self.talk.json {
            for answer in &answers {
                output::line(&serde_json::to_string(answer)?);
            }
        } else {
            output::table(
                ["service", "state", "url"],
                answers.iter().map(|answer| [answer.service.to_owned(), answer.state.to_owned(), answer.url.clone()]),
            );
            for answer in answers.iter().filter(|answer| !answer.error.is_empty()) {
                output::text(&format!("\n{}\n  {}", answer.url, answer.error));
            }
        }
        Ok(answers.iter().all(|answer| answer.state == "SERVING"))
    }
}

async fn ask(service: &'static str, channel: Client) -> Answer {
    let url = channel.endpoint().to_owned();
    let answer = |state, error| Answer { service, url, state, error };
    match HealthClient::new(channel).check(HealthCheckRequest::default()).await {
        Ok(told) if told.get_ref().status() == ServingStatus::Serving => answer("SERVING", String::new()),
        Ok(_) => answer("NOT_SERVING", String::new()),
        Err(status) => answer("UNREACHABLE", status.message().to_owned()),
    }
}
