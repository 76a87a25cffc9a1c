//! What a table may ask of its readers, and this one has.

/// Features of the Delta protocol that this reader applies, or that leave nothing to apply: columns of the types that some
/// of them bring are refused by column in the plan, and a table that merely names such a feature is read.
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

/// Features that a table asks for and this reader does not have.
pub(crate) fn lacking(features: &[String]) -> Vec<&str> {
    features.iter().map(String::as_str).filter(|feature| !READER_FEATURES.contains(feature)).collect()
}
