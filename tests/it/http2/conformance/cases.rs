//! What is sent, and what RFC 9113 and RFC 7541 make of it, by their sections.

use super::Code::{Compression, FlowControl, FrameSize, Protocol, RefusedStream, StreamClosed};
use super::Fate::{Closed, Connection, Served, Stream};
use super::{Case, FIRST, TRAILERS, WHOLE, case};
use crate::support::http2::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PREFACE,
    PRIORITIZED, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, get,
};

/// Sent as they are, without preface and settings.
pub(super) fn prefaces() -> Vec<Case> {
    let settings = frame(SETTINGS, 0, 0, &[]);
    vec![
        case("3.4 the usual preface", &[PREFACE, &settings], Served),
        case("3.4 another preface", &[b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", &settings], Closed),
        case("3.4 an older version's preface", &[b"PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n"], Closed),
        case(
            "3.4 no settings come first",
            &[PREFACE, &frame(PING, 0, 0, &[0; 8]), &settings],
            Connection(Protocol),
        )
        .but(Served, FIRST),
        case("3.4 no settings come at all", &[PREFACE], Connection(Protocol)).but(Served, FIRST),
    ]
}

pub(super) fn frames() -> Vec<Case> {
    let ask = ask(END_HEADERS | END_STREAM);
    let begin = begin();
    // Their heads alone: whoever closes with bytes unread takes back what was said.
    let large = |kind, stream| frame(kind, 4, stream, &vec![0; 16_385])[..9].to_vec();
    let mut reserved = frame(PING, 0, 0, &[0; 8]);
    reserved[5] |= 0x80;
    vec![
        case("4.1 an unknown type is passed over", &[&frame(0x42, 0, 0, b"x")], Served),
        case("4.1 unknown flags are passed over", &[&frame(PING, 0x16, 0, &[0; 8])], Served),
        case("4.1 the reserved bit is passed over", &[&reserved], Served),
        case("4.2 DATA larger than allowed", &[&begin, &large(DATA, 1)], Connection(FrameSize)),
        case("4.2 HEADERS larger than allowed", &[&large(HEADERS, 1)], Connection(FrameSize)),
        case("4.2 an unknown type larger than allowed", &[&large(0x42, 0)], Connection(FrameSize)),
        case(
            "4.3 a field block that is cut by PRIORITY",
            &[&frame(HEADERS, END_STREAM, 1, &bare()), &frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])],
            Connection(Protocol),
        ),
        case(
            "4.3 a field block that is cut by HEADERS",
            &[&frame(HEADERS, END_STREAM, 1, &bare()), &frame(HEADERS, 5, 3, &bare())],
            Connection(Protocol),
        ),
        case(
            "5.5 a field block that is cut by an unknown type",
            &[&frame(HEADERS, END_STREAM, 1, &bare()), &frame(0x42, 0, 1, b"x")],
            Connection(Protocol),
        ),
        case("5.1.1 an even number", &[&frame(HEADERS, 5, 2, &bare())], Connection(Protocol)),
        case(
            "5.1.1 a number below the last",
            &[&frame(HEADERS, 5, 5, &bare()), &frame(HEADERS, 5, 3, &bare())],
            Connection(Protocol),
        ),
        case("5.1 DATA before HEADERS", &[&frame(DATA, END_STREAM, 1, b"x")], Connection(Protocol)),
        case("5.1 RST_STREAM before HEADERS", &[&reset(1)], Connection(Protocol)),
        case("5.1 WINDOW_UPDATE before HEADERS", &[&window(1, 1)], Connection(Protocol)),
        case(
            "5.1 CONTINUATION before HEADERS",
            &[&frame(CONTINUATION, 4, 1, &bare())],
            Connection(Protocol),
        ),
        case("5.1 PRIORITY before HEADERS", &[&frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1])], Served),
        case(
            "5.1 DATA after the end of the stream",
            &[&ask, &frame(DATA, 0, 1, b"x")],
            Stream(StreamClosed),
        )
        .but(Connection(Protocol), WHOLE),
        case("5.1 HEADERS after the end of the stream", &[&ask, &ask], Stream(StreamClosed))
            .but(Connection(Protocol), WHOLE),
        case(
            "5.1 CONTINUATION after the end of the stream",
            &[&ask, &frame(CONTINUATION, 4, 1, &bare())],
            Connection(Protocol),
        ),
        case("5.1 WINDOW_UPDATE after the end of the stream", &[&ask, &window(1, 1)], Served),
        case(
            "5.1 PRIORITY after the end of the stream",
            &[&ask, &frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1])],
            Served,
        ),
        case(
            "5.1 DATA after RST_STREAM",
            &[&begin, &reset(1), &frame(DATA, 0, 1, b"x")],
            Stream(StreamClosed),
        ),
        case("5.1 HEADERS after RST_STREAM", &[&begin, &reset(1), &begin], Stream(StreamClosed))
            .but(Connection(Protocol), WHOLE),
        case(
            "5.1 CONTINUATION after RST_STREAM",
            &[&begin, &reset(1), &frame(CONTINUATION, 4, 1, &bare())],
            Connection(Protocol),
        ),
        case("5.1 RST_STREAM twice", &[&begin, &reset(1), &reset(1)], Served),
        case("5.1 WINDOW_UPDATE after RST_STREAM", &[&begin, &reset(1), &window(1, 1)], Served),
    ]
}

