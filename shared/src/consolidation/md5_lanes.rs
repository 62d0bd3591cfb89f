//! MD5 of several files at once, each in a lane of the processor's vector registers.
//!
//! Every step of MD5 needs the one before, so hashing one file leaves most of the processor idle. The
//! steps of different files do not need each other.
//!
//! <https://www.rfc-editor.org/rfc/rfc1321>

use std::array::from_fn;

use wide::u32x4;

/// How many files are hashed at once.
pub const LANES: usize = 8;

/// MD5 takes blocks of so many bytes.
pub(super) const BLOCK: usize = 64;

/// A number for each lane. There are two registers of them, so that the steps of one go on while those
/// of the other wait.
type Words = [u32x4; LANES / 4];

const BEGINNING: [u32; 4] = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476];

/// What each step adds: the sine of its number.
const SINES: [u32; 64] = [
    0xD76A_A478,
    0xE8C7_B756,
    0x2420_70DB,
    0xC1BD_CEEE,
    0xF57C_0FAF,
    0x4787_C62A,
    0xA830_4613,
    0xFD46_9501,
    0x6980_98D8,
    0x8B44_F7AF,
    0xFFFF_5BB1,
    0x895C_D7BE,
    0x6B90_1122,
    0xFD98_7193,
    0xA679_438E,
    0x49B4_0821,
    0xF61E_2562,
    0xC040_B340,
    0x265E_5A51,
    0xE9B6_C7AA,
    0xD62F_105D,
    0x0244_1453,
    0xD8A1_E681,
    0xE7D3_FBC8,
    0x21E1_CDE6,
    0xC337_07D6,
    0xF4D5_0D87,
    0x455A_14ED,
    0xA9E3_E905,
    0xFCEF_A3F8,
    0x676F_02D9,
    0x8D2A_4C8A,
    0xFFFA_3942,
    0x8771_F681,
    0x6D9D_6122,
    0xFDE5_380C,
    0xA4BE_EA44,
    0x4BDE_CFA9,
    0xF6BB_4B60,
    0xBEBF_BC70,
    0x289B_7EC6,
    0xEAA1_27FA,
    0xD4EF_3085,
    0x0488_1D05,
    0xD9D4_D039,
    0xE6DB_99E5,
    0x1FA2_7CF8,
    0xC4AC_5665,
    0xF429_2244,
    0x432A_FF97,
    0xAB94_23A7,
    0xFC93_A039,
    0x655B_59C3,
    0x8F0C_CC92,
    0xFFEF_F47D,
    0x8584_5DD1,
    0x6FA8_7E4F,
    0xFE2C_E6E0,
    0xA301_4314,
    0x4E08_11A1,
    0xF753_7E82,
    0xBD3A_F235,
    0x2AD7_D2BB,
    0xEB86_D391,
];

/// The sums of all lanes so far.
pub(super) struct Md5Lanes {
    state: [[u32; LANES]; 4],
}

impl Md5Lanes {
    pub(super) fn new() -> Self {
        Self {
            state: BEGINNING.map(|word| [word; LANES]),
        }
    }

    /// Begins a lane anew.
    pub(super) fn begin(&mut self, lane: usize) {
        for (words, word) in self.state.iter_mut().zip(BEGINNING) {
            words[lane] = word;
        }
    }

    /// The sum of what a lane was given, which has to include the padding.
    pub(super) fn sum(&self, lane: usize) -> [u8; 16] {
        let mut sum = [0; 16];
        for (bytes, words) in sum.chunks_exact_mut(4).zip(&self.state) {
            bytes.copy_from_slice(&words[lane].to_le_bytes());
        }
        sum
    }

    /// Takes as many blocks from every lane as the shortest has.
    pub(super) fn update(&mut self, lanes: [&[u8]; LANES]) {
        let mut lanes = lanes.map(|lane| lane.as_chunks::<BLOCK>().0.iter());
        let mut state = self.state.map(from_lanes);
        let count = lanes.iter().map(ExactSizeIterator::len).min();
        for _ in 0..count.unwrap_or_default() {
            let mut blocks = [&[0; BLOCK]; LANES];
            for (block, lane) in blocks.iter_mut().zip(&mut lanes) {
                if let Some(next) = lane.next() {
                    *block = next;
                }
            }
            add_blocks(&mut state, blocks);
        }
        self.state = state.map(|[low, high]| {
            let (low, high) = (low.to_array(), high.to_array());
            from_fn(|lane| if lane < 4 { low[lane] } else { high[lane - 4] })
        });
    }
}

fn from_lanes(lanes: [u32; LANES]) -> Words {
    from_fn(|half| u32x4::new(from_fn(|lane| lanes[4 * half + lane])))
}

/// Four rounds of 16 steps, with a function, an order of the message's words, and shifts each.
#[inline]
fn add_blocks(state: &mut [Words; 4], blocks: [&[u8; BLOCK]; LANES]) {
    let message: [Words; 16] = from_fn(|word| {
        from_lanes(blocks.map(|block| u32::from_le_bytes(from_fn(|byte| block[4 * word + byte]))))
    });
    let before = *state;
    let mut words = before;
    round::<7, 12, 17, 22, 0>(
        &mut words,
        &message,
        |step| step,
        |b, c, d| d ^ (b & (c ^ d)),
    );
    let order = |step| 5 * step + 1;
    round::<5, 9, 14, 20, 16>(&mut words, &message, order, |b, c, d| c ^ (d & (b ^ c)));
    let order = |step| 3 * step + 5;
    round::<4, 11, 16, 23, 32>(&mut words, &message, order, |b, c, d| b ^ c ^ d);
    round::<6, 10, 15, 21, 48>(
        &mut words,
        &message,
        |step| 7 * step,
        |b, c, d| c ^ (b | !d),
    );
    *state = from_fn(|word| from_fn(|half| before[word][half] + words[word][half]));
}

#[inline]
fn round<const S0: u32, const S1: u32, const S2: u32, const S3: u32, const FIRST: usize>(
    [a, b, c, d]: &mut [Words; 4],
    message: &[Words; 16],
    order: impl Fn(usize) -> usize,
    mix: impl Fn(u32x4, u32x4, u32x4) -> u32x4,
) {
    let mix = |b: &Words, c: &Words, d: &Words| from_fn(|half| mix(b[half], c[half], d[half]));
    for four in 0..4 {
        let at = 4 * four;
        let word = |step: usize| (&message[order(at + step) % 16], SINES[FIRST + at + step]);
        step::<S0>(a, b, mix(b, c, d), word(0));
        step::<S1>(d, a, mix(a, b, c), word(1));
        step::<S2>(c, d, mix(d, a, b), word(2));
        step::<S3>(b, c, mix(c, d, a), word(3));
    }
}

#[inline]
fn step<const SHIFT: u32>(
    word: &mut Words,
    next: &Words,
    mixed: Words,
    (message, sine): (&Words, u32),
) {
    let before = *word;
    *word = from_fn(|half| {
        let sum = before[half] + mixed[half] + (message[half] + u32x4::splat(sine));
        ((sum << SHIFT) | (sum >> (u32::BITS - SHIFT))) + next[half]
    });
}
