//! A service's process as its supervisor sees it: flags, environment, exit codes, SIGTERM. Runs `examples/minimal.rs`.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

fn minimal() -> Command {
    let folder = std::env::current_exe().unwrap();
    let built: PathBuf = folder.parent().unwrap().parent().unwrap().join("examples/minimal");
    assert!(built.exists(), "cargo test builds the examples beside the tests: {}", built.display());
    let mut command = Command::new(built);
    command.env_clear();
    command
}

fn run(args: &[&str], env: &[(&str, &str)]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = minimal().args(args).envs(env.iter().copied()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn exit_codes_tell_usage_from_configuration_from_start() {
    assert_eq!(run(&["--no-such-flag"], &[]).0, 64);
    assert_eq!(run(&["--version"], &[]).0, 0);
    assert_eq!(run(&["--check-config"], &[]).0, 0);
    let (code, _, errors) = run(&["--check-config", "--listen", "0.0.0.0:1"], &[("MMS_MINIMAL__SERVER__LIMITSS", "x")]);
    assert_eq!(code, 78);
    assert!(errors.contains("server.limitss") && errors.contains("server.listen"), "{errors}");
    assert_eq!(run(&["--check-config", "--listen", "0.0.0.0:1", "--insecure"], &[]).0, 0);
    let missing = [("MMS_MINIMAL__SERVER__TOKENS_FILE", "no/such/file")];
    assert_eq!(run(&["--check-config"], &missing).0, 0, "only a start opens files");
    assert_eq!(run(&[], &missing).0, 78);
    let folder = tempfile::tempdir().unwrap();
    let pem = folder.path().join("no.pem");
    std::fs::write(&pem, "no certificate").unwrap();
    let pem = pem.to_str().unwrap();
    let (cert, key) = ("MMS_MINIMAL__SERVER__TLS__CERT_FILE", "MMS_MINIMAL__SERVER__TLS__KEY_FILE");
    let (code, _, errors) = run(&[], &[(cert, pem), (key, pem)]);
    assert!(code == 78 && errors.contains("no.pem"), "{code}: {errors}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(run(&["--listen", &taken.local_addr().unwrap().to_string()], &[]).0, 1);
}

#[test]
fn the_environment_is_read_and_secrets_are_hidden() {
    let env = [
        ("MMS_MINIMAL__MINIMAL__KEY", "12345678"),
        ("MMS_MINIMAL__MINIMAL__LABEL", "true"),
        ("MMS_MINIMAL__SERVER__LIMITS__CONCURRENT_CALLS", "7"),
    ];
    let (code, printed, _) = run(&["--print-config"], &env);
    assert_eq!(code, 0);
    for line in ["key = \"***\"", "label = \"true\"", "concurrent_calls = 7"] {
        assert!(printed.contains(line), "{line} is missing in {printed}");
    }
    assert!(!printed.contains("12345678"));
}

#[test]
fn the_environment_wins_over_the_file_and_flags_over_both() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("minimal.toml");
    let text = "[server]\nlisten = \"127.0.0.1:1\"\ndata_dir = \"from-file\"\nrecover = \"newest-export\"\n\
                shutdown_grace_seconds = 1\n[minimal]\nlabel = \"from file\"\n";
    std::fs::write(&file, text).unwrap();
    let env = [
        ("MMS_MINIMAL__SERVER__LISTEN", "127.0.0.1:2"),
        ("MMS_MINIMAL__SERVER__DATA_DIR", "from-environment"),
        ("MMS_MINIMAL__SERVER__RECOVER", "newest-export"),
        ("MMS_MINIMAL__SERVER__SHUTDOWN_GRACE_SECONDS", "2"),
    ];
    let flags =
        ["--config", file.to_str().unwrap(), "--listen", "127.0.0.1:3", "--recover", "refuse", "--print-config"];
    let (code, printed, errors) = run(&flags, &env);
    assert_eq!(code, 0, "{errors}");
    // One value from each layer, and one that all three layers set.
    let expected = [
        "label = \"from file\"",
        "data_dir = \"from-environment\"",
        "shutdown_grace_seconds = 2",
        "listen = \"127.0.0.1:3\"",
        "recover = \"refuse\"",
    ];
    for line in expected {
        assert!(printed.contains(line), "{line} is missing in {printed}");
    }
}

#[cfg(unix)]
#[test]
fn sigterm_ends_it_well_and_logs_are_json_lines() {
    let mut child = minimal()
        .env("MMS_MINIMAL__TELEMETRY__FORMAT", "json")
        .env("MMS_MINIMAL__MINIMAL__KEY", "canary-key")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut log = vec![];
    for line in lines.by_ref() {
        let serving = line.contains("serving");
        log.push(line);
        if serving {
            break;
        }
    }
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    log.extend(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0), "{log:#?}");
    for line in &log {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
        assert!(!line.contains("canary"), "{line}");
    }
    assert!(log.iter().any(|line| line.contains("draining")), "{log:#?}");
}

#[cfg(target_os = "linux")]
#[test]
fn its_memory_gets_into_no_core_file_and_its_files_are_its_owner_s() {
    let mut child = minimal().stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("serving")));
    let told = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", child.id())).unwrap();
    let (limits, status) = (told("limits"), told("status"));
    child.kill().unwrap();
    child.wait().unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    assert!(status.lines().any(|line| line == "Umask:\t0077"), "{status}");
}