pub(super) fn of_streams() -> Vec<Case> {
    let begin = begin();
    let padded = |length: u8, fields: &[u8]| [&[length], fields, &vec![0; length.into()]].concat();
    let depending = |on: u8, fields: &[u8]| [&[0, 0, 0, on, 15], fields].concat();
    vec![
        case("6.1 DATA on stream 0", &[&frame(DATA, 0, 0, b"x")], Connection(Protocol)),
        case(
            "6.1 DATA with padding",
            &[&begin, &frame(DATA, PADDED | END_STREAM, 1, &padded(7, b"{}"))],
            Served,
        ),
        case(
            "6.1 DATA of padding alone",
            &[&begin, &frame(DATA, PADDED, 1, &padded(7, b"")), &frame(DATA, END_STREAM, 1, b"{}")],
            Served,
        ),
        case(
            "6.1 DATA with more padding than there is",
            &[&begin, &frame(DATA, PADDED, 1, &[3, 0, 0])],
            Connection(Protocol),
        ),
        case(
            "6.1 DATA that lacks the length of its padding",
            &[&begin, &frame(DATA, PADDED, 1, &[])],
            Connection(FrameSize),
        )
        .but_named_otherwise(),
        case("6.2 HEADERS on stream 0", &[&frame(HEADERS, 5, 0, &bare())], Connection(Protocol)),
        case(
            "6.2 HEADERS with padding",
            &[&frame(HEADERS, 5 | PADDED, 1, &padded(9, &bare()))],
            Served,
        ),
        case(
            "6.2 HEADERS with more padding than there is",
            &[&frame(HEADERS, 5 | PADDED, 1, &[200, 0, 0])],
            Connection(Protocol),
        ),
        case(
            "6.2 HEADERS with a priority",
            &[&frame(HEADERS, 5 | PRIORITIZED, 1, &depending(3, &bare()))],
            Served,
        ),
        case(
            "6.2 HEADERS with both",
            &[&frame(
                HEADERS,
                5 | PADDED | PRIORITIZED,
                1,
                &[&[1][..], &depending(0, &bare()), &[0]].concat(),
            )],
            Served,
        ),
        case(
            "6.2 HEADERS that depend on themselves",
            &[&frame(HEADERS, 5 | PRIORITIZED, 1, &depending(1, &bare()))],
            Stream(Protocol),
        ),
        case("6.3 PRIORITY on stream 0", &[&frame(PRIORITY, 0, 0, &[0; 5])], Connection(Protocol)),
        case(
            "6.3 PRIORITY of another length",
            &[&begin, &frame(PRIORITY, 0, 1, &[0; 4])],
            Stream(FrameSize),
        )
        .but(Connection(Protocol), WHOLE),
        case(
            "6.3 PRIORITY that depends on itself",
            &[&begin, &frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 1])],
            Stream(Protocol),
        ),
        case("6.4 RST_STREAM on stream 0", &[&reset(0)], Connection(Protocol)),
        case(
            "6.4 RST_STREAM of another length",
            &[&begin, &frame(RST_STREAM, 0, 1, &[0; 3])],
            Connection(FrameSize),
        )
        .but_named_otherwise(),
        case(
            "6.6 PUSH_PROMISE of a client",
            &[&begin, &frame(PUSH_PROMISE, 4, 1, &[&[0, 0, 0, 2], &bare()[..]].concat())],
            Connection(Protocol),
        ),
    ]
}

