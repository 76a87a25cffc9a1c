//! Sealed secrets, and what a request id did.

/// The secrets of one resource: encrypted with a key of their own, which is wrapped by a key-encryption key.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Sealed {
    /// The key-encryption key.
    #[prost(string, tag = "1")]
    pub key_id: String,
    #[prost(bytes = "vec", tag = "2")]
    pub wrap_nonce: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub wrapped_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub nonce: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    pub ciphertext: Vec<u8>,
    /// Part of what is authenticated, so that an old version cannot be put back in the place of a newer one.
    #[prost(uint64, tag = "6")]
    pub version: u64,
}
