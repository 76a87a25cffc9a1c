//! Upload sessions under concurrent commits, expiry, restarts and the limit of their number.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Barrier;

use jiff::Timestamp;

use super::super::super::sql::run::Session;
use super::super::super::table::Table;
use super::super::uploads::Uploads;
use super::*;

const NOW: i64 = 1_700_000_000;
const LATER: i64 = NOW + SESSION_SECONDS + 1;
/// One BIGINT column with the value 1, as a record stream.
const ONE: &str = "080280c0ff7fcab8b49905f0ffff7f02f8ffff7fa486b58808";

struct Setting {
    catalog: Catalog,
    uploads: Uploads,
}

impl Setting {
    fn open(dir: &Path, now: i64) -> Self {
        let uploads = Uploads::open(dir.join("sessions"), now).expect("opened");
        let catalog = Catalog::open(dir, &uploads.files_in_use(now), now).expect("opened");
        uploads.reconcile(&catalog).expect("reconciled");
        Self { catalog, uploads }
    }

    fn new(dir: &Path) -> Self {
        let setting = Self::open(dir, NOW);
        setting.sql("CREATE TABLE t (a BIGINT);");
        setting
    }

    fn sql(&self, sql: &str) {
        let session = Session {
            catalog: &self.catalog,
            project: "p",
            others: &[],
            settings: &Default::default(),
            schema: None,
            now: NOW,
        };
        session.run(sql).expect(sql);
    }

    fn table(&self) -> Arc<Table> {
        self.catalog.table("default", "t").expect("a table")
    }

    fn begin(&self, overwrite: bool) -> Arc<Upload> {
        let purpose = Purpose {
            schema: "default".to_owned(),
            table: "t".to_owned(),
            key: PartKey::new(),
            overwrite,
            create_partition: false,
            stream: None,
        };
        let now = Timestamp::from_second(NOW).expect("a time");
        self.uploads.create(&self.catalog, &self.table(), purpose, now).expect("opened")
    }

    fn put(&self, upload: &Upload, block: u32, now: i64) -> ApiResult<()> {
        let body = hex::decode(ONE).expect("hex");
        upload.put(&self.catalog, block, Carrier::Records, Encoding::Identity, body.as_slice(), now).map(|_| ())
    }

    fn rows(&self) -> u64 {
        self.table().all().iter().map(|(_, part)| part.rows()).sum()
    }

    fn files(&self) -> usize {
        fs::read_dir(self.table().dir().join("files")).expect("listed").count()
    }
}

#[test]
fn a_session_ends_with_its_day() {
    let dir = tempfile::tempdir().expect("a directory");
    let setting = Setting::new(dir.path());
    let upload = setting.begin(true);
    setting.put(&upload, 0, LATER - 1).expect("within its day");
    for refused in [setting.put(&upload, 1, LATER), upload.commit(&setting.catalog, LATER)] {
        assert_eq!(refused.expect_err("expired").code, "StatusConflict");
    }
    let shown = upload.describe(&setting.catalog, LATER).expect("described");
    assert_eq!((&shown["Status"], &shown["UploadedBlockList"]), (&"expired".into(), &json!([])));
    assert_eq!((setting.rows(), setting.files()), (0, 1));
    // Opening the next session removes the blocks of expired ones.
    let purpose = upload.record.purpose.clone();
    let later = Timestamp::from_second(LATER).expect("a time");
    setting.uploads.create(&setting.catalog, &setting.table(), purpose, later).expect("opened");
    assert_eq!(setting.files(), 0);
    let late = upload.commit(&setting.catalog, LATER - 1);
    assert_eq!(late.expect_err("its blocks are gone, though the request began in time").code, "StatusConflict");
    let setting = Setting::open(dir.path(), LATER);
    let again = setting.uploads.get(upload.id()).expect("it can still be asked about");
    assert_eq!(again.describe(&setting.catalog, LATER).expect("described")["Status"], "expired");
}

#[test]
fn two_sessions_that_commit_at_once_both_count() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().expect("a directory");
        let setting = Setting::new(dir.path());
        let uploads: Vec<Arc<Upload>> = (0..4).map(|_| setting.begin(false)).collect();
        for (blocks, upload) in (1..).zip(&uploads) {
            (0..blocks).for_each(|block| setting.put(upload, block, NOW).expect("put"));
        }
        let start = Barrier::new(uploads.len());
        std::thread::scope(|scope| {
            for upload in &uploads {
                scope.spawn(|| {
                    start.wait();
                    upload.commit(&setting.catalog, NOW).expect("committed");
                });
            }
        });
        assert_eq!((setting.rows(), setting.files()), (10, 10));
        assert_eq!(Setting::open(dir.path(), NOW).rows(), 10);
    }
}

