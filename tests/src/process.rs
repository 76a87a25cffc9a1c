//! A process of the suite under test. Its output goes to a log file, and it is killed when dropped.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;

/// The longest time that a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// The path of a program of the workspace, in the folder of the test program. The runner builds them before the tests.
///
/// # Errors
/// The program is not built.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.parent().and_then(Path::parent).context("a test lies in target/PROFILE/deps")?;
    let path = folder.join(name);
    anyhow::ensure!(path.exists(), "{} is not built: cargo build --release --workspace --bins", path.display());
    Ok(path)
}

/// The processor time of a process, user and system, in the kernel's ticks of 10 ms.
///
/// # Errors
/// There is no process with this id.
pub fn busy(pid: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit(") ").next().context("a name in brackets")?;
    let ticks: u64 = after_name.split(' ').skip(11).take(2).map_while(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 10))
}

/// A running process.
pub struct Process {
    /// The name of the process, for messages.
    pub name: String,
    child: Child,
    log: PathBuf,
    /// The offset in the log at which this run begins; before it are runs with the same name.
    begins: u64,
}

impl Process {
    /// Starts a command whose output is appended to a log in the folder.
    ///
    /// # Errors
    /// The command cannot be started.
    pub fn start(name: &str, command: &mut Command, folder: &Path) -> anyhow::Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        let begins = file.metadata()?.len();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        Ok(Self { name: name.to_owned(), child, log, begins })
    }

    /// Waits until `find` finds something in a line of the log.
    ///
    /// # Errors
    /// The process ended before that, or did not print such a line in time.
    pub async fn says<T>(&mut self, find: impl Fn(&str) -> Option<T>) -> anyhow::Result<T> {
        let until = Instant::now() + PATIENCE;
        loop {
            let ended = self.child.try_wait()?;
            let mut text = String::new();
            let mut file = File::open(&self.log)?;
            file.seek(SeekFrom::Start(self.begins))?;
            file.read_to_string(&mut text)?;
            // The last line may be incomplete.
            let lines = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
            if let Some(found) = lines.lines().find_map(&find) {
                return Ok(found);
            }
            if let Some(status) = ended {
                anyhow::bail!("{} ended with {status}:\n{}", self.name, self.log());
            }
            anyhow::ensure!(Instant::now() < until, "{} does not come up:\n{}", self.name, self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Kills the process with SIGKILL and waits for its end.
    ///
    /// # Errors
    /// The process cannot be killed.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends SIGTERM to the process and waits for its end.
    ///
    /// # Errors
    /// The signal cannot be sent.
    pub fn terminate(&mut self) -> anyhow::Result<std::process::ExitStatus> {
        self.signal("TERM")?;
        Ok(self.child.wait()?)
    }

    /// Sends a signal, given by its short name, as in `TERM`.
    ///
    /// # Errors
    /// The signal cannot be sent.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        // The shell's built-in `kill`, because a machine need not have a program of that name.
        let id = self.child.id().to_string();
        let status = Command::new("sh").args(["-c", "kill -s \"$1\" \"$2\"", "sh", name, &id]).status()?;
        anyhow::ensure!(status.success(), "{} cannot be sent SIG{name}", self.name);
        Ok(())
    }

    /// Whether the process still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for the end of the process.
    ///
    /// # Errors
    /// The system cannot wait for the process.
    pub fn wait(&mut self) -> anyhow::Result<std::process::ExitStatus> {
        Ok(self.child.wait()?)
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The path of the log file.
    pub fn log_file(&self) -> PathBuf {
        self.log.clone()
    }

    /// The whole log, with earlier runs of the same name.
    #[must_use]
    pub fn whole_log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The last 40 lines of the log.
    #[must_use]
    pub fn log(&self) -> String {
        let text = self.whole_log();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- last lines of {}\n{}", self.name, self.log());
        }
    }
}
