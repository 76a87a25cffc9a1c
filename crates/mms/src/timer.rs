//! `mms timer`: creates, changes and triggers timers, which are jobs that recur, and lists their runs. Schedules are
//! parsed here, so that a wrong one fails on the command line; when a timer runs is the scheduler's decision.

use clap::{Args, Subcommand, ValueEnum};
use mms_proto::page;
use mms_proto::scheduler::v1::{
    self as pb, CreateTimerRequest, DeleteTimerRequest, GetTimerRequest, ListTimerRunsRequest, ListTimersRequest,
    MissedPolicy, OverlapPolicy, TimerState, TriggerTimerRequest, UpdateTimerRequest,
};
use mms_proto::types::v1::View;
use mms_schedule::Schedule;
use tonic::Status;

use crate::asked::Asked;
use crate::command::Talk;
use crate::{names, output};

/// Timers: jobs that recur.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mms timer create azure-sales --schedule \"daily 02:30 in Asia/Shanghai\" --schema orders
  mms timer list azure-sales
  mms timer trigger azure-sales/t1
  mms timer runs azure-sales/t1")]
pub struct Timer {
    #[command(flatten)]
    pub talk: Talk,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create a timer; it runs at its scheduled times from now on.
    #[command(after_help = "\
Examples:
  mms timer create azure-sales --schedule \"hourly :15\"
  mms timer create azure-sales --schedule \"cron 0 2 * * 1-5 in Europe/Berlin\" --overlap queue")]
    Create {
        /// The source's id or name.
        source: String,
        /// The timer's id. Default: a generated one.
        #[arg(long, default_value = "")]
        id: String,
        #[command(flatten)]
        when: When,
        #[command(flatten)]
        asked: Asked,
    },
    /// Change when a timer runs, and what happens to runs that are missed or overlap.
    #[command(after_help = "Example: mms timer update azure-sales/t1 --schedule \"daily 03:00\"")]
    Update {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        when: When,
    },
    /// List timers.
    #[command(after_help = "Example: mms timer list azure-sales --json | jq -r .nextTime")]
    List {
        /// The source's id or name. Default: all sources.
        #[arg(default_value = "-")]
        source: String,
    },
    /// Show one timer; with --json its job too.
    #[command(after_help = "Example: mms timer get azure-sales/t1 --json")]
    Get(Named),
    /// Pause a timer: it does not run by itself until it is resumed.
    #[command(after_help = "Example: mms timer pause azure-sales/t1")]
    Pause(Named),
    /// Resume a paused timer.
    #[command(after_help = "Example: mms timer resume azure-sales/t1")]
    Resume(Named),
    /// Run a timer now, even if it is paused.
    #[command(after_help = "Example: mms timer trigger azure-sales/t1")]
    Trigger(Named),
    /// List the runs of a timer, newest first: when each was due, its result, and the reason.
    #[command(after_help = "Example: mms timer runs azure-sales/t1 --json | jq -r .job")]
    Runs(Named),
    /// Delete a timer; jobs that it created are kept.
    #[command(after_help = "Example: mms timer delete azure-sales/t1")]
    Delete(Named),
}

