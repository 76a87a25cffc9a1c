//! Streams that follow a job or a task. A position is the store revision up to which the caller has seen all durable
//! changes; for a job, possibly with a place within the next revision.

use std::time::Duration;

use mms_proto::ApiError;
use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1::View;
use mms_server::stream::Answers;
use mms_store::{Read, Scope, Store};
use tonic::Status;

use super::Api;
use crate::error::{Result, SchedulerError};
use crate::job::stored;
use crate::key::{ChangedKey, JobKey, TableKey, TaskKey};
use crate::record::{Job, JobState};
use crate::store::{CHANGED_TABLES, JOB_TABLES, TASKS};

pub type JobStream = Answers<pb::WatchJobResponse>;
pub type TaskStream = Answers<pb::WatchTaskResponse>;

/// Least time between two answers.
const PACE: Duration = Duration::from_millis(250);
/// Most tables in one answer; the store bounds their bytes too.
const TABLES_AT_ONCE: usize = 500;
/// Answers that wait for a slow caller. It gets fewer answers, never stale ones.
const QUEUE: usize = 1;

fn revision_at(store: &Store, position: &str) -> Result<u64, Status> {
    let fault = || ApiError::invalid_field("position", "is not a position of this stream").into();
    store.revision_at(position).ok_or_else(fault)
}

/// How far a caller has seen the changes of a job's tables: all up to a revision and, if many changed in one commit,
/// some of the next revision.
#[derive(Clone, Default)]
struct Seen {
    revision: u64,
    within: Option<(u64, String, String)>,
}

impl Seen {
    fn parse(store: &Store, text: &str) -> Result<Self, Status> {
        let mut parts = text.split('\n');
        let revision = revision_at(store, parts.next().unwrap_or_default())?;
        let within = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (None, ..) => None,
            // A position of another incarnation: everything is sent again.
            (Some(of), Some(schema), Some(table), None) => match revision_at(store, of)? {
                0 => None,
                of => Some((of, schema.to_owned(), table.to_owned())),
            },
            _ => return Err(ApiError::invalid_field("position", "is not a position of this stream").into()),
        };
        Ok(Self { revision, within })
    }

    fn text(&self, store: &Store) -> String {
        let revision = store.position(self.revision);
        match &self.within {
            None => revision,
            Some((of, schema, table)) => format!("{revision}\n{}\n{schema}\n{table}", store.position(*of)),
        }
    }
}

/// One read of a job.
struct Look {
    job: Job,
    tables: Vec<pb::JobTable>,
    seen: Seen,
    /// More tables have changed than one answer may hold.
    more: bool,
}

impl Api {
    pub(super) fn watch_job_stream(&self, key: JobKey, from: &str, view: View) -> Result<JobStream, Status> {
        let (mut seen, api) = (Seen::parse(&self.scheduler.store, from)?, self.clone());
        Ok(mms_server::stream(QUEUE, move |send| async move {
            let mut last = None;
            loop {
                let look = match api.look_at_job(&key, &seen, view).await {
                    Ok(found) => found,
                    Err(error) => return drop(send.send(Err(error.into())).await),
                };
                let job = Some(api.show(&key, &look.job, view));
                let ends = watch_ends(&look.job) && !look.more;
                seen = look.seen;
                // The progress of running tasks changes without a revision.
                if last != job || !look.tables.is_empty() {
                    last.clone_from(&job);
                    let answer =
                        pb::WatchJobResponse { job, tables: look.tables, position: seen.text(&api.scheduler.store) };
                    if send.send(Ok(answer)).await.is_err() {
                        return;
                    }
                }
                if ends {
                    return;
                }
                if !look.more {
                    tokio::select! {
                        () = send.closed() => return,
                        () = tokio::time::sleep(PACE) => {}
                    }
                }
            }
        }))
    }

    /// Reads the job and as many changed tables as one answer may hold, in the order of their changes.
    async fn look_at_job(&self, key: &JobKey, seen: &Seen, view: View) -> Result<Look> {
        let own = |revision: u64| ChangedKey { job: key.clone(), revision };
        let scope = Scope::range(own(seen.revision.saturating_add(1))..=own(u64::MAX));
        let after = seen.within.clone().map(|(of, schema, table)| {
            let table = TableKey { job: key.clone(), schema, table };
            (own(of), table)
        });
        let look = self.scheduler.store.read_durable(|read| {
            let job = stored::find(read, key)?;
            let page = read.index_page(&JOB_TABLES, &CHANGED_TABLES, &scope, after.as_ref(), TABLES_AT_ONCE)?;
            Ok::<_, SchedulerError>((job, page, read.revision()))
        });
        let (job, page, revision) = look.await?;
        let tables =
            page.items.iter().map(|(key, table)| self.show_table(&job, key, table, view)).collect::<Result<_>>()?;
        let more = page.next.is_some();
        let seen = match page.next {
            None => Seen { revision, within: None },
            Some((ChangedKey { revision: of, .. }, table)) => {
                Seen { revision: of - 1, within: Some((of, table.schema, table.table)) }
            }
        };
        Ok(Look { job, tables, seen, more })
    }

