//! Decides whether the next blocks are worth compressing, from what earlier blocks cost. Pure: takes the costs of blocks, returns
//! a codec and the reason for it. It reads no clock and knows nothing of the link.
//!
//! The cost of a block is the time spent compressing it plus the time during which the target did not accept data that was ready,
//! up to its answer, per MiB of rows. Everything else that a block takes is the same with and without compression, so the cheaper
//! alternative is the faster one; if both cost the same, uncompressed rows leave the processor free for others. The alternative
//! that is not in use is tried now and then, less often each time it loses, and only where it can win: a link that is never
//! waited for never gets a compressed block.

use std::fmt;
use std::time::Duration;

use super::block::BlockReceipt;
use super::codec::Codec;

/// Minimum number of row bytes for a measurement; smaller blocks are added up.
const MEASURED_BYTES: u64 = 4 << 20;
/// Assumed cost of compressing until it has been measured, in ms per MiB: 500 MB/s.
const PACKING_GUESS: f64 = 2.0;
/// Compressed blocks must cost less than this part of uncompressed ones to be used. Once in use, they stay until they cost as
/// much as the others.
const WORTH: f64 = 0.75;
/// Rows that compress to more than this part of their size are not worth the time.
const PACKS: f64 = 0.95;
/// Number of successive tries that compressed blocks must win before they are used. A single win may be luck, or a machine that
/// was busy.
const WINS: u32 = 2;
/// Measurements between two tries of the other alternative: at first, and at most.
const PAUSE: [u32; 2] = [8, 64];
/// A cost that changed by this factor, and by at least this many ms per MiB, means another link: earlier findings do not apply to
/// it.
const CHANGED: (f64, f64) = (2.0, 1.0);

/// What sending a MiB of rows cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Time spent compressing, in ms per MiB.
    pub packing: f64,
    /// Time spent waiting for the link, in ms per MiB.
    pub waiting: f64,
    /// Bytes on the wire, as a part of the bytes of rows.
    pub ratio: f64,
}

impl Cost {
    fn total(&self) -> f64 {
        self.packing + self.waiting
    }

    /// Whether the cost differs so much from an earlier one that it must be another link's.
    fn is_other(&self, then: &Self) -> bool {
        let (more, less) = (self.total().max(then.total()), self.total().min(then.total()));
        more > less * CHANGED.0 && more - less > CHANGED.1
    }

    /// The average of this cost and a newer one; the newer one alone if it must be another link's.
    fn blend(self, new: Self) -> Self {
        if new.is_other(&self) {
            return new;
        }
        let half = |a: f64, b: f64| (a + b) / 2.0;
        Self {
            packing: half(self.packing, new.packing),
            waiting: half(self.waiting, new.waiting),
            ratio: half(self.ratio, new.ratio),
        }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { packing, waiting, ratio } = self;
        let percent = ratio * 100.0;
        write!(f, "{waiting:.1} ms per MiB waiting and {packing:.1} compressing, to {percent:.0} %")
    }
}

/// Why blocks are compressed, or not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reason {
    /// Too little has been sent to tell.
    NothingMeasured,
    /// The link is waited for, and compressed blocks are being tried.
    Trying {
        /// Cost of uncompressed blocks.
        plain: Cost,
    },
    /// The link accepts uncompressed rows about as fast as they are produced: compressing costs more than it can gain.
    LinkKeepsUp {
        /// Cost of uncompressed blocks.
        plain: Cost,
    },
    /// The link is waited for, but compressed blocks take no less time.
    NoGain {
        /// Cost of uncompressed blocks.
        plain: Cost,
        /// Cost of compressed blocks.
        packed: Cost,
    },
    /// The rows do not get smaller.
    DoesNotPack {
        /// Cost of compressed blocks.
        packed: Cost,
    },
    /// The link is the bottleneck, so compressing pays.
    LinkIsSlow {
        /// Cost of uncompressed blocks.
        plain: Cost,
        /// Cost of compressed blocks.
        packed: Cost,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingMeasured => f.write_str("too little was sent to tell whether the link is the bottleneck"),
            Self::Trying { plain } => {
                write!(
                    f,
                    "the target is waited for ({:.1} ms per MiB): compressed blocks are being tried",
                    plain.waiting
                )
            }
            Self::LinkKeepsUp { plain } => {
                write!(f, "the link keeps up ({:.1} ms per MiB waiting), compressing would cost more", plain.waiting)
            }
            Self::NoGain { plain, packed } => write!(
                f,
                "the target is waited for, and compressed blocks are no faster ({:.1} ms per MiB waiting; compressed: \
                 {packed})",
                plain.waiting
            ),
            Self::DoesNotPack { packed } => write!(f, "the rows do not get smaller (compressed: {packed})"),
            Self::LinkIsSlow { plain, packed } => write!(
                f,
                "the link is the bottleneck ({:.1} ms per MiB waiting for uncompressed rows; compressed: {packed})",
                plain.waiting
            ),
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    arrow_bytes: u64,
    wire_bytes: u64,
    packing: Duration,
    waiting: Duration,
}

impl Sum {
    /// Adds a block. Once enough bytes have been added, returns their cost and starts over.
    fn add(&mut self, block: &BlockReceipt) -> Option<Cost> {
        self.arrow_bytes += block.arrow_bytes;
        self.wire_bytes += block.wire_bytes;
        self.packing += block.packing;
        self.waiting += block.waiting;
        if self.arrow_bytes < MEASURED_BYTES {
            return None;
        }
        let Self { arrow_bytes, wire_bytes, packing, waiting } = std::mem::take(self);
        let bytes = arrow_bytes as f64;
        let a_mib = |time: Duration| time.as_secs_f64() * 1e3 * f64::from(1 << 20) / bytes;
        Some(Cost { packing: a_mib(packing), waiting: a_mib(waiting), ratio: wire_bytes as f64 / bytes })
    }
}

