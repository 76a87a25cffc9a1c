//! Scratch.
#[tokio::main]
async fn main() {
    let a: Vec<String> = std::env::args().collect();
    let w = mms_sandbox::workspace::Workspace::start(mms_sandbox::workspace::WorkspaceConfig {
        delta_root: a[1].clone().into(), catalog: a[2].clone(), token: a[3].clone().into(), bind: "127.0.0.1:0".parse().unwrap(), page_size: a[4].parse().unwrap(),
    }).await.unwrap();
    println!("{}", w.url());
    std::future::pending::<()>().await
}
