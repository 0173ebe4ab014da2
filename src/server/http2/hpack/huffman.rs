//! The Huffman code of strings in header blocks (RFC 7541, 5.2).

use super::HpackError;

/// The length of the code of each byte, in bits (RFC 7541, appendix B). The lengths determine the codes: shorter codes are
/// lower, and codes of one length are in the order of their bytes.
#[rustfmt::skip]
const CODE_BITS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];
/// Length of the longest code, in bits. The code for the end of a string has as many, all of them ones.
const MAX_BITS: usize = 30;

static CODES: Codes = Codes::new();

/// The codes, as they are looked up.
struct Codes {
    /// By the first byte of the input: the byte that it begins with, and the length of its code. The length is 0 if the code is
    /// longer than a byte.
    short: [(u8, u8); 256],
    /// By the length of a code: its first code, and the first one that is longer. Both are followed by zeros up to 32 bits.
    bounds: [(u32, u32); MAX_BITS + 1],
    /// By the length of a code: where its first byte is in `bytes`.
    starts: [usize; MAX_BITS + 1],
    /// All bytes in the order of their codes.
    bytes: [u8; 256],
}

impl Codes {
    const fn new() -> Self {
        let mut codes = Self {
            short: [(0, 0); 256],
            bounds: [(0, 0); MAX_BITS + 1],
            starts: [0; MAX_BITS + 1],
            bytes: [0; 256],
        };
        let (mut bits, mut code, mut count) = (1, 0u32, 0);
        while bits <= MAX_BITS {
            let first = code << (32 - bits);
            codes.starts[bits] = count;
            let mut byte = 0u8;
            loop {
                if CODE_BITS[byte as usize] as usize == bits {
                    codes.bytes[count] = byte;
                    count += 1;
                    if bits <= 8 {
                        let mut rest = 0;
                        while rest < 1 << (8 - bits) {
                            codes.short[(code << (8 - bits)) as usize + rest] =
                                (byte, CODE_BITS[byte as usize]);
                            rest += 1;
                        }
                    }
                    code += 1;
                }
                if byte == u8::MAX {
                    break;
                }
                byte += 1;
            }
            codes.bounds[bits] = (first, code << (32 - bits));
            code <<= 1;
            bits += 1;
        }
        codes
    }

    /// The first byte of input that goes on with these bits, and the length of its code.
    #[inline]
    fn first(&self, window: u64) -> Result<(u8, usize), HpackError> {
        let (byte, bits) = self.short[usize::from(window.to_be_bytes()[0])];
        match bits {
            0 => self.first_long(window),
            _ => Ok((byte, usize::from(bits))),
        }
    }

    /// The same for a code that is longer than a byte.
    #[cold]
    fn first_long(&self, window: u64) -> Result<(u8, usize), HpackError> {
        let [a, b, c, d, ..] = window.to_be_bytes();
        let top = u32::from_be_bytes([a, b, c, d]);
        for bits in 9..=MAX_BITS {
            let (first, end) = self.bounds[bits];
            if top < end {
                let index = usize::try_from((top - first) >> (32 - bits));
                let byte = self.starts[bits] + index.map_err(|_| HpackError)?;
                return Ok((self.bytes[byte], bits));
            }
        }
        Err(HpackError)
    }
}

/// Decodes `code`, and appends the string.
///
/// # Errors
/// It is no valid code.
pub(super) fn decode(code: &[u8], into: &mut Vec<u8>) -> Result<(), HpackError> {
    // The shortest codes have five bits.
    into.reserve(code.len() * 8 / 5 + 1);
    // The next bits are the highest ones. Zeros follow them.
    let (mut window, mut left) = (0u64, 0);
    let (words, rest) = code.as_chunks();
    for word in words {
        window |= u64::from(u32::from_be_bytes(*word)) << (32 - left);
        left += 32;
        while left >= MAX_BITS {
            let (byte, bits) = CODES.first(window)?;
            into.push(byte);
            window <<= bits;
            left -= bits;
        }
    }
    for byte in rest {
        window |= u64::from(*byte) << (56 - left);
        left += 8;
    }
    loop {
        let (byte, bits) = CODES.first(window)?;
        if bits > left {
            // RFC 7541, 5.2: the last byte is filled with ones.
            let ones = !(u64::MAX >> left);
            return match left < 8 && window == ones {
                true => Ok(()),
                false => Err(HpackError),
            };
        }
        into.push(byte);
        window <<= bits;
        left -= bits;
    }
}

