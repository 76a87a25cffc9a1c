//! The `main` of every service: flags, configuration, telemetry, serving, exit code.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};
use tokio_util::sync::CancellationToken;

use crate::config::{self, Loaded, Override, Recover};
use crate::serve::{BoundServer, Context, FrameError, Services};
use crate::{BoxError, ServiceConfig, telemetry};

/// Exit code: the command line was wrong.
pub const EXIT_USAGE: u8 = 64;
/// Exit code: the configuration is wrong.
pub const EXIT_CONFIG: u8 = 78;
/// Exit code: the process could not start, or a part that it needs failed.
pub const EXIT_START: u8 = 1;

#[derive(Parser)]
struct Flags {
    /// Configuration file, TOML.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to listen on, instead of server.listen.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Folder of durable state, instead of server.data_dir.
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// What to do when the durable state is missing or cannot be read, instead of server.recover.
    #[arg(long, value_name = "HOW", value_enum)]
    recover: Option<Recover>,
    /// Accept callers from other machines without TLS or tokens.
    #[arg(long)]
    insecure: bool,
    /// Check the configuration, report all its faults, and exit. Files that it names are not opened.
    #[arg(long)]
    check_config: bool,
    /// Print the configuration as it would be used, with secrets hidden, and exit.
    #[arg(long)]
    print_config: bool,
}

impl Flags {
    fn overrides(&self) -> Vec<Override> {
        let mut overrides = Vec::new();
        if let Some(listen) = self.listen {
            overrides.push(("server.listen", listen.to_string().into()));
        }
        if let Some(folder) = &self.data_dir {
            overrides.push(("server.data_dir", folder.to_string_lossy().into()));
        }
        if let Some(recover) = self.recover.and_then(|recover| serde_json::to_value(recover).ok()) {
            overrides.push(("server.recover", recover));
        }
        if self.insecure {
            overrides.push(("server.insecure", true.into()));
        }
        overrides
    }
}

/// Runs a service as a process of its own. `start` assembles the service; the result is the exit code of the process.
pub fn main<C, F, Fut>(version: &'static str, start: F) -> ExitCode
where
    C: ServiceConfig,
    F: FnOnce(Context<C>) -> Fut,
    Fut: Future<Output = Result<Services, BoxError>>,
{
    let flags = match flags::<C>(version) {
        Ok(flags) => flags,
        Err(error) => {
            let asked = !error.use_stderr();
            drop(error.print());
            return if asked { ExitCode::SUCCESS } else { EXIT_USAGE.into() };
        }
    };
    let loaded = match config::load::<C>(flags.config.as_deref(), &flags.overrides()) {
        Ok(loaded) => loaded,
        Err(faults) => return fail(EXIT_CONFIG, &faults),
    };
    if flags.print_config {
        return match loaded.print() {
            Ok(text) => print(&text),
            Err(error) => fail(EXIT_CONFIG, &error),
        };
    }
    if flags.check_config {
        return print("the configuration is valid\n");
    }
    if let Err(error) = harden() {
        return fail(EXIT_START, &error);
    }
    match run(loaded, start) {
        Ok(()) => ExitCode::SUCCESS,
        Err(
            error @ (FrameError::Config(_) | FrameError::Tokens(_) | FrameError::File { .. } | FrameError::Tls { .. }),
        ) => fail(EXIT_CONFIG, &error),
        Err(error) => fail(EXIT_START, &error),
    }
}

/// Protects what the process leaves behind: files that it creates are readable by their owner only, and its memory,
/// which holds secrets, is not written to a core file. It also sets how the allocator returns memory.
///
/// # Errors
/// The system refuses one of the settings.
pub fn harden() -> std::io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
    umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: getrlimit(Resource::Core).maximum })?;
    give_memory_back();
    Ok(())
}

/// Allocations of at least this size are mapped individually, and returned to the system as soon as they are freed.
#[cfg(target_env = "gnu")]
const MAPPED_BYTES: libc::c_int = 4 << 20;

/// Fixes the allocator's threshold for mapping. By default glibc raises it to the size of whatever was freed, up to 32
/// MiB; a worker that fetches row groups in requests of 8 MiB then keeps the gaps between what it still needs, a third
/// of its memory.
#[cfg(target_env = "gnu")]
fn give_memory_back() {
    // SAFETY: it changes a setting of the allocator and touches no memory of ours.
    #[expect(unsafe_code, reason = "no safe crate has it")]
    let known = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES) };
    debug_assert_eq!(known, 1, "glibc knows the setting");
}

#[cfg(not(target_env = "gnu"))]
fn give_memory_back() {}

fn flags<C: ServiceConfig>(version: &'static str) -> Result<Flags, clap::Error> {
    let command = Flags::command()
        .bin_name(format!("mms-{}", C::SERVICE))
        .display_name(format!("mms-{}", C::SERVICE))
        .version(version)
        .about(format!("The {} service of mms", C::SERVICE));
    Flags::from_arg_matches(&command.try_get_matches()?)
}

fn run<C, F, Fut>(loaded: Loaded<C>, start: F) -> Result<(), FrameError>
where
    C: ServiceConfig,
    F: FnOnce(Context<C>) -> Fut,
    Fut: Future<Output = Result<Services, BoxError>>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| FrameError::Serve(format!("no runtime: {error}")))?;
    runtime.block_on(async {
        let telemetry = telemetry::init(&loaded.telemetry, C::SERVICE, &[])
            .map_err(|error| FrameError::Serve(error.to_string()))?;
        let server = BoundServer::bind(C::SERVICE, loaded.frame).await?;
        let shutdown = CancellationToken::new();
        tokio::spawn(cancel_on_signal(shutdown.clone()));
        let served = Box::pin(server.serve(loaded.service, shutdown, start)).await;
        if let Err(error) = &served {
            tracing::error!(error = %error, "service failed");
        }
        // The exporter flushes on a thread of its own, which needs this runtime to be alive.
        drop(tokio::task::spawn_blocking(move || drop(telemetry)).await);
        served
    })
}

/// Cancels the token at the first SIGTERM or SIGINT.
pub async fn cancel_on_signal(shutdown: CancellationToken) {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => tracing::info!("SIGTERM received; stopping"),
                _ = interrupt => tracing::info!("SIGINT received; stopping"),
            }
        }
        Err(error) => tracing::error!(error = %error, "cannot listen for SIGTERM"),
    }
    #[cfg(not(unix))]
    drop(interrupt.await);
    shutdown.cancel();
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => EXIT_START.into(),
    }
}

fn fail(code: u8, error: &dyn std::error::Error) -> ExitCode {
    // Nobody may be left to read stderr; then the exit code alone tells.
    drop(writeln!(std::io::stderr(), "{error}"));
    code.into()
}
