//! Measures what the planning of a table of very many files costs: CPU time and memory of a process that reads the log as a
//! scan does (sums, bounds of timestamps, the files kept for the plan), opens it again as the plan does, and makes manifests.
//! For comparison, what Python's `deltalake` needs to open the table and list its files. `MMS_PLANNING_FILES` is the number
//! of files; from a million on the figures are judged.

#![allow(clippy::print_stdout, reason = "the proof prints its figures")]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;

use mms_delta::{FileList, LoggedFile, TableTotals};

use crate::common::open;
use crate::many_files::many_files;

/// With fewer files the figures show the start of the process rather than the log.
const JUDGED: u64 = 1_000_000;
/// Bytes of memory that a plan may keep files in.
const PLAN_BYTES: usize = 256 << 20;
/// Names the table to the child process.
const TABLE: &str = "MMS_PLANNING_TABLE";

/// Seconds of CPU and peak memory in MiB of this process so far.
fn used() -> (f64, u64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(") ").next().unwrap().split(' ');
    let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    (ticks as f64 / 100.0, peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024)
}

/// What the child process runs; does nothing in any other.
#[tokio::test]
async fn child() {
    let Some(table) = std::env::var_os(TABLE).map(PathBuf::from) else { return };
    let (start, _) = used();
    let snapshot = open(&table, None).await.unwrap();
    let times = snapshot.shape().time_columns();
    let keep = move |(totals, list, far): &mut (TableTotals, FileList, u64), file: &LoggedFile<'_>| {
        totals.add(file);
        list.add(file).unwrap();
        let told = file.statistics();
        *far +=
            times.iter().filter(|time| told.as_ref().is_some_and(|told| time.beyond(told, &(0..=1)).is_some())).count()
                as u64;
        ControlFlow::Continue(())
    };
    let start_of_scan = (TableTotals::default(), FileList::new(PLAN_BYTES), 0);
    let (totals, list, far) = snapshot.fold_files(start_of_scan, keep).await.unwrap();
    let (scan, _) = used();
    // The log has not changed, so the plan uses what the scan has read.
    assert_eq!(open(&table, None).await.unwrap().log_id(), snapshot.log_id());
    let (plan, _) = used();
    assert!(list.is_whole());
    let mut files = 0;
    for bucket in list.buckets() {
        let mut page = list.gather(bucket..bucket + 1, |_| true).unwrap();
        page.sort_by_key(|partition| partition);
        files +=
            page.files(&totals).map(|file| file.unwrap().into_source_file()).filter(|file| file.rows.is_some()).count()
                as u64;
    }
    let (manifests, peak) = used();
    assert_eq!((files, far), (totals.all().files, totals.all().files));
    println!("CHILD {files} {} {} {} {peak}", scan - start, plan - scan, manifests - plan);
}

/// The numbers in the last line of a program's output that has this beginning.
fn told(command: &mut Command, begins: &str) -> Vec<f64> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().rev().find_map(|line| line.split_once(begins)).unwrap_or_else(|| panic!("{text}")).1;
    line.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

/// Python with deltalake, installed by `tests/peers`.
fn deltalake() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = root.join(".peers/py/bin/python");
    let there =
        python.exists() && Command::new(&python).args(["-c", "import deltalake"]).output().unwrap().status.success();
    if !there {
        println!("SKIPPED planning: no Python with deltalake in .peers; run tests/peers");
    }
    there.then_some(python)
}

#[test]
fn a_log_of_very_many_files_is_read_in_little_time_and_memory() {
    let files = std::env::var("MMS_PLANNING_FILES").map_or(20_000, |text| text.parse().unwrap());
    let python = deltalake();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/interop/deltalake_files.py");
    println!("{files} files in {} partitions", files / 100);
    println!("{:<11} {:>8} {:>8} {:>11} {:>13} {:>14}", "log", "scan", "plan", "manifests", "memory", "deltalake");
    for checkpoint in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        many_files(folder.path(), files, files / 100, checkpoint);
        let mut ours = Command::new(std::env::current_exe().unwrap());
        ours.args(["--exact", "planning::child", "--nocapture"]).env(TABLE, folder.path());
        let [found, scan, plan, manifests, peak] = told(&mut ours, "CHILD ")[..] else { panic!("five numbers") };
        assert_eq!(found as u64, files);
        let name = if checkpoint { "checkpoint" } else { "commits" };
        print!("{name:<11} {scan:>6.2} s {plan:>6.2} s {manifests:>9.2} s {peak:>9} MiB");
        let Some(python) = &python else {
            println!();
            continue;
        };
        let theirs = told(Command::new(python).arg(&script).arg(folder.path()), "");
        let [found, cpu, memory] = theirs[..] else { panic!("three numbers: {theirs:?}") };
        assert_eq!(found as u64, files);
        let (of_cpu, of_memory) = ((scan + plan) / cpu, peak / memory);
        println!(
            "   {cpu:.2} s, {memory} MiB: scan and plan {of_cpu:.2} times its CPU, {of_memory:.2} times its memory"
        );
        if files >= JUDGED {
            assert!(of_cpu <= 1.5 && of_memory <= 0.5, "{name}: {of_cpu} times the CPU, {of_memory} times the memory");
        }
    }
}
