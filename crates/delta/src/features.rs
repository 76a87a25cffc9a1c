//! The reader features of Delta tables that this crate supports.

/// Features of the Delta protocol that this reader applies, or that need nothing from a reader. Columns of types that some of
/// them introduce are blocked one by one in the plan; a table that merely names such a feature is read.
pub const READER_FEATURES: &[&str] = &[
    "columnMapping",
    "deletionVectors",
    "domainMetadata",
    "inCommitTimestamp",
    "timestampNtz",
    "typeWidening",
    "typeWidening-preview",
    "v2Checkpoint",
    "vacuumProtocolCheck",
    "variantShredding",
    "variantShredding-preview",
    "variantType",
    "variantType-preview",
];

/// The features among these that this reader does not support.
pub(crate) fn lacking(features: &[String]) -> Vec<&str> {
    features.iter().map(String::as_str).filter(|feature| !READER_FEATURES.contains(feature)).collect()
}