/// One alternative: its recent cost, and blocks that are not yet enough for a measurement.
#[derive(Debug, Clone, Copy, Default)]
struct Way {
    cost: Option<Cost>,
    sum: Sum,
}

/// The choice between compressed and uncompressed blocks for one link.
#[derive(Debug, Clone)]
pub struct AutoCodec {
    codec: Codec,
    plain: Way,
    packed: Way,
    /// Whether blocks are compressed now, and why.
    packs: bool,
    reason: Reason,
    /// Whether the other alternative is being tried.
    trying: bool,
    /// Measurements since the last try ended, and how many are needed before the next.
    since: u32,
    pause: u32,
    /// Successive tries that compressed blocks won.
    wins: u32,
    /// What the alternative in use cost when the last try ended.
    then: Option<Cost>,
}

impl AutoCodec {
    /// A choice between uncompressed rows and this codec. It begins with uncompressed ones.
    #[must_use]
    pub fn new(codec: Codec) -> Self {
        Self {
            codec,
            plain: Way::default(),
            packed: Way::default(),
            packs: false,
            reason: Reason::NothingMeasured,
            trying: false,
            since: 0,
            pause: PAUSE[0],
            wins: 0,
            then: None,
        }
    }

    /// The codec for the next block.
    #[must_use]
    pub fn next(&self) -> Codec {
        self.codec_of(self.packs != self.trying)
    }

    /// The codec in use, even while the other alternative is tried, and the reason for it.
    #[must_use]
    pub fn in_use(&self) -> (Codec, Reason) {
        (self.codec_of(self.packs), self.reason)
    }

    fn codec_of(&self, packs: bool) -> Codec {
        if packs { self.codec } else { Codec::None }
    }

    /// Learns from a block that arrived, also from one that was sent under an earlier choice. Blocks of a third codec are
    /// ignored.
    pub fn learn(&mut self, block: &BlockReceipt) {
        let packed = match block.codec {
            Codec::None => false,
            codec if codec == self.codec => true,
            _ => return,
        };
        let way = if packed { &mut self.packed } else { &mut self.plain };
        let Some(measured) = way.sum.add(block) else { return };
        if packed == self.packs {
            way.cost = Some(way.cost.map_or(measured, |cost| cost.blend(measured)));
            self.since = self.since.saturating_add(1);
            self.settle(measured);
        } else {
            // It is tried so seldom that only its last cost describes the link as it is now.
            way.cost = Some(measured);
            self.compare();
        }
    }

    /// Decides what to do next after the alternative in use was measured again.
    fn settle(&mut self, measured: Cost) {
        if self.packs {
            if measured.ratio > PACKS {
                self.use_plain(Reason::DoesNotPack { packed: measured });
            } else if self.since >= self.pause || self.changed() {
                self.trying = true;
            }
            return;
        }
        let Some(plain) = self.plain.cost else { return };
        let packing = self.packed.cost.map_or(PACKING_GUESS, |cost| cost.packing);
        if plain.total() * WORTH <= packing {
            (self.trying, self.wins, self.pause) = (false, 0, self.pause.max(PAUSE[0]));
            self.reason = Reason::LinkKeepsUp { plain };
        } else {
            let never = self.packed.cost.is_none();
            self.trying = never || self.since >= self.pause || self.changed();
            if never {
                self.reason = Reason::Trying { plain };
            }
        }
    }

    /// Whether the alternative in use costs something else than when the other one was tried last.
    fn changed(&self) -> bool {
        let now = if self.packs { self.packed.cost } else { self.plain.cost };
        let (Some(now), Some(then)) = (now, self.then) else { return false };
        self.since >= 2 && now.is_other(&then)
    }

    /// Compares the two after the other alternative was measured.
    fn compare(&mut self) {
        let (Some(plain), Some(packed)) = (self.plain.cost, self.packed.cost) else { return };
        let factor = if self.packs { 1.0 } else { WORTH };
        let pays = packed.ratio <= PACKS && packed.total() < plain.total() * factor;
        self.wins = if pays && !self.packs { self.wins + 1 } else { 0 };
        if (1..WINS).contains(&self.wins) {
            // Tried once more, after the alternative in use was measured again.
            self.reason = Reason::Trying { plain };
            self.pause = 1;
            return self.rest();
        }
        if pays == self.packs {
            self.pause = (self.pause * 2).clamp(PAUSE[0], PAUSE[1]);
        } else {
            self.pause = PAUSE[0];
        }
        self.packs = pays;
        self.reason = match (pays, packed.ratio <= PACKS) {
            (true, _) => Reason::LinkIsSlow { plain, packed },
            (false, false) => Reason::DoesNotPack { packed },
            (false, true) if plain.total() * WORTH <= packed.packing => Reason::LinkKeepsUp { plain },
            (false, true) => Reason::NoGain { plain, packed },
        };
        self.rest();
    }

    fn use_plain(&mut self, reason: Reason) {
        (self.packs, self.reason, self.pause, self.wins) = (false, reason, PAUSE[0], 0);
        self.rest();
    }

    fn rest(&mut self) {
        (self.trying, self.since) = (false, 0);
        self.then = if self.packs { self.packed.cost } else { self.plain.cost };
    }
}

#[cfg(test)]
#[path = "auto_tests.rs"]
mod tests;
