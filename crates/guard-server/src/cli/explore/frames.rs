//! The parts of a stream of server-sent events.

/// A part of the stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) event: String,
    /// The position after it. Empty for a part that does not move the position.
    pub(super) id: String,
    pub(super) data: String,
}

/// Cuts a stream into its parts.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The beginning of the next part.
    rest: Vec<u8>,
}

impl Frames {
    /// The parts that are complete with this piece, without comments.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Vec<Frame> {
        // An end may be cut in two.
        let mut from = self.rest.len().saturating_sub(1);
        self.rest.extend_from_slice(piece);
        let (mut frames, mut begin) = (Vec::new(), 0);
        while let Some(end) = self.rest[from..].windows(2).position(|it| it == b"\n\n") {
            let text = String::from_utf8_lossy(&self.rest[begin..from + end]);
            frames.push(read(&text));
            begin = from + end + 2;
            from = begin;
        }
        self.rest.drain(..begin);
        frames.retain(|frame| !frame.data.is_empty());
        frames
    }
}

fn read(text: &str) -> Frame {
    let mut frame = Frame::default();
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut frame.event),
            "id" => value.clone_into(&mut frame.id),
            "data" => frame.data.push_str(value),
            _ => {}
        }
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_wherever_the_stream_is_cut() {
        let text =
            ": heartbeat\n\nevent: record\nid: c1\ndata: {\"a\":\"é\"}\n\nevent: gap\ndata: 2\n\n";
        let frame = |event: &str, id: &str, data: &str| Frame {
            event: event.to_owned(),
            id: id.to_owned(),
            data: data.to_owned(),
        };
        let expected = [
            frame("record", "c1", "{\"a\":\"é\"}"),
            frame("gap", "", "2"),
        ];
        for at in 0..text.len() {
            let mut frames = Frames::default();
            let (one, other) = text.as_bytes().split_at(at);
            let mut found = frames.feed(one);
            found.extend(frames.feed(other));
            assert_eq!(found, expected, "{at}");
        }
    }
}
