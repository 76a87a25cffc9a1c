//! A database is damaged on the disk (a bit flipped, the end cut off, a page zeroed; after one run, after several, in a
//! copied backup). The store then either has everything, or refuses to open with a text that says what to do: it never
//! silently has less, and never starts empty. If it refuses, the recovery that the text names is carried out.
//! `MMS_STORE_DAMAGES` sets the number of trials (default 9), `MMS_STORE_DAMAGE_SEED` repeats a run.
//!
//! Each open is a process of its own, because sled may hang or crash on what it reads.
#![allow(clippy::print_stdout, reason = "helpers are not seen as tests; one that fails is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs::{self, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::{DOCS, NOTES, Note, doc};
use mms_store::{Options, Read, Recovery, Schema, Scope, Store};

const CHILD_DIR: &str = "MMS_STORE_DAMAGE_CHILD_DIR";
const CHILD_HOW: &str = "MMS_STORE_DAMAGE_CHILD_HOW";
const RECORDS: u64 = 120;
const OPENS_WITHIN: Duration = Duration::from_secs(60);

/// splitmix64, so that trials can be repeated by their seed.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % below.max(1)
    }
}

fn record(number: u64) -> (String, String) {
    let size = if number.is_multiple_of(9) { 9000 } else { 300 };
    (format!("owner-{}", number % 5), format!("{number} ").repeat(size / 4))
}

