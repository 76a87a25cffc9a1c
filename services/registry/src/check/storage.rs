//! The storage of the source, as far as it can be judged without knowing where a table lies.

use std::path::PathBuf;

use mms_proto::registry::v1 as pb;
use pb::databricks_config::StorageAccess;

use super::Finding;
use crate::convert::millis;

/// A signature that ends sooner than this is worth a warning.
const SOON_MS: i64 = 24 * 3600 * 1000;

pub(super) async fn check(config: &pb::DatabricksConfig, now_ms: i64) -> Finding {
    match &config.storage_access {
        Some(StorageAccess::LocalFiles(local)) => folder(PathBuf::from(&local.root)).await,
        Some(StorageAccess::Sas(sas)) => signature(millis(sas.expire_time), now_ms),
        Some(StorageAccess::ServicePrincipal(_)) => {
            Finding::skipped("which storage the tables lie in is known after a scan; the first read asks for a token")
        }
        Some(StorageAccess::Vended(_)) => {
            Finding::skipped("credentials are vended table by table; the first read of each asks for them")
        }
        None => Finding::skipped("nothing is read from storage"),
    }
}

async fn folder(root: PathBuf) -> Finding {
    let shown = root.display().to_string();
    let read = tokio::task::spawn_blocking(move || std::fs::read_dir(root).map(|entries| entries.take(1000).count()));
    match read.await {
        Ok(Ok(entries)) => {
            Finding::ok(format!("{shown} can be read here, with {entries} entries; workers must see it too"))
        }
        Ok(Err(error)) => Finding::failed(
            format!("{shown}: {error}"),
            "give databricks.local_files.root a folder that the registry and every worker can read",
        ),
        Err(error) => Finding::failed(format!("{shown}: {error}"), "check again"),
    }
}

fn signature(expire_ms: i64, now_ms: i64) -> Finding {
    let remedy = "make a new signature with Read and List and set databricks.sas";
    match expire_ms {
        0 => Finding::skipped("which storage the tables lie in is known after a scan; the signature names no end"),
        end if end <= now_ms => Finding::failed("the shared access signature has expired", remedy),
        end if end - now_ms < SOON_MS => {
            let hours = (end - now_ms) / 3_600_000;
            Finding::warning(format!("the shared access signature ends in {hours} hours"), remedy)
        }
        _ => Finding::skipped("which storage the tables lie in is known after a scan; the signature has not expired"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pb::CheckState;

    #[test]
    fn a_signature_is_judged_by_its_end() {
        let state = |end: i64| signature(end, 1_000_000_000).state;
        assert_eq!(state(999_999_999), CheckState::Failed);
        assert_eq!(state(1_000_000_000 + SOON_MS / 2), CheckState::Warning);
        assert_eq!(state(1_000_000_000 + SOON_MS * 2), CheckState::Skipped);
        assert_eq!(state(0), CheckState::Skipped);
    }
}