/// True if no code in this string is longer than a byte. False also for some other strings. It costs much less than decoding.
pub(super) fn has_short_codes(code: &[u8]) -> bool {
    // The longer codes begin with seven ones.
    let mut bits = 0u64;
    for bytes in code.chunks(7) {
        bits &= 0xff;
        for byte in bytes {
            bits = bits << 8 | u64::from(*byte);
        }
        let pairs = bits & bits >> 1;
        let fours = pairs & pairs >> 2;
        if fours & fours >> 3 != 0 {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(code: &[u8]) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        decode(code, &mut text).ok().map(|()| text)
    }

    #[test]
    fn strings_of_the_rfc_are_decoded() {
        // RFC 7541, C.4 and C.6.
        for (code, text) in [
            (
                &b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"[..],
                "www.example.com",
            ),
            (b"\xa8\xeb\x10\x64\x9c\xbf", "no-cache"),
            (b"\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f", "custom-key"),
            (b"\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf", "custom-value"),
            (b"\xae\xc3\x77\x1a\x4b", "private"),
            (
                b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff",
                "Mon, 21 Oct 2013 20:13:21 GMT",
            ),
            (b"", ""),
        ] {
            assert_eq!(decoded(code).as_deref(), Some(text.as_bytes()));
        }
    }

    #[test]
    fn codes_of_all_lengths_are_those_of_the_rfc() {
        // RFC 7541, appendix B: the first and last codes of some lengths.
        for (byte, code, bits) in [
            (b'0', 0u32, 5),
            (b't', 0x9, 5),
            (b' ', 0x14, 6),
            (b'u', 0x2d, 6),
            (b'&', 0xf8, 8),
            (b'"', 0x3f9, 10),
            (b'>', 0xffb, 12),
            (b'<', 0x7ffc, 15),
            (b'`', 0x7ffd, 15),
            (0xc3, 0x7_fff1, 19),
            (199, 0x1ff_ffec, 25),
            (249, 0xfff_fffe, 28),
            (b'\n', 0x3fff_fffc, 30),
            (22, 0x3fff_fffe, 30),
        ] {
            // Filled with ones.
            let code: u64 = (u64::from(code) << (64 - bits)) | (u64::MAX >> bits);
            let length = usize::try_from(bits).unwrap().div_ceil(8);
            let code = &code.to_be_bytes()[..length];
            assert_eq!(decoded(code).as_deref(), Some(&[byte][..]), "{byte}");
        }
    }

    #[test]
    fn codes_that_are_longer_than_a_byte_are_found_wherever_they_are() {
        assert!(has_short_codes(b"\xa8\xeb\x10\x64\x9c\xbf"));
        for bits in 9..=MAX_BITS {
            let (first, end) = CODES.bounds[bits];
            for code in (first..end).step_by(1 << (32 - bits)) {
                for before in 0..64 {
                    let code = u128::from(code) << 64 >> before;
                    assert!(!has_short_codes(&code.to_be_bytes()));
                }
            }
        }
    }

    #[test]
    fn strings_that_do_not_end_as_they_must_are_refused() {
        // Zeros at the end; a whole byte of ones; the code for the end of a string.
        for code in [&b"\x00"[..], b"\xff", b"\x07\xff", b"\xff\xff\xff\xff"] {
            assert_eq!(decoded(code), None, "{code:x?}");
        }
        assert_eq!(decoded(b"\x07").as_deref(), Some(&b"0"[..]));
    }
}
