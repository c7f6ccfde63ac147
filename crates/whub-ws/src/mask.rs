//! Masking (RFC 6455 section 5.3): the one pass over payload bytes that the standard demands.

/// XORs `bytes` with `key`, which masks and unmasks alike. Returns the key turned so that the payload's next
/// bytes, should they arrive later, go on with it.
#[inline]
pub fn mask(bytes: &mut [u8], key: [u8; 4]) -> [u8; 4] {
    // Fixed-size blocks without a carried phase are what the compiler turns into vector instructions.
    let wide = u64::from(u32::from_ne_bytes(key)) * 0x1_0000_0001;
    let mut blocks = bytes.chunks_exact_mut(8);
    for block in &mut blocks {
        if let Ok(word) = <[u8; 8]>::try_from(&*block) {
            block.copy_from_slice(&(u64::from_ne_bytes(word) ^ wide).to_ne_bytes());
        }
    }
    let tail = blocks.into_remainder();
    let turn = tail.len() % 4;
    for (byte, key) in tail.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
    let mut turned = key;
    turned.rotate_left(turn);
    turned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_gives_what_one_byte_at_a_time_gives() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let plain: Vec<u8> = (0..71).collect();
        let expected: Vec<u8> = plain.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect();
        for cut in 0..=plain.len() {
            let mut bytes = plain.clone();
            let (front, back) = bytes.split_at_mut(cut);
            let turned = mask(front, key);
            mask(back, turned);
            assert_eq!(bytes, expected, "cut at {cut}");
        }
    }
}
