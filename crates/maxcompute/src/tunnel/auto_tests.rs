//! Tests the choice against simulated links, which differ in how fast rows come, what compressing costs and saves, and how fast
//! the link is.

use proptest::prelude::*;

use super::*;

/// A simulated source of rows and its link, in ms per MiB of rows.
#[derive(Debug, Clone, Copy)]
struct World {
    /// Time to produce a MiB of rows before it is compressed and sent.
    making: f64,
    packing: f64,
    ratio: f64,
    /// Time that a MiB of rows takes on the link.
    link: f64,
    /// Error of the measurements, as a part of their value.
    noise: f64,
}

impl World {
    /// Time spent waiting for the link, uncompressed and compressed.
    fn waiting(&self) -> [f64; 2] {
        [self.link - self.making, self.link * self.ratio - self.making - self.packing].map(|wait| wait.max(0.0))
    }

    fn costs(&self) -> [f64; 2] {
        let [plain, packed] = self.waiting();
        [plain, packed + self.packing]
    }

    /// A block of this many MiB; `luck`, from -1 to 1, scales the measurement error.
    fn block(&self, codec: Codec, mib: f64, luck: f64) -> BlockReceipt {
        let packed = codec != Codec::None;
        let bytes = mib * f64::from(1 << 20);
        let time = |ms: f64| Duration::from_secs_f64(ms * mib * (1.0 + luck * self.noise) / 1e3);
        BlockReceipt {
            codec,
            arrow_bytes: bytes as u64,
            wire_bytes: (bytes * if packed { self.ratio } else { 1.0 }) as u64,
            packing: if packed { time(self.packing) } else { Duration::ZERO },
            waiting: time(self.waiting()[usize::from(packed)]),
            ..BlockReceipt::default()
        }
    }
}

/// Sends blocks. Returns whether each was compressed, and how often the choice changed.
fn send(auto: &mut AutoCodec, world: World, mib: f64, luck: impl IntoIterator<Item = f64>) -> (Vec<bool>, usize) {
    let (mut sent, mut changes) = (Vec::new(), 0);
    for luck in luck {
        let codec = auto.next();
        let before = auto.in_use().0;
        auto.learn(&world.block(codec, mib, luck));
        changes += usize::from(auto.in_use().0 != before);
        sent.push(codec != Codec::None);
    }
    (sent, changes)
}

fn share(sent: &[bool]) -> f64 {
    sent.iter().filter(|packed| **packed).count() as f64 / sent.len() as f64
}

fn world() -> impl Strategy<Value = World> {
    (0.1..20.0, PACKING_GUESS..10.0, 0.1..1.05, 0.1..200.0, 0.0..0.1)
        .prop_map(|(making, packing, ratio, link, noise)| World { making, packing, ratio, link, noise })
}

fn lucks(blocks: usize) -> impl Strategy<Value = Vec<f64>> {
    proptest::collection::vec(-1.0..1.0, blocks)
}

const FAST: World = World { making: 4.0, packing: 2.0, ratio: 0.5, link: 1.0, noise: 0.1 };
const SLOW: World = World { link: 100.0, ..FAST };

proptest! {
    #[test]
    fn the_faster_way_is_found_kept_and_seldom_left(world in world(), luck in lucks(400), mib in 1.0..300.0) {
        let mut auto = AutoCodec::new(Codec::Lz4);
        let (sent, changes) = send(&mut auto, world, mib, luck);
        let [plain, packed] = world.costs();
        let late = share(&sent[100..]);
        if packed < plain * 0.6 && world.ratio < 0.94 {
            prop_assert!(late > 0.8, "{late} of the blocks compressed, {:?}", auto.in_use());
        }
        if packed > plain * 1.3 {
            prop_assert!(late < 0.2, "{late} of the blocks compressed, {:?}", auto.in_use());
        }
        prop_assert!(changes <= 2, "{changes} changes");
    }

    #[test]
    fn a_link_that_is_not_waited_for_never_sees_a_compressed_block(world in world(), luck in lucks(200)) {
        let world = World { link: world.making * 0.9, ..world };
        let (sent, _) = send(&mut AutoCodec::new(Codec::Lz4), world, 64.0, luck);
        prop_assert_eq!(share(&sent), 0.0);
    }

    #[test]
    fn rows_that_do_not_pack_are_sent_as_they_are(world in world(), luck in lucks(300)) {
        let world = World { ratio: 1.01, ..world };
        let (sent, changes) = send(&mut AutoCodec::new(Codec::Lz4), world, 64.0, luck);
        prop_assert!(share(&sent) < 0.15 && changes == 0, "{} and {changes} changes", share(&sent));
    }

    /// Whatever is measured, the other alternative is tried now and then, but not all the time.
    #[test]
    fn any_measurements_leave_one_way_in_use(worlds in proptest::collection::vec((world(), -1.0..1.0), 1..600)) {
        let mut auto = AutoCodec::new(Codec::Zstd);
        let (mut changes, mut tried) = (0, 0);
        for (world, luck) in &worlds {
            let (before, codec) = (auto.in_use().0, auto.next());
            prop_assert!(codec == Codec::None || codec == Codec::Zstd);
            tried += usize::from(codec != before);
            auto.learn(&world.block(codec, 64.0, *luck));
            changes += usize::from(auto.in_use().0 != before);
        }
        // Each try needs two measurements before it, even if every cost differs from the last.
        prop_assert!(tried <= worlds.len() / 2 + 1 && changes <= worlds.len() / 2 + 1, "{tried} {changes}");
    }
}

