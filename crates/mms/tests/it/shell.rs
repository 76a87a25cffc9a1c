//! Completions for each shell and manual pages for each command are generated from the command line.

use std::process::Command;

use crate::support::run;

#[test]
fn each_shell_gets_its_completions() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completions", shell]);
        assert!(output.status.success(), "{shell}");
        let script = String::from_utf8(output.stdout).unwrap();
        for word in ["migrate", "accept-blocked", "worker"] {
            assert!(script.contains(word), "{word} for {shell}");
        }
        if shell == "bash" {
            let file = dir.path().join("mms.bash");
            std::fs::write(&file, script).unwrap();
            // bash can load the script, and completes with it.
            let line = format!(
                ". {} && COMP_WORDS=(mms jo) COMP_CWORD=1 && _mms mms jo mms && printf '%s\n' \"${{COMPREPLY[@]}}\"",
                file.display()
            );
            match Command::new("bash").args(["-c", &line]).output() {
                Ok(completed) => assert_eq!(String::from_utf8(completed.stdout).unwrap().trim(), "job", "{line}"),
                Err(error) => println!("SKIPPED bash completions: {error}"),
            }
        }
    }
}

#[test]
fn each_command_gets_its_manual_page() {
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("man1");
    assert!(run(&["man", pages.to_str().unwrap()]).status.success());
    for page in ["mms.1", "mms-migrate.1", "mms-job.1", "mms-job-create.1", "mms-source-apply.1"] {
        let text = std::fs::read_to_string(pages.join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(text.contains(".TH") && text.contains("Example"), "{page}: {text}");
    }
}