#[test]
fn of_two_overwrites_at_once_one_is_there_whole() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().expect("a directory");
        let setting = Setting::new(dir.path());
        let uploads = [setting.begin(true), setting.begin(true)];
        for (blocks, upload) in [2, 5].into_iter().zip(&uploads) {
            (0..blocks).for_each(|block| setting.put(upload, block, NOW).expect("put"));
        }
        let start = Barrier::new(2);
        std::thread::scope(|scope| {
            for upload in &uploads {
                scope.spawn(|| {
                    start.wait();
                    upload.commit(&setting.catalog, NOW).expect("committed");
                });
            }
        });
        let rows = setting.rows();
        assert!(rows == 2 || rows == 5, "{rows} rows");
        assert_eq!(setting.files() as u64, rows, "the files of the other are gone");
    }
}

#[test]
fn one_session_committed_many_times_at_once_counts_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let setting = Setting::new(dir.path());
    let upload = setting.begin(false);
    (0..3).for_each(|block| setting.put(&upload, block, NOW).expect("put"));
    let start = Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                upload.commit(&setting.catalog, NOW).expect("success, first or again");
            });
        }
    });
    assert_eq!(setting.rows(), 3);
}

#[test]
fn a_block_that_races_the_commit_is_published_or_refused() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().expect("a directory");
        let setting = Setting::new(dir.path());
        let upload = setting.begin(true);
        let start = Barrier::new(5);
        let acknowledged = std::thread::scope(|scope| {
            let putting: Vec<_> = (0..4)
                .map(|block| {
                    let (setting, upload, start) = (&setting, &upload, &start);
                    scope.spawn(move || {
                        start.wait();
                        setting.put(upload, block, NOW)
                    })
                })
                .collect();
            start.wait();
            upload.commit(&setting.catalog, NOW).expect("committed");
            let put = putting.into_iter().map(|thread| thread.join().expect("no panic"));
            put.filter(|put| put.as_ref().map_err(|error| assert_eq!(error.code, "StatusConflict")).is_ok()).count()
        });
        assert_eq!((setting.rows(), setting.files()), (acknowledged as u64, acknowledged));
        assert_eq!(Setting::open(dir.path(), NOW).rows(), acknowledged as u64);
    }
}

#[test]
fn a_commit_that_was_cut_short_is_settled_for_good() {
    let dir = tempfile::tempdir().expect("a directory");
    let setting = Setting::new(dir.path());
    let upload = setting.begin(false);
    setting.put(&upload, 0, NOW).expect("put");
    upload.commit(&setting.catalog, NOW).expect("committed");
    // The state that a kill between the manifest and the log leaves.
    let log = upload.dir.join("log");
    let text = fs::read_to_string(&log).expect("read");
    fs::write(&log, text.replace("\"Closed\"\n", "")).expect("cut");
    let setting = Setting::open(dir.path(), NOW);
    assert!(setting.uploads.get(upload.id()).expect("kept").is_closed());
    // Removes the session from the manifest, as a thousand later sessions would.
    let parts = setting.table().dir().join("parts");
    for entry in fs::read_dir(parts).expect("listed") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("read");
        fs::write(&path, text.replace(&format!("\"{}\"", upload.id()), "")).expect("written");
    }
    let setting = Setting::open(dir.path(), NOW);
    let again = setting.uploads.get(upload.id()).expect("kept");
    again.commit(&setting.catalog, NOW).expect("it is known as done");
    assert_eq!(setting.rows(), 1);
}

#[test]
fn ended_sessions_make_room_and_open_ones_do_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut setting = Setting::new(dir.path());
    setting.uploads.limit(3);
    let open = setting.begin(false);
    let closed: Vec<Arc<Upload>> = (0..2).map(|_| setting.begin(false)).collect();
    closed.iter().for_each(|upload| upload.commit(&setting.catalog, NOW).expect("committed"));
    let more: Vec<Arc<Upload>> = (0..2).map(|_| setting.begin(false)).collect();
    let kept: BTreeSet<bool> = closed.iter().map(|upload| setting.uploads.get(upload.id()).is_ok()).collect();
    assert_eq!(kept, BTreeSet::from([false]), "the two closed ones went for the two new ones");
    setting.uploads.get(open.id()).expect("an open one stays");
    let purpose = open.record.purpose.clone();
    let create = |now: i64| {
        let now = Timestamp::from_second(now).expect("a time");
        setting.uploads.create(&setting.catalog, &setting.table(), purpose.clone(), now)
    };
    assert_eq!(create(NOW).map(|u| u.id().to_owned()).expect_err("all three are open").code, "SlotExceeded");
    more[0].commit(&setting.catalog, NOW).expect("committed");
    create(NOW).expect("there is room again");
    create(LATER).expect("the expired go too");
}