#[test]
fn one_lucky_try_changes_nothing() {
    let mut auto = AutoCodec::new(Codec::Lz4);
    // Only the first block found the target busy.
    send(&mut auto, SLOW, 64.0, [0.0]);
    let world = World { link: 6.0, ..FAST };
    let (sent, changes) = send(&mut auto, world, 64.0, std::iter::repeat_n(0.0, 200));
    assert!(changes == 0 && share(&sent) < 0.05, "{sent:?}");
}

#[test]
fn a_link_that_changes_is_noticed() {
    let mut auto = AutoCodec::new(Codec::Lz4);
    let even = |blocks| std::iter::repeat_n(0.0, blocks);
    assert_eq!(auto.in_use(), (Codec::None, Reason::NothingMeasured));
    for _ in 0..3 {
        // Enough blocks to outlast the longest pause.
        let (sent, changes) = send(&mut auto, SLOW, 64.0, even(200));
        assert!(share(&sent) > 0.9 && changes == 1 && !sent[0], "{sent:?}");
        assert!(matches!(auto.in_use(), (Codec::Lz4, Reason::LinkIsSlow { .. })));
        let (sent, changes) = send(&mut auto, FAST, 64.0, even(200));
        assert!(share(&sent) < 0.1 && changes == 1, "{sent:?}");
        assert!(matches!(auto.in_use(), (Codec::None, Reason::LinkKeepsUp { .. })), "{:?}", auto.in_use());
    }
}

#[test]
fn a_far_end_that_is_slow_itself_gets_rows_as_they_are() {
    // The link takes a MiB of rows no faster when they are compressed.
    let mut auto = AutoCodec::new(Codec::Lz4);
    let mut packed = 0;
    for _ in 0..200 {
        let codec = auto.next();
        let wait = if codec == Codec::None { 6.0 } else { 4.0 };
        let world = World { making: 0.0, link: wait, packing: 2.0, ratio: 1.0, noise: 0.0 };
        let mut block = world.block(codec, 64.0, 0.0);
        block.waiting = Duration::from_secs_f64(wait * 64.0 / 1e3);
        block.wire_bytes /= 2;
        auto.learn(&block);
        packed += usize::from(codec != Codec::None);
    }
    assert!(packed < 10, "{packed}");
    assert!(matches!(auto.in_use(), (Codec::None, Reason::NoGain { .. })), "{:?}", auto.in_use());
}

#[test]
fn small_blocks_are_taken_together_and_other_codecs_tell_nothing() {
    let mut auto = AutoCodec::new(Codec::Lz4);
    let (sent, _) = send(&mut auto, SLOW, 0.5, std::iter::repeat_n(0.0, 8));
    assert_eq!(share(&sent), 0.0);
    assert_eq!(auto.next(), Codec::Lz4, "4 MiB told that the link is waited for");
    auto.learn(&SLOW.block(Codec::Deflate, 64.0, 0.0));
    assert!(matches!(auto.in_use(), (Codec::None, Reason::Trying { .. })), "{:?}", auto.in_use());
}

#[test]
fn a_reason_is_a_sentence_with_figures() {
    let mut auto = AutoCodec::new(Codec::Lz4);
    send(&mut auto, SLOW, 64.0, std::iter::repeat_n(0.0, 4));
    let said = auto.in_use().1.to_string();
    let told = "the link is the bottleneck (96.0 ms per MiB waiting for uncompressed rows; compressed: 44.0 ms per MiB \
                waiting and 2.0 compressing, to 50 %)";
    assert_eq!(said, told);
}