#[derive(Debug, Args)]
struct When {
    /// "daily HH:MM", "hourly :MM" or "cron EXPRESSION", followed by "in ZONE"; without a zone, UTC.
    #[arg(long, value_name = "SCHEDULE", value_parser = schedule)]
    schedule: Option<Schedule>,
    /// What happens if the job of the previous run has not ended.
    #[arg(long, value_enum)]
    overlap: Option<Overlap>,
    /// What happens to runs that were missed while the scheduler was down.
    #[arg(long, value_enum)]
    missed: Option<Missed>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Overlap {
    /// The run is skipped.
    Skip,
    /// The run waits.
    Queue,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Missed {
    /// One run replaces all of them.
    RunOnce,
    /// They are skipped.
    Skip,
}

#[derive(Debug, Args)]
struct Named {
    /// The timer's name, SOURCE/TIMER or dataSources/SOURCE/timers/TIMER.
    #[arg(value_parser = |word: &str| Ok::<_, std::convert::Infallible>(names::timer(word)))]
    timer: String,
}

impl When {
    /// The fields that were given, and their paths.
    fn told(&self) -> (pb::Timer, Vec<String>) {
        let mut timer = pb::Timer::default();
        let mut paths = Vec::new();
        if let Some(schedule) = &self.schedule {
            timer.schedule = Some(schedule.message());
            paths.push("schedule".to_owned());
        }
        if let Some(overlap) = self.overlap {
            timer.overlap = match overlap {
                Overlap::Skip => OverlapPolicy::Skip,
                Overlap::Queue => OverlapPolicy::Queue,
            }
            .into();
            paths.push("overlap".to_owned());
        }
        if let Some(missed) = self.missed {
            timer.missed = match missed {
                Missed::RunOnce => MissedPolicy::RunOnce,
                Missed::Skip => MissedPolicy::Skip,
            }
            .into();
            paths.push("missed".to_owned());
        }
        (timer, paths)
    }
}

fn set_state(name: String, state: TimerState) -> UpdateTimerRequest {
    let timer = pb::Timer { state: state.into(), ..Default::default() };
    update(name, timer, vec!["state".to_owned()])
}

fn update(name: String, timer: pb::Timer, paths: Vec<String>) -> UpdateTimerRequest {
    UpdateTimerRequest { name, timer: Some(timer), update_mask: Some(prost_types::FieldMask { paths }) }
}

impl Timer {
    pub async fn run(self) -> anyhow::Result<bool> {
        let (clients, json) = (self.talk.remote.connect()?, self.talk.json);
        let mut client = clients.timers.clone();
        let one = match self.action {
            Action::Create { source, id, when, asked } => {
                anyhow::ensure!(
                    when.schedule.is_some(),
                    "a schedule is required: --schedule \"daily 02:30 in Asia/Shanghai\""
                );
                let parent = names::source(&source);
                let timer = pb::Timer { job_spec: Some(asked.spec(&parent)?), ..when.told().0 };
                let request = CreateTimerRequest { parent, timer_id: id, timer: Some(timer), ..Default::default() };
                client.create_timer(request).await?.into_inner().timer
            }
            Action::Update { named, when } => {
                let (timer, paths) = when.told();
                client.update_timer(update(named.timer, timer, paths)).await?.into_inner().timer
            }
            Action::Pause(Named { timer }) => {
                client.update_timer(set_state(timer, TimerState::Paused)).await?.into_inner().timer
            }
            Action::Resume(Named { timer }) => {
                client.update_timer(set_state(timer, TimerState::Active)).await?.into_inner().timer
            }
            Action::Get(Named { timer: name }) => {
                client.get_timer(GetTimerRequest { name, view: View::Full.into() }).await?.into_inner().timer
            }
            Action::List { source } => {
                let parent = names::source(&source);
                let mut request = ListTimersRequest { parent, page_size: 500, ..Default::default() };
                let timers = page::all(async |page_token| {
                    request.page_token = page_token;
                    let page = client.list_timers(request.clone()).await?.into_inner();
                    Ok::<_, Status>((page.timers, page.next_page_token))
                });
                show(&timers.await?, json);
                return Ok(true);
            }
            Action::Trigger(Named { timer: name }) => {
                let request = TriggerTimerRequest { name, ..Default::default() };
                let run = client.trigger_timer(request).await?.into_inner().run;
                let failed = run.as_ref().is_some_and(|run| run.state() == pb::TimerRunState::Failed);
                show_runs(&run.into_iter().collect::<Vec<_>>(), json);
                return Ok(!failed);
            }
            Action::Runs(Named { timer: parent }) => {
                let mut request = ListTimerRunsRequest { parent, page_size: 500, ..Default::default() };
                let runs = page::all(async |page_token| {
                    request.page_token = page_token;
                    let page = client.list_timer_runs(request.clone()).await?.into_inner();
                    Ok::<_, Status>((page.runs, page.next_page_token))
                });
                show_runs(&runs.await?, json);
                return Ok(true);
            }
            Action::Delete(Named { timer: name }) => {
                client.delete_timer(DeleteTimerRequest { name: name.clone(), ..Default::default() }).await?;
                output::note(&format!("{} is deleted", names::short(&name)));
                return Ok(true);
            }
        };
        show(&one.into_iter().collect::<Vec<_>>(), json);
        Ok(true)
    }
}

fn schedule(text: &str) -> Result<Schedule, String> {
    text.parse::<Schedule>().map_err(|error| error.to_string())
}

/// The schedule as it is written on the command line.
fn schedule_text(timer: &pb::Timer) -> String {
    let schedule = timer.schedule.as_ref().and_then(|schedule| Schedule::read(schedule, "schedule").ok());
    schedule.map(|schedule| schedule.to_string()).unwrap_or_default()
}

fn show(timers: &[pb::Timer], json: bool) {
    if json {
        return timers.iter().for_each(output::json);
    }
    output::table(
        ["name", "state", "schedule", "next", "overlap", "missed", "maker", "reason"],
        timers.iter().map(|timer| {
            [
                names::short(&timer.name),
                output::word(timer.state().as_str_name(), "TIMER_STATE_"),
                schedule_text(timer),
                output::time(timer.next_time.as_ref()),
                output::word(timer.overlap().as_str_name(), "OVERLAP_POLICY_"),
                output::word(timer.missed().as_str_name(), "MISSED_POLICY_"),
                timer.maker.clone(),
                timer.reason.clone().unwrap_or_default().message,
            ]
        }),
    );
}

fn show_runs(runs: &[pb::TimerRun], json: bool) {
    if json {
        return runs.iter().for_each(output::json);
    }
    output::table(
        ["name", "due", "began", "state", "job", "reason"],
        runs.iter().map(|run| {
            [
                names::short(&run.name),
                output::time(run.due_time.as_ref()),
                output::time(run.start_time.as_ref()),
                output::word(run.state().as_str_name(), "TIMER_RUN_STATE_"),
                names::short(&run.job),
                run.reason.clone().unwrap_or_default().message,
            ]
        }),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        timer: Timer,
    }

    #[test]
    fn a_schedule_that_never_comes_is_refused_on_the_command_line() {
        let parse = |schedule: &str| Cli::try_parse_from(["mms", "create", "lake", "--schedule", schedule]);
        let refused = parse("cron 0 0 30 2 * in UTC").expect_err("30 February").to_string();
        assert!(refused.contains("never comes"), "{refused}");
        let Action::Create { when, .. } = parse("daily 02:30 in Asia/Shanghai").expect("well").timer.action else {
            panic!("another action");
        };
        let (timer, paths) = when.told();
        assert_eq!(
            (schedule_text(&timer).as_str(), paths),
            ("daily 02:30 in Asia/Shanghai", vec!["schedule".to_owned()])
        );
    }
}
