//! Random blocks, some of which were damaged: `h2` must read them as without the filter.

use super::*;

/// A number below `below`, from a sequence that is always the same.
fn random(state: &mut u64, below: usize) -> usize {
    *state = state
        .wrapping_mul(6364136223846793005)
        .wrapping_add(1442695040888963407);
    usize::try_from(*state >> 33).unwrap() % below
}

/// A block with instructions of all kinds, mostly valid ones.
fn random_block(state: &mut u64) -> Vec<u8> {
    let strings: [&[u8]; 8] = [
        b"\x01a",
        b"\x00",
        // `custom-key` and `www.example.com`, in the code of RFC 7541.
        b"\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f",
        b"\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
        b"\x04/abc",
        b"\x05:path",
        b"\x84\xb9\x58\xd3\x3f",
        b"\x02te",
    ];
    let mut block = Vec::new();
    if random(state, 4) == 0 {
        block.extend(
            [b"\x20\x3f\xe1\x1f".as_slice(), b"\x3f\x45", b"\x3f\xe1\x1f"][random(state, 3)],
        );
    }
    block.extend(b"\x82\x86\x41\x01a");
    block.extend([&b"\x84"[..], b"\x44\x02/b", b"\x04\x81\x63"][random(state, 3)]);
    for _ in 0..random(state, 6) {
        match random(state, 8) {
            0..4 => block.push(u8::try_from(0xbe + random(state, 3)).unwrap()),
            4 => block.extend([b"\x58\x09", &b"immutable"[..]].concat()),
            _ => {
                block.push([0x40, 0, 0x10][random(state, 3)]);
                block.extend(strings[2 * random(state, 2)]);
                block.extend(strings[random(state, 8)]);
            }
        }
    }
    if random(state, 8) == 0 {
        for _ in 0..=random(state, 3) {
            let at = random(state, block.len());
            match random(state, 3) {
                0 => block[at] ^= 1 << random(state, 8),
                1 => drop(block.remove(at)),
                _ => block.insert(at, u8::try_from(random(state, 256)).unwrap()),
            }
        }
    }
    block
}

#[test]
fn blocks_that_were_damaged_are_read_as_without_the_filter() {
    let (mut read, mut with_error) = (0, 0);
    for seed in 0..1000 {
        let mut state = seed;
        let blocks: Vec<Vec<u8>> = (0..6).map(|_| random_block(&mut state)).collect();
        let mut blocks: Vec<(u8, &[u8])> = blocks.iter().map(|block| (ALL, &**block)).collect();
        let input = connection(&blocks);
        let piece = 1 + random(&mut state, 9);
        let given = filtered(&input, piece);
        if given != input {
            // A path has such a character.
            outcome(&input, piece, true);
            continue;
        }
        // The same after a path that is encoded.
        let quoted = b"\x82\x86\x01\x01b\x04\x02/\"";
        let encoded = b"\x82\x86\x01\x01b\x04\x04/%22";
        blocks.insert(0, (ALL, quoted));
        let found = outcome(&connection(&blocks), piece, true);
        blocks[0].1 = encoded;
        let expected = outcome(&connection(&blocks), piece, false);
        assert_eq!(found, expected, "seed {seed}");
        read += found.requests.len();
        with_error += usize::from(found.error.is_some());
    }
    // Neither is rare.
    let are_usual = read > 1500 && (100..900).contains(&with_error);
    assert!(are_usual, "{read} {with_error}");
}