/// Opens the store, prints each record it finds on a line, and writes records up to the given number. Runs only in the
/// child process.
#[tokio::test]
async fn child() {
    let (Some(dir), Ok(how)) = (env::var_os(CHILD_DIR), env::var(CHILD_HOW)) else { return };
    let (recovery, upto) = how.split_once(' ').unwrap();
    let recovery = match recovery {
        "refuse" => Recovery::Refuse,
        "accept-copy" => Recovery::AcceptCopy,
        _ => Recovery::NewestExport,
    };
    let store = match Store::open(dir, Schema::new("damage"), Options::default().recovering(recovery)) {
        Ok(store) => store,
        Err(error) => return println!("\nREFUSED {error}"),
    };
    let mut have = BTreeSet::new();
    let mut after = None;
    loop {
        let page = store.read(|r| r.page(&DOCS, &Scope::all(), after.as_ref(), 50)).unwrap();
        for ((_, number), found) in page.items {
            let (owner, body) = record(number);
            assert_eq!(found, doc(&owner, &[], &body), "record {number} is another");
            have.insert(number);
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    println!("\nHAS {}", have.iter().map(u64::to_string).collect::<Vec<_>>().join(" "));
    for number in 0..upto.parse::<u64>().unwrap() {
        if have.contains(&number) {
            continue;
        }
        let commit = store.commit(move |tx| {
            let (owner, body) = record(number);
            tx.put(&DOCS, &(owner.clone(), number), &doc(&owner, &[], &body))?;
            tx.put(&NOTES, &format!("churn/{}", number % 7), &Note { text: body })
        });
        commit.await.unwrap();
    }
    store.close().await.unwrap();
    println!("\nCLOSED");
}

#[derive(Debug, PartialEq)]
enum Opened {
    Has(BTreeSet<u64>),
    Refused(String),
    /// It neither opened nor gave a reason.
    Broke(String),
}

fn run(dir: &Path, recovery: &str, upto: u64) -> Opened {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "damage::child", "--nocapture"])
        .env(CHILD_DIR, dir)
        .env(CHILD_HOW, format!("{recovery} {upto}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let until = Instant::now() + OPENS_WITHIN;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > until {
            child.kill().unwrap();
            return Opened::Broke("it does not end".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let Output { stdout, stderr, .. } = child.wait_with_output().unwrap();
    let stdout = String::from_utf8_lossy(&stdout);
    if let Some(why) = stdout.lines().find_map(|line| line.strip_prefix("REFUSED ")) {
        return Opened::Refused(why.to_owned());
    }
    match stdout.lines().find_map(|line| line.strip_prefix("HAS")) {
        Some(found) if stdout.contains("CLOSED") => {
            Opened::Has(found.split_whitespace().map(|number| number.parse().unwrap()).collect())
        }
        _ => Opened::Broke(format!("{stdout}\n{}", String::from_utf8_lossy(&stderr))),
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    assert!(Command::new("cp").arg("-a").args([&from.join("."), to]).status().unwrap().success());
}

/// The files of the directory that are no exports: the database, its snapshots, the manifest.
fn targets(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(dir.join("sled")).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.is_file() && fs::metadata(path).unwrap().len() > 0);
    found.push(dir.join("manifest"));
    found.sort();
    found
}

/// Damages a file; returns a description of what was done.
fn harm(dir: &Path, kind: u64, random: &mut Random) -> String {
    let files = targets(dir);
    // Mostly the database, sometimes any of the files.
    let file =
        if random.next(4) > 0 { dir.join("sled/db") } else { files[random.next(files.len() as u64) as usize].clone() };
    let length = fs::metadata(&file).unwrap().len();
    let open = OpenOptions::new().read(true).write(true).open(&file).unwrap();
    // A byte that is not zero: most of a young database is zeros.
    let content = fs::read(&file).unwrap();
    let written: Vec<usize> = (0..content.len()).filter(|at| content[*at] != 0).collect();
    let at = written.get(random.next(written.len() as u64) as usize).copied().unwrap_or(0) as u64;
    let name = file.strip_prefix(dir).unwrap().display().to_string();
    match kind {
        0 => {
            let bit = random.next(8);
            open.write_all_at(&[content[at as usize] ^ (1 << bit)], at).unwrap();
            format!("bit {bit} of byte {at} of {name} ({length}) flipped")
        }
        1 => {
            open.set_len(at).unwrap();
            format!("{name} cut from {length} to {at}")
        }
        _ => {
            let page = at / 4096 * 4096;
            let end = length.min(page + 4096);
            open.write_all_at(&vec![0; (end - page) as usize], page).unwrap();
            format!("page at {page} of {name} ({length}) zeroed")
        }
    }
}

/// Writes a store with all records, in so many runs. Returns their numbers, which the newest export has all.
fn prepare(dir: &Path, restarts: u64) -> BTreeSet<u64> {
    let all: BTreeSet<u64> = (0..RECORDS).collect();
    for run_number in 1..=restarts {
        let upto = RECORDS * run_number / restarts;
        assert!(matches!(run(dir, "refuse", upto), Opened::Has(_)));
    }
    all
}

#[test]
fn a_harmed_database_is_refused_or_whole_and_comes_back() {
    let trials: u64 = env::var("MMS_STORE_DAMAGES").map_or(9, |trials| trials.parse().unwrap());
    let seed = env::var("MMS_STORE_DAMAGE_SEED")
        .map_or_else(|_| RandomState::new().build_hasher().finish(), |seed| seed.parse().unwrap());
    println!("MMS_STORE_DAMAGE_SEED={seed}");
    let root = tempfile::tempdir().unwrap();
    let bases = [("after one run", 1), ("after five runs", 5)].map(|(name, restarts)| {
        let dir = root.path().join(name);
        (name, prepare(&dir, restarts), dir)
    });
    let mut outcomes = BTreeMap::<&str, u64>::new();
    for trial in 0..trials {
        let mut random = Random(seed ^ (trial << 32));
        let backup = trial % 3 == 2;
        let (name, all, base) = &bases[usize::from(trial % 3 != 0)];
        let dir = root.path().join("trial");
        fs::remove_dir_all(&dir).ok();
        // The trial needs a copy: a directory that is moved keeps its inodes, so it would count as the original.
        let recovery = if backup { "accept-copy" } else { "refuse" };
        copy(base, &dir);
        if !backup {
            // Opened once as an accepted copy, the directory counts as an original from then on.
            assert_eq!(run(&dir, "accept-copy", RECORDS), Opened::Has(all.clone()));
        }
        let harmed = harm(&dir, trial / 3 % 3, &mut random);
        let context =
            format!("seed {seed}, trial {trial}, {name}, {}: {harmed}", if backup { "a backup" } else { "in place" });
        match run(&dir, recovery, 0) {
            Opened::Has(found) => {
                assert_eq!(&found, all, "{context}: less without a word");
                *outcomes.entry("whole").or_default() += 1;
            }
            Opened::Broke(how) => panic!("{context}: {how}"),
            Opened::Refused(why) => {
                *outcomes.entry("refused").or_default() += 1;
                assert!(why.contains("--recover") && why.contains("newest-export"), "{context}: {why}");
                // The next start refuses again, whatever sled did to its files during the first one.
                assert!(matches!(run(&dir, recovery, 0), Opened::Refused(_) | Opened::Has(_)), "{context}");
                // A clean end exports, so the newest export has all records.
                assert_eq!(run(&dir, "newest-export", RECORDS), Opened::Has(all.clone()), "{context}: the way back");
                assert_eq!(run(&dir, "refuse", RECORDS), Opened::Has(all.clone()), "{context}: after the way back");
                *outcomes.entry("came back").or_default() += 1;
            }
        }
    }
    let count = |what| outcomes.get(what).copied().unwrap_or(0);
    let (whole, refused, back) = (count("whole"), count("refused"), count("came back"));
    // A row as `tests/prove` collects them; what is not measured here is a dash.
    let outcome = format!(
        "{whole} whole, {refused} refused, {back} of those came back from the newest export; silent loss 0, empty start 0"
    );
    println!("\nFIGURES\tdamaged stores\t{trials}{}\t{outcome}", "\t-".repeat(7));
}

#[test]
fn one_flipped_bit_after_clean_restarts_is_no_copy_and_prunes_no_export() {
    // One flip at several offsets of the log, among them some after which sled opens with an older identity.
    let root = tempfile::tempdir().unwrap();
    let (base, dir) = (root.path().join("base"), root.path().join("trial"));
    let all = prepare(&base, 4);
    let mut refused = 0;
    for step in 0..6 {
        fs::remove_dir_all(&dir).ok();
        copy(&base, &dir);
        assert_eq!(run(&dir, "accept-copy", RECORDS), Opened::Has(all.clone()));
        let exports = || fs::read_dir(dir.join("exports")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        let before: BTreeSet<_> = exports();
        let file = OpenOptions::new().read(true).write(true).open(dir.join("sled/db")).unwrap();
        let content = fs::read(dir.join("sled/db")).unwrap();
        let from = content.len() * step / 6;
        let at = (from..content.len()).find(|at| content[*at] != 0).unwrap_or(from);
        file.write_all_at(&[content[at] ^ 16], at as u64).unwrap();
        for _ in 0..3 {
            match run(&dir, "refuse", 0) {
                Opened::Has(found) => assert_eq!(found, all, "byte {at}"),
                Opened::Refused(_) => refused += 1,
                Opened::Broke(how) => panic!("byte {at}: {how}"),
            }
        }
        let after: BTreeSet<_> = exports();
        assert!(before.is_subset(&after), "byte {at}: {before:?} became {after:?}");
    }
    assert!(refused > 0, "no flip was found: the trial shows nothing");
}