pub(super) fn of_windows_and_messages() -> Vec<Case> {
    let begin = begin();
    vec![
        case("6.9 WINDOW_UPDATE by nothing", &[&begin, &window(1, 0)], Stream(Protocol))
            .but(Connection(Protocol), WHOLE),
        case(
            "6.9 WINDOW_UPDATE of another length",
            &[&begin, &frame(WINDOW_UPDATE, 0, 1, &[0; 3])],
            Connection(FrameSize),
        )
        .but_named_otherwise(),
        case(
            "6.9.1 a stream's window above 2^31-1",
            &[&begin, &window(1, 0x7FFF_FFFF)],
            Stream(FlowControl),
        ),
        case(
            "6.9.2 a stream's window above 2^31-1 by settings",
            &[&begin, &window(1, 0x7FFF_0000), &setting(4, 0x7FFF_FFFF)],
            Connection(FlowControl),
        ),
        case(
            "6.10 CONTINUATION after the end of the fields",
            &[&begin, &frame(CONTINUATION, 4, 1, &bare())],
            Connection(Protocol),
        ),
        case(
            "6.10 CONTINUATION on stream 0",
            &[&frame(HEADERS, 1, 1, &bare()), &frame(CONTINUATION, 4, 0, &[])],
            Connection(Protocol),
        ),
        case(
            "6.10 CONTINUATION of another stream",
            &[&frame(HEADERS, 1, 1, &bare()), &frame(CONTINUATION, 4, 3, &[])],
            Connection(Protocol),
        ),
        case(
            "6.10 CONTINUATION after DATA",
            &[&begin, &frame(DATA, 0, 1, b"x"), &frame(CONTINUATION, 4, 1, &bare())],
            Connection(Protocol),
        ),
        case(
            "6.10 empty CONTINUATION",
            &[
                &frame(HEADERS, 1, 1, &bare()),
                &frame(CONTINUATION, 0, 1, &[]),
                &frame(CONTINUATION, 4, 1, &[]),
            ],
            Served,
        ),
        case(
            "8.1 fields twice, and no end",
            &[&begin, &frame(HEADERS, 4, 1, &block(&[("x", "y")]))],
            Stream(Protocol),
        ),
        case(
            "8.1 a pseudo-header after the body",
            &[&begin, &frame(HEADERS, 5, 1, &block(&[(":path", "/")]))],
            Stream(Protocol),
        )
        .but(Served, TRAILERS),
        case(
            "8.1.1 more body than said",
            &[&with_length("1"), &frame(DATA, END_STREAM, 1, b"{}")],
            Stream(Protocol),
        ),
        case(
            "8.1.1 less body than said",
            &[&with_length("3"), &frame(DATA, END_STREAM, 1, b"{}")],
            Stream(Protocol),
        ),
        case(
            "8.1.1 a body where none was said",
            &[&with_length("0"), &frame(DATA, END_STREAM, 1, b"{}")],
            Stream(Protocol),
        ),
        case(
            "8.1.1 two pieces as long as said",
            &[&with_length("2"), &frame(DATA, 0, 1, b"{"), &frame(DATA, END_STREAM, 1, b"}")],
            Served,
        ),
    ]
}

pub(super) fn too_many() -> Vec<Case> {
    // As many as are allowed at once, and then one of them ends.
    let streams = |count: u32| (0..count).flat_map(|at| frame(HEADERS, 4, 2 * at + 1, &bare()));
    let (allowed, more): (Vec<u8>, Vec<u8>) =
        (streams(ALLOWED).collect(), streams(ALLOWED + 1).collect());
    vec![
        case("5.1.2 as many streams as allowed", &[&allowed, &reset(1)], Served),
        case("5.1.2 a stream more than allowed", &[&more, &reset(1)], Stream(RefusedStream)),
    ]
}

/// Streams at once.
const ALLOWED: u32 = 100;

pub(super) fn of_connections() -> Vec<Case> {
    vec![
        case(
            "6.5 SETTINGS of another length",
            &[&frame(SETTINGS, 0, 0, &[0; 5])],
            Connection(FrameSize),
        )
        .but_named_otherwise(),
        case("6.5 SETTINGS on a stream", &[&frame(SETTINGS, 0, 1, &[])], Connection(Protocol)),
        case(
            "6.5 agreement with settings inside",
            &[&frame(SETTINGS, ACK, 0, &[0; 6])],
            Connection(FrameSize),
        )
        .but_named_otherwise(),
        case("6.5.2 a push setting that is none", &[&setting(2, 2)], Connection(Protocol)),
        case("6.5.2 a window above 2^31-1", &[&setting(4, 0x8000_0000)], Connection(FlowControl))
            .but_named_otherwise(),
        case("6.5.2 frames smaller than allowed", &[&setting(5, 16_383)], Connection(Protocol)),
        case("6.5.2 frames larger than allowed", &[&setting(5, 1 << 24)], Connection(Protocol)),
        case(
            "6.5.2 the largest frames and windows",
            &[&setting(5, (1 << 24) - 1), &setting(4, 0x7FFF_FFFF)],
            Served,
        ),
        case("6.5.2 a setting that nobody knows", &[&setting(0xFE, 1)], Served),
        case(
            "6.5.3 the same setting twice",
            &[&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0, 0, 4, 0, 0, 255, 255])],
            Served,
        ),
        case("6.5.2 no table of fields", &[&setting(1, 0)], Served),
        case("6.7 PING on a stream", &[&frame(PING, 0, 1, &[0; 8])], Connection(Protocol)),
        case("6.7 PING of another length", &[&frame(PING, 0, 0, &[0; 7])], Connection(FrameSize))
            .but_named_otherwise(),
        case("6.7 an answer to no PING", &[&frame(PING, ACK, 0, &[0; 8])], Served),
        case("6.8 GOAWAY on a stream", &[&frame(GOAWAY, 0, 1, &[0; 8])], Connection(Protocol)),
        case(
            "6.8 GOAWAY of another length",
            &[&frame(GOAWAY, 0, 0, &[0; 7])],
            Connection(FrameSize),
        )
        .but_named_otherwise(),
        case("6.9 WINDOW_UPDATE by nothing for all", &[&window(0, 0)], Connection(Protocol)),
        case(
            "6.9.1 everybody's window above 2^31-1",
            &[&window(0, 0x7FFF_FFFF)],
            Connection(FlowControl),
        ),
    ]
}

