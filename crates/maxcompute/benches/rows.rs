//! Measures encoding rows into the bytes of a block: [`BlockEncoder`] against a minimal loop that does only what the format
//! requires (Arrow's encoder, chunks of 64 KiB, both CRCs, all bytes discarded). `cargo bench -p mms-maxcompute` prints both, and
//! at the end the processor time of each.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;
use std::io::{self, Write};
use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::ipc::writer::StreamWriter;
use divan::Bencher;
use divan::counter::BytesCount;
use mms_maxcompute::tunnel::{BlockEncoder, CHUNK_BYTES, Codec};

const ROWS: usize = 8192;
const BATCHES: usize = 64;

/// Twelve columns of mixed types; half of them have an eighth of their values NULL.
static BATCH: LazyLock<RecordBatch> = LazyLock::new(|| {
    let mut seed = 1_u64;
    let mut next = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33).cast_signed()
    };
    let mut values = |rows: usize| (0..rows).map(|_| next()).collect::<Vec<i64>>();
    let some = |value: &i64| (value % 8 != 0).then_some(*value);
    let texts: Vec<String> =
        values(ROWS).iter().map(|v| format!("row {v} {}", "x".repeat((v % 23) as usize))).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int8Array::from_iter_values(values(ROWS).iter().map(|v| *v as i8))),
        Arc::new(Int16Array::from_iter(values(ROWS).iter().map(|v| some(v).map(|v| v as i16)))),
        Arc::new(Int32Array::from_iter_values(values(ROWS).iter().map(|v| *v as i32))),
        Arc::new(Int64Array::from_iter(values(ROWS).iter().map(some))),
        Arc::new(Float32Array::from_iter_values(values(ROWS).iter().map(|v| *v as f32))),
        Arc::new(Float64Array::from_iter(values(ROWS).iter().map(|v| some(v).map(|v| v as f64)))),
        Arc::new(BooleanArray::from_iter(values(ROWS).iter().map(|v| some(v).map(|v| v % 3 == 0)))),
        Arc::new(Date32Array::from_iter_values(values(ROWS).iter().map(|v| (v % 20_000) as i32))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(values(ROWS))),
        Arc::new(Decimal128Array::from_iter(values(ROWS).iter().map(|v| some(v).map(i128::from)))),
        Arc::new(StringArray::from_iter_values(&texts)),
        Arc::new(BinaryArray::from_iter(texts.iter().map(|text| (text.len() % 5 != 0).then_some(text.as_bytes())))),
    ];
    RecordBatch::try_from_iter(columns.into_iter().enumerate().map(|(at, column)| (format!("c{at}"), column))).unwrap()
});

/// Frames and discards the bytes.
#[derive(Default)]
struct Sink {
    in_chunk: usize,
    chunk: u32,
    whole: u32,
    bytes: u64,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let now = &bytes[..bytes.len().min(CHUNK_BYTES as usize - self.in_chunk)];
        self.chunk = crc32c::crc32c_append(self.chunk, now);
        self.whole = crc32c::crc32c_append(self.whole, now);
        black_box(now);
        self.in_chunk += now.len();
        self.bytes += now.len() as u64;
        if self.in_chunk == CHUNK_BYTES as usize {
            black_box(self.chunk.to_be_bytes());
            (self.in_chunk, self.chunk) = (0, 0);
        }
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The minimal loop.
fn straight() -> u64 {
    let mut writer = StreamWriter::try_new(Sink::default(), &BATCH.schema()).unwrap();
    for _ in 0..BATCHES {
        writer.write(black_box(&BATCH)).unwrap();
    }
    let sink = writer.into_inner().unwrap();
    black_box(sink.whole);
    sink.bytes
}

/// Our encoder.
fn block(codec: Codec) -> u64 {
    let mut encoder = BlockEncoder::new(&BATCH.schema(), codec).unwrap();
    for _ in 0..BATCHES {
        for piece in encoder.encode(black_box(&BATCH)).unwrap() {
            black_box(piece.unwrap());
        }
    }
    encoder.finish().unwrap().arrow_bytes
}

#[divan::bench]
fn straight_loop(bencher: Bencher) {
    bencher.counter(BytesCount::new(straight())).bench(straight);
}

#[divan::bench(args = [Codec::None, Codec::Lz4, Codec::Zstd, Codec::Deflate])]
fn block_encoder(bencher: Bencher, codec: Codec) {
    bencher.counter(BytesCount::new(block(codec))).bench(|| block(codec));
}

/// Processor time that this process has used, in nanoseconds.
fn busy() -> u64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// The lowest processor time of several rounds, in s/GB: other load on the machine can only add to it.
fn cpu(what: impl Fn() -> u64) -> f64 {
    let round = || {
        let before = busy();
        let bytes: u64 = (0..10).map(|_| what()).sum();
        (busy() - before) as f64 / bytes as f64
    };
    (0..10).map(|_| round()).fold(f64::MAX, f64::min)
}

fn main() {
    divan::main();
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let limit = cpu(straight);
    println!("\nCPU s/GB: {limit:.3} the straight loop");
    for codec in [Codec::None, Codec::Lz4, Codec::Zstd] {
        let ours = cpu(|| block(codec));
        println!("CPU s/GB: {ours:.3} a block, codec {} ({:.2} of the straight loop)", codec.name(), ours / limit);
    }
}
