use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use super::*;
use crate::{StorageCredential, StorageLocation, StorageSettings, open};

/// A table's folder `t`, next to a file and a folder that must not be reachable from it.
struct Ground {
    _dir: tempfile::TempDir,
    table: PathBuf,
    beside: PathBuf,
}

fn ground() -> Ground {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let (table, beside) = (root.join("t"), root.join("beside"));
    fs::create_dir_all(table.join("_delta_log")).unwrap();
    fs::create_dir_all(beside.join("_delta_log")).unwrap();
    fs::write(table.join("good"), "good").unwrap();
    fs::write(table.join("_delta_log/0.json"), "{}").unwrap();
    fs::write(beside.join("secret"), "canary").unwrap();
    Ground { _dir: dir, table, beside }
}

impl Ground {
    fn store(&self) -> std::sync::Arc<dyn ObjectStore> {
        let client = mms_http::HttpClient::new(&mms_http::NetworkConnection::default()).unwrap();
        let location = StorageLocation::local(&self.table).unwrap();
        open(&location, &StorageCredential::None, &StorageSettings::new(client)).unwrap()
    }

    fn at(&self, name: &str) -> Path {
        Path::from_absolute_path(self.table.join(name)).unwrap()
    }

    async fn read(&self, name: &str) -> Result<String> {
        let store = self.store();
        let read = async { store.get(&self.at(name)).await?.bytes().await };
        let bytes = tokio::time::timeout(Duration::from_secs(10), read).await.expect("it must not wait")?;
        Ok(String::from_utf8(bytes.to_vec()).unwrap())
    }

    async fn list(&self, name: &str) -> Result<Vec<Path>> {
        let listed = self.store().list(Some(&self.at(name))).map_ok(|found| found.location).try_collect();
        tokio::time::timeout(Duration::from_secs(10), listed).await.expect("it must not wait")
    }
}

fn refused<T: fmt::Debug>(result: Result<T>, why: &str) {
    match result {
        Err(Error::PermissionDenied { source, .. }) => assert!(source.to_string().contains(why), "{source}"),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn what_lies_in_the_folder_is_read_and_listed_also_by_a_link_within() {
    let ground = ground();
    symlink("good", ground.table.join("link")).unwrap();
    assert_eq!(ground.read("good").await.unwrap(), "good");
    assert_eq!(ground.read("link").await.unwrap(), "good");
    assert_eq!(ground.list("_delta_log").await.unwrap(), [ground.at("_delta_log/0.json")]);
    assert!(matches!(ground.read("none").await, Err(Error::NotFound { .. })));
    assert_eq!(ground.list("none").await.unwrap(), []);
    let ranges = ground.store().get_ranges(&ground.at("good"), &[2..4, 0..1]).await.unwrap();
    assert_eq!(ranges, ["od", "g"]);
}

#[tokio::test]
async fn a_linked_file_that_leads_out_is_refused() {
    let ground = ground();
    for (name, to) in [("absolute", ground.beside.join("secret")), ("relative", "../beside/secret".into())] {
        symlink(to, ground.table.join(name)).unwrap();
        refused(ground.read(name).await, "out of the table's folder");
    }
    symlink(ground.table.join("absolute"), ground.table.join("_delta_log/1.json")).unwrap();
    refused(ground.read("_delta_log/1.json").await, "out of the table's folder");
    refused(ground.list("_delta_log").await, "out of the table's folder");
}

#[tokio::test]
async fn a_linked_folder_that_leads_out_is_refused() {
    let ground = ground();
    symlink(&ground.beside, ground.table.join("p=1")).unwrap();
    refused(ground.read("p=1/secret").await, "out of the table's folder");
    refused(ground.list("p=1").await, "out of the table's folder");
    fs::remove_dir_all(ground.table.join("_delta_log")).unwrap();
    symlink(ground.beside.join("_delta_log"), ground.table.join("_delta_log")).unwrap();
    refused(ground.list("_delta_log").await, "out of the table's folder");
}

#[tokio::test]
async fn a_fifo_and_a_device_are_refused_without_being_opened() {
    let ground = ground();
    let made = Command::new("mkfifo").arg(ground.table.join("_delta_log/fifo")).status().unwrap();
    assert!(made.success());
    refused(ground.read("_delta_log/fifo").await, "no regular file");
    refused(ground.list("_delta_log").await, "no regular file");
    // Creating a device needs rights that a test may not have; a link to an existing device leads out of the folder anyway.
    let device = ground.table.join("device");
    if Command::new("mknod").arg(&device).args(["c", "1", "5"]).status().is_ok_and(|made| made.success()) {
        refused(ground.read("device").await, "no regular file");
    }
    symlink("/dev/zero", ground.table.join("zero")).unwrap();
    refused(ground.read("zero").await, "out of the table's folder");
}
