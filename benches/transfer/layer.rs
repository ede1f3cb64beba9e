//! Layers that nobody can compress: a gzip file of a tar file of one file of random bytes.
//!
//! They are gzip's in name and form, as skopeo compresses what is not.

/// A layer of about that many bytes; other numbers make others.
pub(crate) fn layer(number: u64, length: usize) -> Vec<u8> {
    let mut content = vec![0; length];
    let mut random = Random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for piece in content.chunks_mut(8) {
        piece.copy_from_slice(&random.next().to_le_bytes()[..piece.len()]);
    }
    let mut tar = tar::Builder::new(Vec::with_capacity(length + 4096));
    let mut header = tar::Header::new_ustar();
    header.set_size(length as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, format!("layer-{number}"), &*content).unwrap();
    stored(&tar.into_inner().unwrap())
}

/// RFC 1952 around blocks of RFC 1951 that are stored as they are.
fn stored(content: &[u8]) -> Vec<u8> {
    let mut gzip = Vec::with_capacity(content.len() + content.len() / 1000 + 64);
    gzip.extend([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
    let mut blocks = content.chunks(usize::from(u16::MAX)).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap();
        gzip.push(u8::from(blocks.peek().is_none()));
        gzip.extend(length.to_le_bytes());
        gzip.extend((!length).to_le_bytes());
        gzip.extend_from_slice(block);
    }
    gzip.extend(crc32(content).to_le_bytes());
    gzip.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
    gzip
}

fn crc32(content: &[u8]) -> u32 {
    let table: [u32; 256] = std::array::from_fn(|byte| {
        let start = u32::try_from(byte).unwrap();
        (0..8).fold(start, |value, _| if value & 1 == 1 { value >> 1 ^ 0xedb8_8320 } else { value >> 1 })
    });
    !content
        .iter()
        .fold(u32::MAX, |value, byte| table[usize::from(value.to_le_bytes()[0] ^ byte)] ^ value >> 8)
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}
