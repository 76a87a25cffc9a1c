//! Serves a sandbox project until it is interrupted:
//! `cargo run --release -p mms-sandbox --example project -- DIR NAME ACCESS_ID ACCESS_KEY [HOST:PORT]`.
//! Prints the endpoint as its first line.

use std::error::Error;
use std::io::Write;

use mms_sandbox::project::{Project, ProjectConfig};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let mut next = |name: &str| args.next().ok_or(format!("missing argument {name}"));
    let config = ProjectConfig {
        dir: next("DIR")?.into(),
        name: next("NAME")?,
        access_id: next("ACCESS_ID")?,
        access_key: next("ACCESS_KEY")?.into(),
        bind: next("HOST:PORT").unwrap_or_else(|_| "127.0.0.1:0".to_owned()).parse()?,
        region: None,
    };
    let project = Project::start(config).await?;
    writeln!(std::io::stdout(), "{}", project.endpoint())?;
    tokio::signal::ctrl_c().await?;
    project.shutdown().await;
    Ok(())
}