    pub(super) fn watch_task_stream(&self, key: TaskKey, from: &str, view: View) -> Result<TaskStream, Status> {
        let (seen, api) = (revision_at(&self.scheduler.store, from)?, self.clone());
        Ok(mms_server::stream(QUEUE, move |send| async move {
            let mut last = None;
            loop {
                let (task, revision, ends) = match api.look_at_task(&key, view).await {
                    Ok(found) => found,
                    Err(error) => return drop(send.send(Err(error.into())).await),
                };
                let fresh = last.is_some() || revision > seen || ends;
                if fresh && last.as_ref() != Some(&task) {
                    last = Some(task.clone());
                    let answer =
                        pb::WatchTaskResponse { task: Some(task), position: api.scheduler.store.position(revision) };
                    if send.send(Ok(answer)).await.is_err() {
                        return;
                    }
                }
                if ends {
                    return;
                }
                tokio::select! {
                    () = send.closed() => return,
                    () = tokio::time::sleep(PACE) => {}
                }
            }
        }))
    }

    async fn look_at_task(&self, key: &TaskKey, view: View) -> Result<(pb::Task, u64, bool)> {
        let record = self.scheduler.store.read_durable(|read| read.get(&TASKS, key)).await?;
        let revision = record.map_or(0, |task| task.revision);
        let task = self.task(key, view)?;
        let ended = task_ends(task.state());
        Ok((task, revision, ended))
    }
}

/// Whether nothing more happens to a job until a caller acts.
fn watch_ends(job: &Job) -> bool {
    job.state.is_ended() || job.state == JobState::PendingReview
}

/// Whether nothing more happens to a task in this state until a caller acts.
fn task_ends(state: pb::TaskState) -> bool {
    use pb::TaskState as S;
    let failed = matches!(state, S::SchemaFailed | S::DataFailed | S::VerificationFailed | S::LookFailed);
    failed || matches!(state, S::Done | S::Stopped)
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use mms_store::Store;

    use super::*;
    use crate::fixture::{job_key, scheduler};
    use crate::job::calls;
    use crate::job::change::{self, Cursor};
    use crate::plan::tasks;
    use crate::record::{Asked, TablePlan};
    use crate::store::schema;

    const TABLES: usize = 1_234;

    /// A stopped job of many tables, all listed in one commit.
    async fn large() -> Api {
        let store = Store::in_memory(schema()).expect("a store of memory");
        let scheduler = scheduler(store, || 1_000);
        let at = scheduler.moment();
        let seed = move |tx: &mut mms_store::Tx<'_>| {
            let job = Job::new(Asked { uid: "j".to_owned(), ..Asked::default() });
            calls::create(tx, &job_key(), job)?;
            let tables = (0..TABLES).map(|number| ("s".to_owned(), format!("t{number}"), TablePlan::default()));
            tasks::list(tx, &at, &job_key(), "j", tables.collect())?;
            calls::stop(tx, &at, &job_key(), None)?;
            change::step(tx, &at, &job_key(), Cursor::default())
        };
        scheduler.store.commit(seed).await.expect("seeded");
        Api::new(scheduler, tokio_util::sync::CancellationToken::new())
    }

    async fn answers(api: &Api, from: &str) -> Vec<pb::WatchJobResponse> {
        let stream = api.watch_job_stream(job_key(), from, View::Basic).expect("a position");
        stream.map(|answer| answer.expect("an answer")).collect().await
    }

    #[test]
    fn a_watch_of_a_task_ends_with_every_state_that_only_a_caller_leaves() {
        let states = (0..64).filter_map(|number| pb::TaskState::try_from(number).ok());
        let (failed, others): (Vec<_>, Vec<_>) = states.partition(|state| state.as_str_name().ends_with("_FAILED"));
        assert!(failed.len() >= 4 && failed.into_iter().all(task_ends));
        let ending: Vec<_> = others.into_iter().filter(|state| task_ends(*state)).collect();
        assert_eq!(ending, [pb::TaskState::Done, pb::TaskState::Stopped]);
    }

    #[tokio::test]
    async fn many_tables_come_in_several_answers_each_once_also_when_resumed() {
        let api = large().await;
        let all = answers(&api, "").await;
        assert!(all.len() > 1 && all.iter().all(|answer| answer.tables.len() <= TABLES_AT_ONCE));
        let names = |answers: &[pb::WatchJobResponse]| {
            let names = answers.iter().flat_map(|answer| &answer.tables).map(|table| table.table.clone());
            names.collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!((names(&all).len(), all.iter().map(|one| one.tables.len()).sum::<usize>()), (TABLES, TABLES));
        let rest = answers(&api, &all[0].position).await;
        assert_eq!(names(&rest), names(&all[1..]));
        let last = answers(&api, &all[all.len() - 1].position).await;
        assert!(last.len() == 1 && last[0].tables.is_empty(), "the job alone");
    }

    #[test]
    fn a_position_comes_back_and_any_other_text_is_refused() {
        let store = Store::in_memory(schema()).expect("a store of memory");
        let (six, seven) = (store.position(6), store.position(7));
        for text in [store.position(0), seven.clone(), format!("{six}\n{seven}\ns\nt")] {
            assert_eq!(Seen::parse(&store, &text).expect("a position").text(&store), text);
        }
        let wrong =
            ["x".to_owned(), format!("{six}\n{seven}"), format!("{six}\n{seven}\ns\nt\nu"), format!("{six}\nx\ns\nt")];
        for text in wrong {
            assert!(Seen::parse(&store, &text).is_err(), "{text:?}");
        }
    }
}
