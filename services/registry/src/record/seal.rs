//! The record of sealed secrets.

/// The secrets of one resource, encrypted with a data key that is wrapped by a key-encryption key.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Sealed {
    /// The id of the key-encryption key.
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
    /// Authenticated along with the secrets, so that an older version cannot replace a newer one unnoticed.
    #[prost(uint64, tag = "6")]
    pub version: u64,
}
