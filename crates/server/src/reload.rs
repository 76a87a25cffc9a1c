//! Reads certificates, keys and tokens again when their files change, and on SIGHUP, which does not end the process. A
//! file that is wrong is reported and the previous content stays in use; connections and calls go on undisturbed.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::client::Channels;
use crate::config::FrameConfig;
use crate::health::{self, Health};
use crate::rights::Rights;
use crate::tls::{Certificates, WARN_DAYS};
use crate::tokens::{SuiteToken, read_token};
use crate::{BoxError, supervise::chain};

/// How often the files are checked.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often a certificate that expires soon is reported again.
const WARN_EVERY: Duration = Duration::from_hours(12);

/// Modification time and size of each file; a change of either means that the file is read again.
pub(crate) type Stamps = Vec<Option<(SystemTime, u64)>>;

pub(crate) fn stamps<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> Stamps {
    let stamp = |file: &PathBuf| {
        let found = std::fs::metadata(file).ok()?;
        Some((found.modified().ok()?, found.len()))
    };
    files.into_iter().map(stamp).collect()
}

/// The files to watch, and where their content is used.
pub(crate) struct Reload {
    files: Vec<PathBuf>,
    certificates: Option<Arc<Certificates>>,
    rights: Arc<Rights>,
    /// The token with which this process calls others, and its file.
    suite: Option<(SuiteToken, PathBuf)>,
    channels: Channels,
}

impl Reload {
    pub fn new(
        frame: &FrameConfig,
        certificates: Option<Arc<Certificates>>,
        rights: Arc<Rights>,
        suite: Option<SuiteToken>,
        channels: Channels,
    ) -> Self {
        let tls = &frame.tls;
        let files = [&tls.cert_file, &tls.key_file, &tls.client_ca_file, &frame.tokens_file, &frame.service_token_file];
        let suite = suite.zip(frame.service_token_file.clone());
        Self { files: files.into_iter().flatten().cloned().collect(), certificates, rights, suite, channels }
    }

    /// Watches the files until `stop` is cancelled.
    pub async fn run(self, health: Health, stop: CancellationToken) -> Result<(), BoxError> {
        let mut hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?;
        let mut tick = tokio::time::interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut seen, mut said) = (stamps(&self.files), HashMap::new());
        loop {
            let asked = tokio::select! {
                () = stop.cancelled() => break,
                _ = tick.tick() => false,
                _ = hangup.recv() => true,
            };
            let now = stamps(&self.files);
            if asked || now != seen {
                seen = now;
                self.read();
            }
            self.say_ends(&health, &mut said).await;
        }
        Ok(())
    }

    fn read(&self) {
        let certificates = self.certificates.as_ref().map_or(Ok(()), |certificates| certificates.reload());
        if let Err(error) = &certificates {
            tracing::error!(error = chain(error), "cannot use the new certificates; the previous ones stay in use");
        }
        let tokens = self.rights.reload().and_then(|()| {
            let Some((suite, file)) = &self.suite else { return Ok(()) };
            suite.replace(read_token(file)?);
            Ok(())
        });
        if let Err(error) = &tokens {
            tracing::error!(error = chain(error), "cannot use the new tokens; the previous ones stay in use");
        }
        if certificates.is_ok() && tokens.is_ok() {
            tracing::info!("certificates and tokens were read again");
        }
    }

    /// Reports certificates of this process and of its channels that expire soon or have expired: when that begins, and
    /// then twice a day.
    async fn say_ends(&self, health: &Health, said: &mut HashMap<String, Instant>) {
        let now = jiff::Timestamp::now().as_second();
        let own = self.certificates.as_ref().and_then(|certificates| certificates.days_left(now));
        let own = own.map(|days| ("the certificate of this process".to_owned(), days));
        let shown = self.channels.days_left(now).into_iter();
        let shown = shown.map(|(endpoint, days)| (format!("the certificate that is shown to {endpoint}"), days));
        let all: Vec<(String, i64)> = own.into_iter().chain(shown).collect();
        let Some(least) = all.iter().map(|(_, days)| *days).min() else { return };
        health.set(health::CERTIFICATE, least >= WARN_DAYS).await;
        for (which, days) in all {
            if days >= WARN_DAYS {
                said.remove(&which);
            } else if said.get(&which).is_none_or(|at| at.elapsed() >= WARN_EVERY) {
                match days {
                    ..0 => tracing::error!(days, "{which} has expired: renew it"),
                    _ => tracing::warn!(days, "{which} expires soon: renew it"),
                }
                said.insert(which, Instant::now());
            }
        }
    }
}
