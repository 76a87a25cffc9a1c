//! Compiles every contract under `proto/` without protoc, and fails the build for a contract that breaks the rules of
//! this project: a method without a least role, a rule that does not fit its field's type or whose bound the comment
//! does not state, a pattern that is not a valid regular expression.

#[path = "build/check.rs"]
mod check;
#[path = "build/comments.rs"]
mod comments;
#[path = "build/redact.rs"]
mod redact;

use std::error::Error;
use std::path::{Path, PathBuf};

use prost::Message;
use prost_reflect::DescriptorPool;

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    // Not `proto/image`, which is written from these files.
    println!("cargo:rerun-if-changed={}", root.join("mms").display());
    println!("cargo:rerun-if-changed=build");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);

    let mut files = Vec::new();
    collect(&root.join("mms"), &mut files)?;
    files.sort();

    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_imports(true).include_source_info(true).open_files(&files)?;
    // The encoded form: `file_descriptor_set()` would lose our own options. The comments stay in, because reflection
    // serves them: whoever describes a contract with it reads the manual.
    let with_comments = compiler.encode_file_descriptor_set();
    std::fs::write(out.join("mms.binpb"), &with_comments)?;

    let pool = DescriptorPool::decode(with_comments.as_slice())?;
    check::contracts(&pool)?;

    let secrets = redact::Secrets::find(&pool);
    std::fs::write(out.join("redact.rs"), secrets.debug_impls())?;
    std::fs::write(out.join("dispatch.rs"), redact::dispatch(&pool))?;

    let mut prost = tonic_prost_build::Config::new();
    prost.enable_type_names();
    tonic_prost_build::configure()
        .bytes(".")
        .skip_debug(secrets.paths())
        .include_file("mms.rs")
        .compile_fds_with_config(prost_types::FileDescriptorSet::decode(with_comments.as_slice())?, prost)?;
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
