//! Content codings of responses, undone: two servers compress the same answer to different bytes. Pure.

use std::io::Read;

use super::connection::BODY_BYTES_MAX;

/// Undoes the `content-encoding` of a response (RFC 9110 §8.4). `None` if there is none, it is not known, or the body does not
/// follow it.
pub fn decode(fields: &[(String, Vec<u8>)], body: &[u8]) -> Option<Vec<u8>> {
    let coding = fields.iter().find(|field| field.0 == "content-encoding")?;
    let coding = std::str::from_utf8(&coding.1).ok()?.trim().to_ascii_lowercase();
    let reader: Box<dyn Read> = match coding.as_str() {
        "gzip" | "x-gzip" => Box::new(flate2::read::MultiGzDecoder::new(body)),
        "deflate" => Box::new(flate2::read::ZlibDecoder::new(body)),
        "br" => Box::new(brotli::Decompressor::new(body, 4096)),
        "zstd" => Box::new(zstd::stream::read::Decoder::new(body).ok()?),
        _ => return None,
    };
    let mut plain = Vec::new();
    // A little body may expand to more than there is memory.
    let read = reader.take(BODY_BYTES_MAX as u64 + 1).read_to_end(&mut plain).ok()?;
    (read <= BODY_BYTES_MAX).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn check(coding: &str, body: &[u8], expected: Option<&[u8]>) {
        let fields = [("content-encoding".to_owned(), coding.as_bytes().to_vec())];
        assert_eq!(decode(&fields, body).as_deref(), expected, "{coding}");
    }

    #[test]
    fn codings_are_undone() {
        let text = b"the same in all of them, the same".as_slice();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(text).unwrap();
        check("GZIP", &gzip.finish().unwrap(), Some(text));
        let mut deflate = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        deflate.write_all(text).unwrap();
        check("deflate", &deflate.finish().unwrap(), Some(text));
        let mut brotli = Vec::new();
        brotli::CompressorWriter::new(&mut brotli, 4096, 4, 18).write_all(text).unwrap();
        check("br", &brotli, Some(text));
        check("zstd", &zstd::stream::encode_all(text, 1).unwrap(), Some(text));
        check("gzip", b"no gzip", None);
        check("identity", text, None);
        assert_eq!(decode(&[], text), None);
    }
}
