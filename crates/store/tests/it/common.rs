//! Tables and tools that the tests share.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use mms_store::{Index, Table};
use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub struct Doc {
    #[prost(string, tag = "1")]
    pub owner: String,
    #[prost(string, repeated, tag = "2")]
    pub tags: Vec<String>,
    #[prost(string, tag = "3")]
    pub body: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Note {
    #[prost(string, tag = "1")]
    pub text: String,
}

pub type DocKey = (String, u64);

pub static DOCS: Table<DocKey, Doc> = Table::new("docs", 1).indexed(&[&BY_OWNER, &BY_TAG]);
pub static BY_OWNER: Index<String, DocKey, Doc> = Index::new("by_owner", |_, doc| vec![doc.owner.clone()]);
pub static BY_TAG: Index<String, DocKey, Doc> = Index::new("by_tag", |_, doc| doc.tags.clone());
pub static NOTES: Table<String, Note> = Table::new("notes", 1);

pub fn doc(owner: &str, tags: &[&str], body: &str) -> Doc {
    Doc { owner: owner.into(), tags: tags.iter().map(|tag| (*tag).to_owned()).collect(), body: body.into() }
}

/// Compiles `fdatasync.c` to a shared object; the error says why that is not possible here.
#[cfg(target_os = "linux")]
pub fn shim(folder: &Path) -> Result<PathBuf, String> {
    let (source, object) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fdatasync.c"), folder.join("shim.so"));
    let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
    let made =
        Command::new(&compiler).args(["-shared", "-fPIC", "-O1", "-o"]).args([&object, &source]).arg("-ldl").output();
    match made {
        Err(error) => Err(format!("no C compiler ({}: {error})", compiler.display())),
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Ok(object)
        }
    }
}
