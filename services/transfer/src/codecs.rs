//! The codec that blocks are sent with: the configured one, or the one that pays on their link. What is measured on a link
//! serves every task and is forgotten when the process ends. The decision itself is `AutoCodec`'s.

use std::collections::BTreeMap;

use mms_maxcompute::tunnel::{AutoCodec, BlockReceipt, Codec};
use parking_lot::Mutex;

use crate::config::BlockCodec;

/// The codec that is compared with no compression: every client of the vendor sends it, so every endpoint accepts it.
const PACKED: Codec = Codec::Lz4;
/// The most links that are remembered at once; a worker has one or two.
const LINKS_MAX: usize = 100;

/// The codecs of all links of this worker.
#[derive(Debug)]
pub struct Codecs {
    setting: BlockCodec,
    /// By tunnel endpoint.
    links: Mutex<BTreeMap<String, AutoCodec>>,
}

impl Codecs {
    pub fn new(setting: BlockCodec) -> Self {
        Self { setting, links: Mutex::default() }
    }

    /// The codec of the next block on this link.
    pub fn next(&self, link: &str) -> Codec {
        self.fixed().unwrap_or_else(|| self.of(link, |auto| auto.next()))
    }

    /// Learns from a block that was sent.
    pub fn arrived(&self, link: &str, block: &BlockReceipt) {
        if self.fixed().is_none() {
            self.of(link, |auto| auto.learn(block));
        }
    }

    /// The codec in use on this link, and a line for the task's log that says which it is and why.
    pub fn told(&self, link: &str) -> (Codec, String) {
        match self.fixed() {
            Some(codec) => (codec, format!("codec {}: transfer.codec says so", codec.name())),
            None => {
                let (codec, why) = self.of(link, |auto| auto.in_use());
                (codec, format!("codec {}: transfer.codec is auto, and {why}", codec.name()))
            }
        }
    }

    fn fixed(&self) -> Option<Codec> {
        match self.setting {
            BlockCodec::Auto => None,
            BlockCodec::None => Some(Codec::None),
            BlockCodec::Zstd => Some(Codec::Zstd),
            BlockCodec::Lz4 => Some(Codec::Lz4),
            BlockCodec::Deflate => Some(Codec::Deflate),
        }
    }

    fn of<T>(&self, link: &str, what: impl FnOnce(&mut AutoCodec) -> T) -> T {
        let mut links = self.links.lock();
        if links.len() >= LINKS_MAX && !links.contains_key(link) {
            // They are learned again within a few blocks.
            links.clear();
        }
        what(links.entry(link.to_owned()).or_insert_with(|| AutoCodec::new(PACKED)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A block of 64 MiB that waited this long for its link.
    fn waited(seconds: u64) -> BlockReceipt {
        let waiting = Duration::from_secs(seconds);
        BlockReceipt { arrow_bytes: 64 << 20, wire_bytes: 64 << 20, waiting, ..BlockReceipt::default() }
    }

    #[test]
    fn each_link_has_a_choice_of_its_own() {
        let codecs = Codecs::new(BlockCodec::Auto);
        assert_eq!(codecs.next("http://slow"), Codec::None);
        codecs.arrived("http://slow", &waited(10));
        codecs.arrived("http://fast", &waited(0));
        assert_eq!((codecs.next("http://slow"), codecs.next("http://fast")), (Codec::Lz4, Codec::None));
        let (_, told) = codecs.told("http://fast");
        assert!(told.starts_with("codec none: transfer.codec is auto, and the link keeps up"), "{told}");
    }

    #[test]
    fn a_codec_by_name_is_the_codec_whatever_is_measured() {
        for (setting, codec) in [
            (BlockCodec::None, Codec::None),
            (BlockCodec::Lz4, Codec::Lz4),
            (BlockCodec::Zstd, Codec::Zstd),
            (BlockCodec::Deflate, Codec::Deflate),
        ] {
            let codecs = Codecs::new(setting);
            codecs.arrived("http://slow", &waited(10));
            assert_eq!(codecs.next("http://slow"), codec);
            assert_eq!(codecs.told("http://slow"), (codec, format!("codec {}: transfer.codec says so", codec.name())));
            assert_eq!(serde_json::to_value(setting).expect("a name"), codec.name());
        }
    }

    #[test]
    fn links_are_bounded() {
        let codecs = Codecs::new(BlockCodec::Auto);
        for link in 0..LINKS_MAX * 3 {
            codecs.arrived(&link.to_string(), &waited(1));
        }
        assert!(codecs.links.lock().len() <= LINKS_MAX);
    }
}
