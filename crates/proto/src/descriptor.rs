//! The compiled contracts at run time: descriptors, and for each method its least role and what else its options say.
//!
//! Everything is read once, at first use, from the descriptor set that the build embeds.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, FileDescriptor, MessageDescriptor};

use crate::types::v1::Role;

/// The encoded descriptors of all contracts and of what they import: what gRPC reflection serves.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mms.binpb"));

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the build checked the embedded descriptors"));

static METHODS: LazyLock<HashMap<String, Method>> = LazyLock::new(|| {
    let extension =
        pool().get_extension_by_name("mms.type.v1.least_role").expect("the build checked that least_role is defined");
    let not_yet = pool().get_extension_by_name("mms.type.v1.method_not_yet");
    let not_yet = not_yet.expect("the build checked that method_not_yet is defined");
    let mut methods = HashMap::new();
    for service in pool().services() {
        for method in service.methods() {
            let number = method.options().get_extension(&extension).as_enum_number().unwrap_or_default();
            let path = format!("/{}/{}", service.full_name(), method.name());
            methods.insert(
                path.clone(),
                Method {
                    path,
                    least_role: Role::try_from(number).unwrap_or(Role::Unspecified),
                    not_yet: method.options().get_extension(&not_yet).as_bool().unwrap_or_default(),
                    streams: method.is_server_streaming() || method.is_client_streaming(),
                    input: method.input(),
                },
            );
        }
    }
    methods
});

/// The comment above the element at `path` (as in `SourceCodeInfo`) of a file, on one line; empty when there is none.
pub fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let locations = file.file_descriptor_proto().source_code_info.iter().flat_map(|info| &info.location);
    let own = locations.filter(|location| location.path == path);
    let text: String = own.map(|location| location.leading_comments()).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A method, as its contract and its options describe it.
#[derive(Debug, Clone)]
pub struct Method {
    /// The path on the wire, as in `/mms.registry.v1.DataSourceService/GetDataSource`.
    pub path: String,
    /// The least role that a caller needs.
    pub least_role: Role,
    /// Whether this version answers every call UNIMPLEMENTED with reason NOT_YET.
    pub not_yet: bool,
    /// Whether the request or the answer is a stream.
    pub streams: bool,
    /// The type of the request.
    pub input: MessageDescriptor,
}

/// The descriptors of all contracts.
pub fn pool() -> &'static DescriptorPool {
    &POOL
}

/// The method with this path; `None` if no contract defines it.
pub fn method(path: &str) -> Option<&'static Method> {
    METHODS.get(path)
}

/// The least role that may call the method with this path; `None` if no contract defines it.
pub fn method_role(path: &str) -> Option<Role> {
    method(path).map(|method| method.least_role)
}

/// Every method of every contract, in no particular order.
pub fn methods() -> impl Iterator<Item = &'static Method> {
    METHODS.values()
}

/// The descriptor of a generated message.
pub fn message<T: prost::Name>() -> MessageDescriptor {
    pool().get_message_by_name(&T::full_name()).expect("generated messages and descriptors come from the same build")
}
