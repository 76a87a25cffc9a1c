//! Reflection of both versions serves every service, so that grpcurl old and new can describe all of it.

use std::process::Command;

use mms_tests::peers;
use mms_tests::suite::{SERVICES, Suite};

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_describes_every_service() -> anyhow::Result<()> {
    let Some(grpcurl) = peers::find("grpcurl", "bin/grpcurl") else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let suite = Suite::processes(folder.path(), 30).await?;
    for service in SERVICES {
        let address = suite.endpoint(service).trim_start_matches("http://").to_owned();
        let list = peers::run(Command::new(&grpcurl).args(["-plaintext", &address, "list"]))?;
        let list = String::from_utf8(list.stdout)?;
        let own = list.lines().filter(|name| name.starts_with("mms.")).collect::<Vec<_>>();
        assert!(!own.is_empty(), "{service}: {list}");
        for name in own {
            peers::run(Command::new(&grpcurl).args(["-plaintext", &address, "describe", name]))?;
        }
    }
    Ok(())
}