pub(super) fn of_fields() -> Vec<Case> {
    let head = |start: &[u8], end: &[u8]| frame(HEADERS, 5, 1, &[start, &bare(), end].concat());
    let broken = |end: &[u8]| head(&[], end);
    let huffman = |bytes: &[u8]| {
        broken(&[&[0, 1, b'x', 0x80 | u8::try_from(bytes.len()).unwrap()], bytes].concat())
    };
    // A field enters the table, and is named by its place.
    let remembered = [&[0x40, 1, b'x', 1, b'y'][..], &[0xBE]].concat();
    vec![
        case("RFC 7541, 2.3.3 a field of the table", &[&broken(&remembered)], Served),
        case(
            "RFC 7541, 2.3.3 a place behind the table",
            &[&broken(&[0xBE])],
            Connection(Compression),
        )
        .but_named_otherwise(),
        case(
            "RFC 7541, 2.3.3 a name behind the table",
            &[&broken(&[0x7E, 1, b'y'])],
            Connection(Compression),
        )
        .but_named_otherwise(),
        case("RFC 7541, 4.2 a smaller table at the start", &[&head(&[0x20], &[])], Served),
        case(
            "RFC 7541, 4.2 a smaller table behind a field",
            &[&broken(&[0x20])],
            Connection(Compression),
        )
        .but_named_otherwise(),
        case(
            "RFC 7541, 4.4 what has left the table",
            &[
                &head(&[], &[0x40, 1, b'x', 1, b'y']),
                &frame(HEADERS, 5, 3, &[&[0x20][..], &bare(), &[0xBE]].concat()),
            ],
            Connection(Compression),
        )
        .but_named_otherwise(),
        case(
            "RFC 7541, 5.1 a number without end",
            &[&broken(&[[0xFF; 12].as_slice(), &[0]].concat())],
            Connection(Compression),
        )
        .but_named_otherwise(),
        case(
            "RFC 7541, 5.2 a text that is cut",
            &[&broken(&[0, 1, b'x', 9, b'y'])],
            Connection(Compression),
        )
        .but_named_otherwise(),
        case("RFC 7541, 5.2 a text in Huffman's code", &[&huffman(&[0xF3])], Served),
        case(
            "RFC 7541, 5.2 padding of a whole byte",
            &[&huffman(&[0xF3, 0xFF, 0xFF])],
            Connection(Compression),
        )
        .but_named_otherwise(),
        case("RFC 7541, 5.2 padding of zeros", &[&huffman(&[0xF2])], Connection(Compression))
            .but_named_otherwise(),
        case(
            "RFC 7541, 5.2 the end within a text",
            &[&huffman(&[0xFF, 0xFF, 0xFF, 0xFF])],
            Connection(Compression),
        )
        .but_named_otherwise(),
        case("RFC 7541, 6.1 place 0", &[&broken(&[0x80])], Connection(Compression))
            .but_named_otherwise(),
        case(
            "RFC 7541, 6.2.3 a field that is never remembered",
            &[&broken(&[0x10, 1, b'x', 1, b'y'])],
            Served,
        ),
        case(
            "RFC 7541, 6.3 a larger table than allowed",
            &[&head(&[0x3F, 0xE1, 0xFF, 0x03], &[])],
            Connection(Compression),
        )
        .but_named_otherwise(),
    ]
}

pub(super) fn bare() -> Vec<u8> {
    block(&get("/api/v2/version"))
}

/// A whole request on stream 1.
fn ask(flags: u8) -> Vec<u8> {
    frame(HEADERS, flags, 1, &bare())
}

/// A request on stream 1 whose body is still to come.
pub(super) fn begin() -> Vec<u8> {
    ask(END_HEADERS)
}

fn with_length(length: &str) -> Vec<u8> {
    let fields = [&get("/api/v2/version")[..], &[("content-length", length)]].concat();
    frame(HEADERS, END_HEADERS, 1, &block(&fields))
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

fn window(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

fn setting(name: u8, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&[0, name], &value.to_be_bytes()[..]].concat())
}
