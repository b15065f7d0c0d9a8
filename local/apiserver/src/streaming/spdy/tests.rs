use super::headers::{Compressor, DICTIONARY, Decompressor};
use super::*;
use frame::{Frame, data, parse, ping, syn_stream};
use proptest::prelude::*;
use tokio::io::AsyncReadExt;

fn adler32(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((1u32, 0u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65521;
        (a, (b + a) % 65521)
    });
    b << 16 | a
}

#[test]
fn the_dictionary_is_the_one_of_the_specification() {
    assert_eq!((DICTIONARY.len(), adler32(&DICTIONARY)), (1423, 0xe3c6_a7c2));
}

fn split(bytes: &[u8]) -> ([u8; 8], Bytes) {
    (bytes[..8].try_into().unwrap(), Bytes::copy_from_slice(&bytes[8..]))
}

proptest! {
    #[test]
    fn header_blocks_survive_in_sequence(blocks in proptest::collection::vec(
        proptest::collection::vec(("[a-z-]{1,20}", "[ -~]{0,300}"), 0..8), 1..6)) {
        let (mut compressor, mut decompressor) = (Compressor::new(), Decompressor::new());
        for block in blocks {
            let pairs: Vec<(&str, &str)> = block.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let compressed = compressor.headers(&pairs).unwrap();
            prop_assert_eq!(decompressor.headers(&compressed).unwrap(), block);
        }
    }

    #[test]
    fn broken_blocks_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Decompressor::new().headers(&bytes);
    }

    #[test]
    fn any_frame_is_parsed_or_refused(head in any::<[u8; 8]>(), body in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = parse(&head, body.into());
    }

    #[test]
    fn data_frames_survive(id in 1u32..0x7fff_ffff, bytes in proptest::collection::vec(any::<u8>(), 0..500), fin in any::<bool>()) {
        let (head, body) = split(&data(id, &bytes, fin));
        prop_assert_eq!(parse(&head, body).unwrap(), Frame::Data { id, fin, bytes: bytes.into() });
    }
}

#[tokio::test]
async fn streams_open_carry_data_both_ways_and_close() {
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    let mut connection = serve(server);
    let mut compressor = Compressor::new();
    let block = compressor.headers(&[("streamtype", "stdin")]).unwrap();
    client.write_all(&syn_stream(1, &block)).await.unwrap();
    client.write_all(&data(1, b"hello", true)).await.unwrap();
    let mut stream = connection.accept().await.unwrap();
    assert_eq!((stream.id, stream.header("streamType")), (1, "stdin"));
    assert_eq!(stream.input.recv().await.unwrap(), "hello");
    assert!(stream.input.recv().await.is_none(), "the client's FIN ends the input");

    let mut head = [0u8; 8];
    client.read_exact(&mut head).await.unwrap();
    assert_eq!(head[..4], [0x80, 3, 0, 2], "the stream is accepted by a SYN_REPLY");
    let mut body = vec![0u8; usize::from(head[7])];
    client.read_exact(&mut body).await.unwrap();

    client.write_all(&ping(7)).await.unwrap();
    let mut answer = [0u8; 12];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[..], ping(7)[..]);

    connection.packets().send(Packet::Data(1, "out".into())).await.unwrap();
    connection.packets().send(Packet::Fin(1)).await.unwrap();
    let mut out = [0u8; 19];
    client.read_exact(&mut out).await.unwrap();
    assert_eq!(out[..11], data(1, b"out", false)[..]);
    assert_eq!(out[11..], data(1, b"", true)[..]);
    drop(client);
    assert!(connection.accept().await.is_none());
}
